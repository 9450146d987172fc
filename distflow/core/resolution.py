"""What a person may decide about a task, and what follows from it. Nothing else defines this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from distflow.core.claim import Progress
from distflow.core.model import Ref, Task, TaskResult
from distflow.core.run import TaskCut
from distflow.core.status import REOPENED, SATISFYING, TaskStatus
from distflow.errors import WrongState

#: ``done``: it happened. ``retry``: it did not happen, and runs again. ``fail``: it is a failure.
Decision = Literal["done", "fail", "retry"]

#: What is said about an unknown task; only verify hooks answer ``undecided``.
Answer = Literal["done", "fail", "retry", "undecided"]

#: What a decision does to the coordinator: nothing; void its epoch, so that the next leader reads
#: everything anew; or the same, and only allowed while nobody leads the run.
LeaderRule = Literal["stays", "looks_again", "absent"]

#: The first words in the message of an outcome that a person has decided.
_BY = "resolved by "


class Dependent(NamedTuple):
    """A direct dependent of a task that is decided, as the caller saw it: the status of its
    outcome, empty if it has none, and its tries (see :func:`said_tries`).
    """

    task: str
    status: str
    tries: str


class Resolution(NamedTuple):
    """A decision on one task, in the form that the store takes.

    ``packed`` is the encoded outcome; empty if the task runs again, with ``progress``; if a hook
    cannot tell there is neither. ``seen`` is the encoded outcome that is decided on; None if an
    earlier decision lets the task run again. ``dependents`` must still be as they were seen.
    ``skipped`` are tasks that were skipped because of this one, and are evaluated again. ``leader``
    says what happens to the coordinator: see :func:`leader_rule`.
    """

    task: str
    packed: bytes
    seen: bytes | None
    progress: Progress | None = None
    dependents: tuple[Dependent, ...] = ()
    skipped: tuple[str, ...] = ()
    leader: LeaderRule = "stays"


def leader_rule(before: TaskStatus | None, *, takes_away: bool) -> LeaderRule:
    """What a decision does to the coordinator of the run.

    Args:
        before: the status of the outcome that is decided on; None if there is none.
        takes_away: whether dependents could run after that outcome and cannot after this decision:
            queued ones would find their dependency undone.
    """
    if takes_away:
        return "absent"
    # A coordinator may have worked out what follows from a failure, a skip or the run's end,
    # without having written it yet.
    return "looks_again" if before in REOPENED else "stays"


def retry_progress(last: Progress, operation: str, *, by_hook: bool) -> Progress:
    """The next try that a decision allows a task.

    A person's decision gives a new retry budget. A hook's does not: a task that kills its workers
    must end at some point.

    Args:
        last: its progress; ``attempt`` is that of the next try.
        operation: the id of the decision.
        by_hook: whether a verify hook decided.
    """
    base, lost = (last.base, last.lost + 1) if by_hook else (last.attempt - 1, 0)
    return Progress(last.attempt, base=base, lost=lost, token=operation)


def decided_result(
    decision: Decision, attempt: int, data: object, *, who: str, note: str
) -> TaskResult:
    """The outcome that a person's decision makes; ``retry`` makes none."""
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
    """Whether this outcome was decided by a person, not recorded by a worker."""
    return result.worker is None and (result.message or "").startswith(_BY)


def is_dead_end(result: TaskResult) -> bool:
    """Whether no resume can run the task again: it is ``at_most_once``, has started, and is no
    success.
    """
    return result.started and result.status not in (TaskStatus.SUCCESS, TaskStatus.UNKNOWN)


def is_decidable(result: TaskResult) -> bool:
    """Whether a person may decide the outcome: it is unknown, nothing else can change it, or a
    person has decided it before.
    """
    return result.status == TaskStatus.UNKNOWN or is_dead_end(result) or is_decided(result)


def satisfies(task: Task, status: TaskStatus) -> bool:
    """Whether dependents of a task with an outcome of this status may run."""
    return status in SATISFYING[task.continue_on_error]


def has_begun(cut: TaskCut, result: TaskResult | None) -> bool:
    """Whether a dependent or its condition was called, is about to be, or was tried before."""
    if cut.claim is not None or (result is not None and not _never_ran(result)):
        return True
    known = cut.progress
    return known is not None and said_tries(known) != said_tries(None)


def _never_ran(result: TaskResult) -> bool:
    """Whether a coordinator made the outcome, without any worker."""
    return result.status in (TaskStatus.SKIPPED, TaskStatus.CANCELLED) and result.worker is None


def said_tries(known: Progress | None) -> str:
    """How often a task was tried, as a text that the store compares: each try that ends changes
    it.
    """
    known = known or Progress()
    return f"{known.attempt}:{known.iteration}:{known.lost}"


def takes_result(task: Task, name: str) -> bool:
    """Whether a task receives what another returns."""
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
    """The error for a decision that can no longer be corrected, since a dependent has begun."""
    return WrongState(
        f"task {task!r} was decided, and {begun!r}, which depends on it, has begun since: a "
        "decision can be corrected until then"
    )
