"""What a workflow is made of and what its tasks leave behind: frozen values.

Work horses import this module for every job, and a dataclass costs about 0.5 ms at import:
all but the TaskResult are named tuples, which cost a fifth of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self

from distflow.core.status import OUTCOMES, TaskStatus
from distflow.errors import InvalidInput

Backoff = Literal["fixed", "exponential"]
Effects = Literal["normal", "idempotent", "at_most_once"]

#: The queue of tasks that name none; ``rq worker`` without arguments listens to it.
DEFAULT_QUEUE = "default"

#: No delay or interval is longer: about 30 years, which in milliseconds is a number everywhere.
LONGEST_WAIT_SECONDS = 1e9

#: How often a task is dispatched again because its worker was lost, without using an attempt.
MAX_LOST = 3


class Ref(NamedTuple):
    """Stands in a task's arguments for the data of one of its dependencies."""

    task: str


class _RetryFields(NamedTuple):
    attempts: int
    delay: float
    backoff: Backoff
    max_delay: float | None
    jitter: float
    lost: int


class Retry(_RetryFields):
    """How a task that failed is tried again.

    Args:
        attempts: retries beyond the first try.
        delay: seconds before the first retry.
        backoff: ``fixed`` keeps the delay, ``exponential`` doubles it at each retry.
        max_delay: seconds that a delay never exceeds, before jitter.
        jitter: share of the delay that is added or taken away at random, 0 to 1.
        lost: how many lost workers do not count as a try.

    Raises:
        InvalidInput: a number is out of its range.
    """

    __slots__ = ()

    def __new__(
        cls,
        attempts: int = 0,
        delay: float = 0.0,
        backoff: Backoff = "fixed",
        max_delay: float | None = None,
        jitter: float = 0.0,
        lost: int = 0,
    ) -> Self:
        """Check the numbers: see the class."""
        if attempts < 0 or lost < 0:
            raise InvalidInput("Retry: attempts and lost are counts, 0 or more")
        if not _is_wait(delay) or not (max_delay is None or _is_wait(max_delay)):
            raise InvalidInput("Retry: delay and max_delay are seconds, 0 to 1e9")
        if backoff not in ("fixed", "exponential"):
            raise InvalidInput(f"Retry: backoff is 'fixed' or 'exponential', not {backoff!r}")
        if not 0 <= jitter <= 1:
            raise InvalidInput("Retry: jitter is a share of the delay, 0 to 1")
        return super().__new__(cls, attempts, delay, backoff, max_delay, jitter, lost)


def _is_wait(seconds: float) -> bool:
    # NaN compares false to everything.
    return 0 <= seconds <= LONGEST_WAIT_SECONDS


class _LoopFields(NamedTuple):
    until: Any
    max_iterations: int
    interval: float


class Loop(_LoopFields):
    """Run a task again until ``until(ctx, result)`` is true.

    Args:
        until: a module-level function, or its ``"pkg.module:name"``.
        max_iterations: runs after which the task is a ``failure``.
        interval: seconds between two runs.

    Raises:
        InvalidInput: a number is out of its range.
    """

    __slots__ = ()

    def __new__(cls, until: Any, max_iterations: int, interval: float = 0.0) -> Self:
        """Check the numbers: see the class."""
        if max_iterations < 1:
            raise InvalidInput("Loop: max_iterations is a count, 1 or more")
        if not _is_wait(interval):
            raise InvalidInput("Loop: interval is seconds, 0 to 1e9")
        return super().__new__(cls, until, max_iterations, interval)


class Task(NamedTuple):
    """One node of the graph, frozen: everything a worker needs to run it.

    ``function``, ``condition``, ``verify`` and ``loop.until`` are ``"pkg.module:name"``. ``args``
    and ``kwargs`` may hold :class:`Ref` at any depth; ``depends_on`` names every dependency, those
    behind a Ref included. ``timeout`` is in seconds; without ``batch`` it travels alone.
    """

    name: str
    function: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = MappingProxyType({})
    depends_on: tuple[str, ...] = ()
    retry: Retry | None = None
    loop: Loop | None = None
    timeout: float | None = None
    condition: str | None = None
    priority: int = 0
    continue_on_error: bool = False
    queue: str = DEFAULT_QUEUE
    effects: Effects = "normal"
    verify: str | None = None
    batch: bool = True


class Metrics(NamedTuple):
    """When a task ran: Unix seconds, and the difference of the two."""

    start_time: float
    end_time: float
    duration: float


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The final outcome of a task.

    ``error`` is ``"ExceptionType: message"``. ``attempt`` counts from 1 and on through resumes;
    it is 0 for a task that never ran. ``started`` is true where the function of an
    ``at_most_once`` task may have had effects although the task is no success: such a task
    never starts again by itself.
    """

    status: TaskStatus
    message: str | None = None
    error: str | None = None
    data: Any = None
    metrics: Metrics | None = None
    attempt: int = 0
    worker: str | None = None
    traceback: str | None = None
    started: bool = False

    def __post_init__(self) -> None:
        # A user may write the status as text.
        try:
            status = TaskStatus(self.status)
        except ValueError:
            status = TaskStatus.PENDING
        if status not in OUTCOMES:
            known = ", ".join(sorted(OUTCOMES))
            raise InvalidInput(f"TaskResult: status is one of {known}, not {self.status!r}")
        object.__setattr__(self, "status", status)
