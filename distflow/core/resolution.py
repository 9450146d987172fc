"""What a person may decide, and what follows from it. The one place that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from distflow.core.claim import Progress
from distflow.core.model import Ref, Task, TaskResult
from distflow.core.run import TaskCut
from distflow.core.status import TaskStatus
from distflow.errors import WrongState

#: It happened, it did not happen and runs again, or it is a failure.
Decision = Literal["done", "fail", "retry"]

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

    ``packed`` is the encoded outcome, empty where the task runs again, with ``progress``. ``seen``
    is the encoded outcome that it replaces; None where an earlier decision lets the task run again.
    ``dependents`` must be as they were seen; ``skipped`` are tasks that were skipped because of
    this one, and are evaluated again. With ``unled`` nobody may lead the run, and what its last
    coordinator had queued is void.
    """

    task: str
    packed: bytes
    seen: bytes | None
    progress: Progress | None = None
    dependents: tuple[Dependent, ...] = ()
    skipped: tuple[str, ...] = ()
    unled: bool = False


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
    return status == TaskStatus.SUCCESS or (status == TaskStatus.FAILURE and task.continue_on_error)


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
