"""Decides what an attempt's outcome means: final, or try again later. Nothing else decides this.

Workers call :func:`decide` with what they saw; coordinators call :func:`decide_lost` for a claim
whose worker is gone.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Literal, NamedTuple

from distflow.core.claim import Finish, Growth, Progress
from distflow.core.model import (
    LONGEST_WAIT_SECONDS,
    MAX_LOST,
    Loop,
    Metrics,
    Retry,
    Task,
    TaskResult,
    class_names,
)
from distflow.core.status import TaskStatus
from distflow.text import counted

#: How many characters of an error an event carries; the history has all of it.
_MAX_NOTE = 300


class Attempt(NamedTuple):
    """Which attempt this is: the numbers of its claim, and whether it was marked as started."""

    attempt: int
    iteration: int
    base: int
    lost: int
    started: bool


class Outcome(NamedTuple):
    """What a worker saw of an attempt.

    ``met`` is what a loop's ``until`` returned: None if it could not be called, and True if it
    raised, since then the loop is over. ``not_done`` says that the function vouches for having had
    no effect, ``timed_out`` that it was ended from outside, ``permanent`` that a retry cannot help
    (its condition raised, it cannot be imported, it gave up). ``raised`` are the classes of its
    exception (see :func:`~distflow.core.model.class_names`), and ``retry_after`` the seconds after
    which it asked to be retried.
    """

    status: TaskStatus
    data: Any = None
    message: str | None = None
    error: str | None = None
    traceback: str | None = None
    met: bool | None = None
    not_done: bool = False
    timed_out: bool = False
    permanent: bool = False
    raised: tuple[str, ...] = ()
    retry_after: float | None = None


def timed_out(seconds: float) -> Outcome:
    """The outcome of an attempt that was ended because it ran longer than its timeout."""
    message = f"TaskTimeout: ran longer than {seconds:g} s"
    raised = class_names(TimeoutError)
    return Outcome(
        TaskStatus.FAILURE, error=message, message=message, timed_out=True, raised=raised
    )


def too_large(children: int) -> Outcome:
    """The outcome of a growing node whose tasks would make its run larger than it may be."""
    message = (
        f"TooLarge: its {counted(children, 'task')} would make the run larger than its max_tasks "
        "or max_graph_bytes: give each task more to do, or submit with a higher --max-tasks"
    )
    return Outcome(TaskStatus.FAILURE, error=message, message=message, permanent=True)


class Decision(NamedTuple):
    """What follows: ``final``, or ``wait`` for ``delay_seconds`` and then try ``progress``."""

    kind: Literal["final", "wait"]
    result: TaskResult
    progress: Progress
    delay_seconds: float = 0.0


def decide(
    task: Task,
    at: Attempt,
    outcome: Outcome,
    *,
    metrics: Metrics | None,
    worker: str,
    roll: float,
    host: str = "",
) -> Decision:
    """Decide what an attempt's outcome means.

    Args:
        task: its policy.
        at: which attempt it was.
        outcome: what the worker saw.
        metrics: when it ran; None if its function was never called.
        worker: the worker that ran it.
        roll: a random number in [0, 1) for the jitter.
        host: the worker's host; empty if unknown.
    """
    once = task.effects == "at_most_once"
    retry_at = Progress(at.attempt + 1, at.iteration, at.base, at.lost)
    status, message = outcome.status, outcome.message
    if outcome.timed_out and once and at.started:
        status = TaskStatus.UNKNOWN
    looping = is_unmet(task, outcome)
    delay = None if looping and outcome.met is False else _retry_delay(task, at, outcome, roll)
    if delay is None and looping and task.loop is not None:
        # Workflows refuse a loop that is ``at_most_once``; one from elsewhere does not start twice
        # either.
        if at.iteration < task.loop.max_iterations and not once:
            result = _result(status, outcome, at, metrics, worker, started=False, host=host)
            pause = max(task.loop.interval, outcome.retry_after or 0.0)
            progress = _next_iteration(task.loop, at)
            return Decision("wait", result, progress, min(pause, LONGEST_WAIT_SECONDS))
        status = TaskStatus.FAILURE
        message = f"the loop's condition was not met in {counted(at.iteration, 'iteration')}"
    # A function that was never called, or vouches for having had no effect, may run again.
    touched = once and at.started and not outcome.not_done and status != TaskStatus.SUCCESS
    result = _result(
        status, outcome, at, metrics, worker, started=touched, message=message, host=host
    )
    if delay is not None:
        return Decision("wait", result, retry_at, delay)
    return Decision("final", result, retry_at)


def is_unmet(task: Task, outcome: Outcome) -> bool:
    """Whether a loop continues after an outcome without a retry: its condition was not met, or
    could not be checked.

    A loop does not overrule what the function says of itself, such as that it was skipped; nor, in
    version 1, a failure.
    """
    if task.loop is None or outcome.permanent:
        return False
    if task.loop.sees == "data":
        return outcome.met is False and outcome.status == TaskStatus.SUCCESS
    return outcome.met is not True and outcome.status in (TaskStatus.SUCCESS, TaskStatus.FAILURE)


def _next_iteration(loop: Loop, at: Attempt) -> Progress:
    """An iteration is not an attempt: it keeps the number of the last one."""
    if loop.sees == "data":
        return Progress(at.attempt, at.iteration + 1, at.base, at.lost)
    return Progress(at.attempt, at.iteration + 1, at.attempt - 1)


def _retry_delay(task: Task, at: Attempt, outcome: Outcome, roll: float) -> float | None:
    """Seconds until an attempt's retry; None if it is not retried."""
    retry, once = task.retry, task.effects == "at_most_once"
    if outcome.status != TaskStatus.FAILURE or outcome.permanent or retry is None:
        return None
    if at.attempt - at.base > retry.attempts or (once and not outcome.not_done):
        return None
    # A function that asks for a retry overrides the lists of classes.
    if outcome.retry_after is not None:
        return min(outcome.retry_after, LONGEST_WAIT_SECONDS)
    return (
        backoff_seconds(retry, at.attempt - at.base, roll) if retry.allows(outcome.raised) else None
    )


def decide_lost(
    task: Task,
    at: Attempt,
    *,
    worker: str,
    cancelling: bool,
    metrics: Metrics | None,
    roll: float,
    cause: str | None = None,
    overdue: bool = False,
) -> Decision:
    """Decide what becomes of an attempt whose worker is gone.

    A claim that had not started, and any ``idempotent`` one, is sent again at once without using an
    attempt, at most :data:`MAX_LOST` times; a ``normal`` one as often as its ``Retry(lost=N)``
    says. Beyond that, a lost worker is a failed attempt.

    ``cause`` says how it was lost, if more is known than that its worker is gone. ``overdue`` says
    that it had run longer than its timeout by then: the timeout is then the cause, whoever ended
    it.
    """
    if overdue and task.timeout is not None:
        outcome = timed_out(task.timeout)
        return decide(task, at, outcome, metrics=metrics, worker=worker, roll=roll)
    what = cause or "its worker was lost"
    name = worker or "?"
    error = f"WorkerLost: {cause or f'worker {name} was lost'}"
    outcome = Outcome(TaskStatus.FAILURE, error=error, message=what)
    retry_at = Progress(at.attempt + 1, at.iteration, at.base, at.lost)
    if task.effects == "at_most_once" and at.started:
        message = f"{what}: it had started, and nobody knows how it ended"
        outcome = outcome._replace(status=TaskStatus.UNKNOWN, message=message)
        result = _result(outcome.status, outcome, at, metrics, worker, started=True)
        return Decision("final", result, retry_at)
    if cancelling:
        outcome = Outcome(TaskStatus.CANCELLED, message="stopped while it ran")
        result = _result(outcome.status, outcome, at, metrics, worker, started=False)
        return Decision("final", result, retry_at)
    harmless = task.effects == "idempotent" or not at.started
    allowed = max(MAX_LOST if harmless else 0, task.retry.lost if task.retry else 0)
    if at.lost < allowed:
        progress = Progress(at.attempt, at.iteration, at.base, at.lost + 1)
        result = _result(TaskStatus.FAILURE, outcome, at, metrics, worker, started=False)
        return Decision("wait", result, progress)
    # Nothing happened, or it may happen twice: the retry policy applies, as after a NotDone.
    outcome = outcome._replace(not_done=True)
    return decide(task, at, outcome, metrics=metrics, worker=worker, roll=roll)


def to_finish(
    decision: Decision, task: Task, token: str, packed: bytes, growth: Growth | None = None
) -> Finish:
    """A decision in the form that the store takes.

    Args:
        decision: what follows.
        task: whose it is.
        token: of its claim.
        packed: its encoded result.
        growth: what a growing node has made that has succeeded.
    """
    result = decision.result
    return Finish(
        task=task.name,
        token=token,
        attempt=result.attempt,
        kind=decision.kind,
        status=result.status.value,
        packed=packed,
        worker=result.worker or "",
        duration=result.metrics.duration if result.metrics else 0.0,
        delay_ms=ceil(decision.delay_seconds * 1000),
        progress=decision.progress,
        keep=task.effects == "at_most_once",
        note=_note_of(decision),
        grows=task.grow is not None,
        growth=growth,
        tolerated=task.continue_on_error,
        hooked=task.verify is not None,
    )


def _note_of(decision: Decision) -> str:
    if decision.kind != "wait":
        return ""
    said = decision.result.error or decision.result.message or ""
    return said.encode("utf-8", "backslashreplace").decode()[:_MAX_NOTE]


def backoff_seconds(retry: Retry, tries: int, roll: float) -> float:
    """The delay after the ``tries``-th failed attempt of a generation (from 1), in seconds."""
    delay = retry.delay
    if retry.delays:
        delay = retry.delays[min(tries, len(retry.delays)) - 1]
    elif retry.backoff == "exponential":
        # The exponent is capped: 2**1100 overflows a float.
        delay *= 2.0 ** min(tries - 1, 1000)
    if retry.max_delay is not None:
        delay = min(delay, retry.max_delay)
    return min(delay, LONGEST_WAIT_SECONDS) * (1 + retry.jitter * (2 * roll - 1))


def left_of_wait_ms(not_before: int, now_ms: int, told_ms: int) -> int:
    """How long a task still waits: never longer than originally asked, even if Redis's clock was
    set back since.

    Args:
        not_before: until when, in Unix ms.
        now_ms: the time now.
        told_ms: the time of the event that reported the wait, or of a later one: event times never
            go back.
    """
    left = not_before - now_ms
    asked = not_before - told_ms
    return max(0, min(left, asked) if asked > 0 else left)


def longest_wait_seconds(task: Task, progress: Progress) -> float:
    """The longest wait that can precede the next try, other than by RetryAfter."""
    longest = 0.0 if task.loop is None else task.loop.interval
    if task.retry is not None:
        tries = max(1, progress.attempt - 1 - progress.base)
        longest = max(longest, backoff_seconds(task.retry, tries, 1.0))
    return longest


def _result(
    status: TaskStatus,
    outcome: Outcome,
    at: Attempt,
    metrics: Metrics | None,
    worker: str,
    *,
    started: bool,
    message: str | None = None,
    host: str = "",
) -> TaskResult:
    return TaskResult(
        status=status,
        message=message if message is not None else outcome.message,
        error=outcome.error,
        data=outcome.data if status != TaskStatus.UNKNOWN else None,
        metrics=metrics,
        attempt=at.attempt,
        worker=worker or None,
        traceback=outcome.traceback,
        started=started,
        host=host or None,
    )
