"""Every error that distflow raises, under one root.

An error raised without a message uses its class docstring. ``exit_code`` is the command line's exit
code when the error ends a command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self

#: Problems of a workflow that a message lists; the exception has all of them.
_SHOWN_PROBLEMS = 10


class DistflowError(Exception):
    """Something in distflow went wrong."""

    #: Exit code of the command line when this error ends a command.
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        if message is None:
            message = (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(message)


class InvalidInput(DistflowError):
    """The input cannot be used; nothing was changed."""

    exit_code = 2


class Problem(NamedTuple):
    """One thing that is wrong with a workflow.

    ``kind`` is ``duplicate_name``, ``missing_dependency``, ``cycle``, ``not_importable`` (a
    function or hook), ``wrong_call`` (the function does not take the arguments),
    ``reserved_name`` (it is one of those that a growing node gives its children), or ``invalid``
    for what is refused as soon as it is written. ``task`` is the task's name; empty if the problem
    is not about a single task.
    """

    kind: str
    task: str
    message: str


class WorkflowInvalid(InvalidInput):
    """The workflow is not a valid DAG of importable functions.

    Args:
        message: what is wrong; None lists the ``problems``.
        problems: everything that is wrong, if known one by one.
    """

    def __init__(self, message: str | None = None, problems: Sequence[Problem] = ()) -> None:
        if message is None and problems:
            message = _list_problems(problems)
        super().__init__(message)
        #: Everything that is wrong: at least one problem.
        self.problems = tuple(problems) or (Problem("invalid", "", str(self)),)


def _list_problems(problems: Sequence[Problem]) -> str:
    if len(problems) == 1:
        return problems[0].message
    shown = [problem.message for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    return f"{len(problems)} problems: " + "; ".join(shown)


class SnapshotInvalid(InvalidInput):
    """The snapshot cannot be used."""


class RunNotFound(InvalidInput):
    """There is no such run."""


class RunTooNew(InvalidInput):
    """A newer distflow made this run, and this one cannot read it."""


class RunExists(InvalidInput):
    """A run with this id exists already."""


class TaskNotFound(InvalidInput):
    """The run has no such task."""


class WrongState(InvalidInput):
    """The run or the task is in a state that does not allow this."""


class LookAgain(WrongState):
    """The run has changed since the caller read it: read it again, and decide anew."""


class LeaseHeld(WrongState):
    """Another coordinator leads this run."""


class RunFailed(DistflowError):
    """The run did not succeed, so its workflow returned nothing."""


class NotEncodable(DistflowError):
    """A value cannot be encoded: only plain data and the registered types can."""


class Damaged(NotEncodable):
    """Redis or a file holds data that distflow did not write."""

    exit_code = 5


class DamagedRun(Damaged):
    """Redis holds data of a run that distflow did not write.

    Args:
        run_id: the run.
        why: what is wrong with it.
    """

    def __init__(self, run_id: str, why: object) -> None:
        said = str(why) if isinstance(why, Damaged) else f"{type(why).__name__}: {why}"
        super().__init__(
            f"run {run_id}: Redis holds data that distflow did not write ({said}): restore the "
            f"run's data, or remove the run with `distflow delete --force {run_id}`"
        )
        self.run_id = run_id


class UntrustedBytes(DistflowError):
    """Redis holds data that distflow did not write: it was not loaded."""


class NotAllowed(DistflowError):
    """This worker may not import the function that a task names."""


class IllegalTransition(DistflowError):
    """This change of status is not allowed."""


class StaleEpoch(DistflowError):
    """Another coordinator has taken over this run."""


class RunGone(DistflowError):
    """The run was deleted while somebody worked on it."""


class RunForgotten(RunGone, RunNotFound):
    """Redis has lost the data of this run."""

    exit_code = 5

    @classmethod
    def because(cls, run_id: str, why: str) -> Self:
        """The error for a run, with what to do about it."""
        return cls(f"Redis has forgotten run {run_id}: {why}; {mend_forgotten(run_id)}")


def mend_forgotten(run_id: str) -> str:
    """How to bring back a run that Redis has forgotten."""
    return (
        f"restore its AOF or RDB and continue with `distflow resume {run_id}`, or recreate the run "
        "from an export with `distflow import FILE`"
    )


class RedisUnavailable(DistflowError):
    """Redis cannot be reached."""

    exit_code = 5


class RedisRefuses(RedisUnavailable):
    """Redis answers, but refuses the command."""


class RedisFull(RedisRefuses):
    """Redis has reached its ``maxmemory`` and accepts no more work."""


class RedisDenied(DistflowError):
    """Redis refuses the login, or its user lacks a right: another try does not help."""

    exit_code = 5


class NotOnDisk(DistflowError):
    """Redis did not confirm that a write reached its disk."""


class NotDone(DistflowError):
    """Raised by a task to promise that it has had no effect, so that it may be tried again."""


class GiveUp(DistflowError):
    """Raised by a task to say that it failed and that retrying is useless: its ``Retry`` is
    ignored.
    """


class RetryAfter(DistflowError):
    """Raised by a task to say that it failed, and when to try it again.

    It uses up an attempt of the task's ``Retry``, whatever its ``on`` and ``not_on`` say. If no
    attempt is left, or the task has no ``Retry``, the task fails. An ``at_most_once`` task is not
    tried again: see :class:`NotDone`.

    Args:
        seconds: how long to wait, instead of the delays of the ``Retry``; 1e9 at most.
        message: why.

    Raises:
        InvalidInput: ``seconds`` is not a number of seconds.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        given: object = seconds
        number = isinstance(given, int | float) and not isinstance(given, bool)
        # NaN compares false to everything.
        if not number or not seconds >= 0:
            raise InvalidInput(f"RetryAfter takes seconds, 0 or more, not {seconds!r:.60}")
        super().__init__(message or f"it asked to be tried again after {seconds:g} s")
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[RetryAfter], tuple[float, str]]:
        return type(self), (self.seconds, str(self))


class Incomplete(DistflowError):
    """A node that has expanded does not have the results of all of its children."""


class ClaimLost(DistflowError):
    """Another worker holds this task now: the outcome of this attempt no longer counts."""
