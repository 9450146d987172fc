"""What a run waits for when nothing moves, and the command that mends it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

import click

from distflow.cli.ui.common import next_command
from distflow.cli.ui.views import step_command
from distflow.core.run import RunInfo
from distflow.core.waits import stall_waits
from distflow.errors import RedisUnavailable
from distflow.ports.backend import Backend
from distflow.runs.facts import read_stall
from distflow.runs.outlook import stall_step
from distflow.runs.wait_words import stall_words

#: Seconds without a change after which a run is asked what it waits for, and how often then.
_STILL_SECONDS = 3.0
_AGAIN_SECONDS = 2.0


class Stall:
    """Notices that nothing moves. ``answer`` is what was found; empty while something does."""

    def __init__(self) -> None:
        self._counts: Mapping[str, int] = {}
        self._due_at = 0.0
        self.answer = ""

    def is_due(self, counts: Mapping[str, int]) -> bool:
        """Whether it is time to ask what the run waits for."""
        now = time.monotonic()
        if counts != self._counts:
            self._counts = counts
            self.answer = ""
            self._due_at = now + _STILL_SECONDS
        if now < self._due_at:
            return False
        self._due_at = now + _AGAIN_SECONDS
        return True


def go_on_command(info: RunInfo, backend: Backend) -> str:
    """The command that goes on with a run.

    That is ``resume``; on the private Redis of ``distflow run``, where nobody listens to the
    run's queues, it is one that starts workers as well.
    """
    accept = ("--accept-gap",) if info.gap else ()
    resume = next_command("resume", info.run_id, *accept)
    private = click.get_current_context().params.get("data_dir") is not None
    if not private or info.gap or ":" not in info.workflow:
        return resume
    if any(backend.dispatcher.count_workers(info.queues).values()):
        return resume
    return next_command("run", info.workflow, "--run-id", info.run_id)


def describe_wait(
    impatient: Backend,
    run_id: str,
    counts: Mapping[str, int],
    queues: Collection[str],
    *,
    leading: bool,
) -> str:
    """What a run that stands still waits for; empty where its tasks simply take their time.

    Args:
        impatient: where it lives; what is asked is asked once.
        run_id: the run.
        counts: its tasks by status.
        queues: those that its open tasks are for.
        leading: see :func:`~distflow.core.waits.stall_waits`.
    """
    try:
        with impatient.translate_errors():
            facts = read_stall(impatient, run_id, counts, queues, leading=leading)
    except RedisUnavailable as error:
        return str(error)
    except OSError as error:
        return f"Redis cannot be reached: {error}"
    waits = stall_waits(facts, counts, leading=leading)
    step = stall_step(waits)
    return stall_words(waits, counts, step_command(step) if step else "")
