"""What a person may decide, and what follows from it. The one place that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from distflow.core.claim import Progress
from distflow.core.model import Ref, Task, TaskResult
from distflow.core.run import TaskCut
from distflow.core.status import REOPENED, SATISFYING, TaskStatus
from distflow.errors import WrongState

#: It happened, it did not happen and runs again, or it is a failure.
Decision = Literal["done", "fail", "retry"]

#: What is said of an unknown task; that it cannot be decided is said by verify hooks alone.
Answer = Literal["done", "fail", "retry", "undecided"]

#: What a decision does to whoever leads the run: nothing; its epoch is void, so that the next one
#: reads all anew; or the same, and it is taken only where nobody leads the run.
LeaderRule = Literal["stays", "looks_again", "absent"]

#: How the message of an outcome begins that a person has decided.
_BY = "resolved by "


class Dependent(NamedTuple):
    """A direct dependent of a task that is decided, as it was seen: the status of its outcome,
    empty where it has none, and its tries (see :func:`said_tries`).
    """

    task: str
    status: str
    tries: str


class Resolution(NamedTuple):
    """A decision on one task, as the store is told it.

    ``packed`` is the encoded outcome, empty where the task runs again, with ``progress``; where a
    hook cannot tell there is neither. ``seen`` is the encoded outcome that is decided on, None
    where an earlier decision lets the task run again. ``dependents`` must be as they were seen;
    ``skipped`` are tasks that were skipped because of this one, and are evaluated again. ``leader``
    says what becomes of whoever leads the run: see :func:`leader_rule`.
    """

    task: str
    packed: bytes
    seen: bytes | None
    progress: Progress | None = None
    dependents: tuple[Dependent, ...] = ()
    skipped: tuple[str, ...] = ()
    leader: LeaderRule = "stays"


def leader_rule(before: TaskStatus | None, *, takes_away: bool) -> LeaderRule:
    """What a decision does to whoever leads the run.

    Args:
        before: the status of the outcome that is decided on; None where there is none.
        takes_away: whether dependents might run by that outcome, and may not by what follows: what
            was queued would find its dependency undone.
    """
    if takes_away:
        return "absent"
    # Who leads may have worked out what follows from a failure, a skip or the run's end, and not
    # written it yet.
    return "looks_again" if before in REOPENED else "stays"


def retry_progress(last: Progress, operation: str, *, by_hook: bool) -> Progress:
    """The try that a decision lets a task have.

    A person's decision gives a new budget. A hook's does not: a task that kills its workers must
    end.

    Args:
        last: its progress, of which ``attempt`` is that of the next try.
        operation: the id of the decision.
        by_hook: whether a verify hook has decided.
    """
    base, lost = (last.base, last.lost + 1) if by_hook else (last.attempt - 1, 0)
    return Progress(last.attempt, base=base, lost=lost, token=operation)


def decided_result(
    decision: Decision, attempt: int, data: object, *, who: str, note: str
) -> TaskResult:
    """The outcome that a person decides; ``retry`` makes none."""
    done = decision == "done"
    return TaskResult(
        TaskStatus.SUCCESS if done else TaskStatus.FAILURE,
        message=f"{_BY}{who}" + (f": {note}" if note else ""),
        error=None if done else "resolved as failed",
        data=data if done else None,
        attempt=attempt,
        started=not done,
    )


def is_decided(result: TaskResult) -> bool:
    """Whether a person has decided that this is the outcome: no worker has brought it."""
    return result.worker is None and (result.message or "").startswith(_BY)


def is_dead_end(result: TaskResult) -> bool:
    """Whether no resume can run the task again: it started, at most once, and is no success."""
    return result.started and result.status not in (TaskStatus.SUCCESS, TaskStatus.UNKNOWN)


def is_decidable(result: TaskResult) -> bool:
    """Whether a person may say what the outcome is: nobody knows it, nothing else can change it, or
    a person has said it before.
    """
    return result.status == TaskStatus.UNKNOWN or is_dead_end(result) or is_decided(result)


def satisfies(task: Task, status: TaskStatus) -> bool:
    """Whether dependents of a task with an outcome of this status may run."""
    return status in SATISFYING[task.continue_on_error]


def has_begun(cut: TaskCut, result: TaskResult | None) -> bool:
    """Whether a dependent, or its condition, was called, is about to be, or was tried before."""
    if cut.claim is not None or (result is not None and not _never_ran(result)):
        return True
    known = cut.progress
    return known is not None and said_tries(known) != said_tries(None)


def _never_ran(result: TaskResult) -> bool:
    """Whether a coordinator gave the outcome: no worker had the task."""
    return result.status in (TaskStatus.SKIPPED, TaskStatus.CANCELLED) and result.worker is None


def said_tries(known: Progress | None) -> str:
    """How often a task was tried, as the store compares it: it changes with each try that ended."""
    known = known or Progress()
    return f"{known.attempt}:{known.iteration}:{known.lost}"


def takes_result(task: Task, name: str) -> bool:
    """Whether a task is given what another returns."""
    left: list[object] = [*task.args, *task.kwargs.values()]
    while left:
        value = left.pop()
        if isinstance(value, Ref):
            if value.task == name:
                return True
        elif isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            left += value
    return False


def begun_already(task: str, begun: str) -> WrongState:
    """A decision can be corrected until something rests on it."""
    return WrongState(
        f"task {task!r} was decided, and {begun!r}, which depends on it, has begun since: a "
        "decision can be corrected until then"
    )
