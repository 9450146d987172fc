"""What a growing node has made, and how it is committed: chunk by chunk, then with its success."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from distflow.core.claim import Code, Finish
from distflow.core.expansion import MOST_NESTED, nesting
from distflow.core.model import Expanded
from distflow.core.outcome import Outcome, too_large
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput
from distflow.logs import get_logger
from distflow.store.redis.keys import STAND_IN
from distflow_worker.made import Made
from distflow_worker.steps import AttemptRecord, ClaimVoid

if TYPE_CHECKING:
    from distflow_worker.attempt import AttemptRun

_log = get_logger("distflow.worker")

#: How often chunks are written that Redis loses before the node has finished.
_MOST_TRIES = 5

#: Characters of a name that errors show: a nested one is long.
_SHOWN_NAME = 60


def check_nesting(node: str) -> None:
    """Check that a node may have children.

    Raises:
        InvalidInput: they would nest too deep.
    """
    if nesting(node) >= MOST_NESTED:
        raise InvalidInput(
            f"{node[:_SHOWN_NAME]!r}… nests deeper than {MOST_NESTED} levels; end the recursion "
            "earlier"
        )


def expand(record: AttemptRecord, made: Made) -> Expanded:
    """Keep what the node of an attempt has made, until it is committed; returns its data."""
    record.made = made
    return Expanded(record.token, made.children)


def commit(attempt: AttemptRun, finish: Finish, record: Callable[[Finish], Code]) -> Finish:
    """Write what the node has made, and record its success together with that.

    Args:
        attempt: that has made it.
        finish: its success.
        record: records an outcome, and returns what the store answers.

    Returns:
        What is to be recorded instead if the run has no room for so many tasks; else the finish.

    Raises:
        ClaimVoid: the claim was given to another, or the run is gone.
    """
    for _ in range(_MOST_TRIES):
        _write(attempt)
        code = record(finish)
        if code == Code.TOO_LARGE:
            return attempt.finish(too_large(finish.growth.children if finish.growth else 0))
        if code != Code.WRONG_STATE:
            return finish
        _log.warning("task %s: Redis has lost what it made; it is written again", finish.task)
    what = f"Redis has lost the tasks that it made, {_MOST_TRIES} times"
    return attempt.finish(Outcome(TaskStatus.FAILURE, message=what, error=what))


def _write(attempt: AttemptRun) -> None:
    made, store = attempt.made, attempt.view.store
    assert made is not None, "there is something to write"
    for number, packed in (*enumerate(made.chunks), (STAND_IN, made.stand_in)):
        if store.write_chunk(attempt.task.name, attempt.token, number, packed) != Code.GRANTED:
            raise ClaimVoid
