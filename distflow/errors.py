"""Every error that distflow raises, under one root.

An error without a message of its own says what its class docstring says. ``exit_code`` is
what the command line answers with when the error ends a command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self

#: Problems of a workflow that a message tells; the exception has all.
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
    """What was given cannot be used; nothing was changed."""

    exit_code = 2


class Problem(NamedTuple):
    """One thing that is wrong with a workflow.

    ``kind`` is ``duplicate_name``, ``missing_dependency``, ``cycle``, ``not_importable`` (a
    function or hook), ``wrong_call`` (it does not take the arguments), or ``invalid`` for what is
    refused as soon as it is written. ``task`` is its name, empty where it is about none alone.
    """

    kind: str
    task: str
    message: str


class WorkflowInvalid(InvalidInput):
    """The workflow is not a valid DAG of importable functions.

    Args:
        message: what is wrong; None says what the ``problems`` are.
        problems: all that is wrong, where that is known one by one.
    """

    def __init__(self, message: str | None = None, problems: Sequence[Problem] = ()) -> None:
        if message is None and problems:
            message = _list_problems(problems)
        super().__init__(message)
        #: All that is wrong, at least one.
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
    """The run has changed since the caller looked: what was worked out is to be worked out anew."""


class LeaseHeld(WrongState):
    """Another coordinator leads this run."""


class NotEncodable(DistflowError):
    """A value has no place in a message: only plain data and the registered types do."""


class Damaged(NotEncodable):
    """What Redis or a file holds is not what distflow writes."""

    exit_code = 5


class DamagedRun(Damaged):
    """What Redis holds of a run is not what distflow writes.

    Args:
        run_id: the run.
        why: what is strange.
    """

    def __init__(self, run_id: str, why: object) -> None:
        said = str(why) if isinstance(why, Damaged) else f"{type(why).__name__}: {why}"
        super().__init__(
            f"run {run_id}: Redis holds what distflow did not write ({said}): restore its data, or "
            f"remove the run by `distflow delete --force {run_id}`"
        )
        self.run_id = run_id


class UntrustedBytes(DistflowError):
    """What Redis holds is not what distflow writes: it was not loaded."""


class NotAllowed(DistflowError):
    """This worker may not import the function that a task names."""


class IllegalTransition(DistflowError):
    """A status may not change in this way."""


class StaleEpoch(DistflowError):
    """Another coordinator has taken this run over."""


class RunGone(DistflowError):
    """The run was deleted while it was being worked on."""


class RunForgotten(RunGone, RunNotFound):
    """Redis has lost the data of this run."""

    exit_code = 5

    @classmethod
    def because(cls, run_id: str, why: str) -> Self:
        """The error for a run, with what is to be done."""
        return cls(f"Redis has forgotten run {run_id}: {why}; {mend_forgotten(run_id)}")


def mend_forgotten(run_id: str) -> str:
    """What brings a run back that Redis has forgotten."""
    return (
        f"restore its AOF or RDB and go on by `distflow resume {run_id}`, or make the run again of "
        "an export by `distflow import FILE`"
    )


class RedisUnavailable(DistflowError):
    """Redis cannot be reached."""

    exit_code = 5


class RedisRefuses(RedisUnavailable):
    """Redis answers, and does not do what it is asked."""


class RedisFull(RedisRefuses):
    """Redis has reached its ``maxmemory``, and takes no more work."""


class NotOnDisk(DistflowError):
    """Redis did not confirm that a write is on its disk."""


class NotDone(DistflowError):
    """Raised by a task to vouch that it has had no effect, so that it may be tried again."""


class GiveUp(DistflowError):
    """Raised by a task to say that it failed and that another try cannot go better: its ``Retry``
    is not asked.
    """


class RetryAfter(DistflowError):
    """Raised by a task to say that it failed, and when it is to be tried again.

    It uses an attempt of the task's ``Retry``, whatever that has in ``on`` and ``not_on``; where
    none is left, or there is no ``Retry``, the task is a failure. An ``at_most_once`` task is not
    tried again: see :class:`NotDone`.

    Args:
        seconds: how long to wait, in place of the delays of the ``Retry``; 1e9 at most.
        message: why.

    Raises:
        InvalidInput: that is no number of seconds.
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


class ClaimLost(DistflowError):
    """The attempt was given to another worker: what it says counts no more."""
