"""The parts of a workflow and the outcomes of its tasks: frozen values.

Work horses import this module for every job, and a dataclass costs about 0.5 ms at import:
all but the TaskResult are named tuples, which cost a fifth of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self

from distflow.core.status import OUTCOMES, TaskStatus
from distflow.errors import InvalidInput

Backoff = Literal["fixed", "exponential"]
Effects = Literal["normal", "idempotent", "at_most_once"]

#: What a loop's ``until`` receives.
Sees = Literal["result", "data"]

#: An exception class, or its ``"module:Name"``.
Raised = type[BaseException] | str

#: The queue of tasks that name none; ``rq worker`` without arguments listens to it.
DEFAULT_QUEUE = "default"

#: The longest delay or interval: about 30 years, an exact integer in ms in every language.
LONGEST_WAIT_SECONDS = 1e9

#: How often a task is sent again after a lost worker without using an attempt.
MAX_LOST = 3


class Ref(NamedTuple):
    """Stands in for the data of a dependency in a task's arguments."""

    task: str


def find_refs(value: Any) -> list[Ref]:
    """Every Ref in a value, also nested in lists, tuples and dicts."""
    if type(value) is Ref:
        return [value]
    if isinstance(value, dict):
        return [ref for element in value.values() for ref in find_refs(element)]
    if isinstance(value, (list, tuple)):
        return [ref for element in value for ref in find_refs(element)]
    return []


def fill_refs(value: Any, data: Mapping[str, Any]) -> Any:
    """A value with each Ref replaced by the data of its task."""
    if type(value) is Ref:
        return data[value.task]
    if isinstance(value, dict):
        return {key: fill_refs(element, data) for key, element in value.items()}
    if isinstance(value, list):
        return [fill_refs(element, data) for element in value]
    if type(value) is tuple:
        return tuple(fill_refs(element, data) for element in value)
    return value


class _RetryFields(NamedTuple):
    attempts: int
    delay: float
    backoff: Backoff
    max_delay: float | None
    jitter: float
    lost: int
    on: tuple[str, ...]
    not_on: tuple[str, ...]
    delays: tuple[float, ...]


class Retry(_RetryFields):
    """How a failed task is retried.

    Args:
        attempts: retries beyond the first try; by default as many as there are ``delays``, or none.
        delay: seconds before the first retry.
        backoff: ``fixed`` keeps the delay, ``exponential`` doubles it at each retry.
        max_delay: seconds that a delay never exceeds, before jitter.
        jitter: fraction of the delay that is added or subtracted at random, 0 to 1.
        lost: how many lost workers do not count as attempts.
        on: exception classes, or ``"module:Name"`` of where they are defined: only these are
            retried. Subclasses count; a timeout is a ``TimeoutError``. With ``on``, a failure
            without an exception, such as a lost worker, is not retried.
        not_on: likewise, but these are not retried. Takes precedence over ``on``.
        delays: seconds before each retry, instead of ``delay``, ``backoff`` and ``max_delay``; the
            last one applies to all further retries.

    ``on`` and ``not_on`` are kept as texts ``"module:Name"``.

    Raises:
        InvalidInput: a number is out of range, a class is not an exception, or ``delays`` are given
            together with what they replace.
    """

    __slots__ = ()

    def __new__(  # noqa: PLR0913, PLR0917 - by name
        cls,
        attempts: int = 0,
        delay: float = 0.0,
        backoff: Backoff = "fixed",
        max_delay: float | None = None,
        jitter: float = 0.0,
        lost: int = 0,
        on: Raised | Iterable[Raised] = (),
        not_on: Raised | Iterable[Raised] = (),
        delays: Iterable[float] | None = None,
    ) -> Self:
        """Check what is given: see the class."""
        if not (_is_count(attempts) and _is_count(lost)):
            raise InvalidInput("Retry: attempts and lost must be whole numbers, 0 or more")
        if not _is_wait(delay) or not (max_delay is None or _is_wait(max_delay)):
            raise InvalidInput("Retry: delay and max_delay must be seconds, 0 to 1e9")
        if backoff not in ("fixed", "exponential"):
            raise InvalidInput(f"Retry: backoff must be 'fixed' or 'exponential', not {backoff!r}")
        if not (_is_number(jitter) and 0 <= jitter <= 1):
            raise InvalidInput("Retry: jitter must be a fraction of the delay, 0 to 1")
        listed = _delays(delays)
        if listed:
            if delay or backoff != "fixed" or max_delay is not None:
                raise InvalidInput(
                    "Retry: delays replace delay, backoff and max_delay: give one or the other"
                )
            attempts = attempts or len(listed)
        names = (_names_of(on, "on") if on else (), _names_of(not_on, "not_on") if not_on else ())
        return super().__new__(
            cls, attempts, delay, backoff, max_delay, jitter, lost, *names, listed
        )

    def allows(self, raised: Collection[str]) -> bool:
        """Whether a failure may be retried, by its kind.

        Args:
            raised: the classes of the exception, as :func:`class_names` returns them; empty if
                nothing was raised.
        """
        if any(name in raised for name in self.not_on):
            return False
        return not self.on or any(name in raised for name in self.on)


def class_names(kind: type[BaseException]) -> tuple[str, ...]:
    """``"module:Name"`` of an exception's class and of its bases, its own first."""
    return tuple(f"{each.__module__}:{each.__qualname__}" for each in kind.__mro__[:-1])


def _names_of(raised: object, option: str) -> tuple[str, ...]:
    listed = (raised,) if isinstance(raised, str | type) else raised
    names = []
    for each in listed if isinstance(listed, Iterable) else (listed,):
        if isinstance(each, type) and issubclass(each, BaseException):
            names.append(class_names(each)[0])
        elif isinstance(each, str) and all(each.partition(":")):
            names.append(each)
        else:
            raise InvalidInput(
                f"Retry: {option} must list exception classes or their 'module:Name', "
                f"not {each!r:.60}"
            )
    return tuple(names)


def _delays(delays: object) -> tuple[float, ...]:
    if delays is None or delays == ():
        return ()
    listed = tuple(delays) if isinstance(delays, Iterable) else ()
    if listed and all(_is_wait(seconds) for seconds in listed):
        return listed
    raise InvalidInput("Retry: delays must be a list of one or more seconds, each 0 to 1e9")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_wait(seconds: object) -> bool:
    # NaN compares false to everything.
    return _is_number(seconds) and 0 <= seconds <= LONGEST_WAIT_SECONDS  # type: ignore[operator]


class _LoopFields(NamedTuple):
    until: Any
    max_iterations: int
    interval: float
    sees: Sees


class Loop(_LoopFields):
    """Run a task again until ``until(ctx, result)`` is true.

    Each iteration calls the function and retries it by its ``Retry``, which starts afresh each
    time. Then ``until`` is called, even after a failure.

    Args:
        until: a module-level function, or its ``"pkg.module:name"``. It gets the TaskResult of the
            iteration: ``success`` or ``failure``.
        max_iterations: iterations after which the task is a ``failure``.
        interval: seconds between two iterations.
        sees: ``"data"`` is the loop of release 0.1: ``until`` gets what the function returned, is
            not called after failures, and all iterations share one ``Retry``.

    Raises:
        InvalidInput: a number is out of range, or ``sees`` is neither of the two.
    """

    __slots__ = ()

    def __new__(
        cls, until: Any, max_iterations: int, interval: float = 0.0, sees: Sees = "result"
    ) -> Self:
        """Check what is given: see the class."""
        if not _is_count(max_iterations) or max_iterations < 1:
            raise InvalidInput("Loop: max_iterations must be a whole number, 1 or more")
        if not _is_wait(interval):
            raise InvalidInput("Loop: interval must be seconds, 0 to 1e9")
        if sees not in ("result", "data"):
            raise InvalidInput(f"Loop: sees must be 'result' or 'data', not {sees!r:.60}")
        return super().__new__(cls, until, max_iterations, interval, sees)


class Grow(NamedTuple):
    """What makes a task a growing node: it adds tasks to its run.

    ``child`` is what a ``map`` makes of each element: a task without a name, whose ``kwargs`` are
    the fixed arguments. ``key`` is the item or attribute of an element that names its child, or a
    ``"pkg.module:name"`` that returns it. ``max_failures`` is a count, or a share between 0 and 1.
    ``shapes`` are the mapped nodes that the node follows element by element: it needs their
    expansion, not the results of their children.
    """

    kind: Literal["map", "plan"]
    child: Task | None = None
    key: str | None = None
    max_failures: float | None = None
    shapes: tuple[str, ...] = ()


#: The function of a ``map`` node: distflow's own.
MAP_FUNCTION = "distflow:map"


class Expanded(NamedTuple):
    """The data of a growing node that has expanded: what it stands for is in its expansion.

    ``token`` is that of the claim that made the expansion, ``children`` the number of its tasks.
    """

    token: str
    children: int


class Task(NamedTuple):
    """One node of the graph, frozen: everything a worker needs to run it.

    ``function``, ``condition``, ``verify`` and ``loop.until`` are ``"pkg.module:name"``. ``args``
    and ``kwargs`` may hold :class:`Ref` at any depth; ``depends_on`` names every dependency, those
    behind a Ref included. ``timeout`` is in seconds; without ``batch`` the task travels alone.
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
    #: Set for a growing node; its ``args`` are what it maps, or those of the plan.
    grow: Grow | None = None


def users_part(task: Task) -> Task:
    """The task as far as the user's code is concerned: of a map, a child without elements, under
    the name of the node.
    """
    grow = task.grow
    return task if grow is None or grow.child is None else grow.child._replace(name=task.name)


class Metrics(NamedTuple):
    """When a task ran: Unix seconds, and the difference of the two."""

    start_time: float
    end_time: float
    duration: float


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The final outcome of a task; or ``pending``, if ``execute`` returns before the task has one.

    ``error`` is ``"ExceptionType: message"``. ``attempt`` counts from 1, through all resumes; it is
    0 for a task that never ran. ``started`` is true if the function of an ``at_most_once`` task may
    have had effects although the task did not succeed: such a task never starts again by itself.
    ``host`` is the name of the worker's host; None for a task that never ran, or whose worker was
    lost.
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
    host: str | None = None

    def __post_init__(self) -> None:
        # A user may write the status as text.
        try:
            status = TaskStatus(self.status)
        except ValueError:
            status = TaskStatus.PENDING
        if status not in OUTCOMES and self.status != TaskStatus.PENDING:
            known = ", ".join(sorted(OUTCOMES))
            raise InvalidInput(f"TaskResult: status must be one of {known}, not {self.status!r}")
        attempt: object = self.attempt
        if not isinstance(attempt, int):
            raise InvalidInput(
                f"TaskResult: attempt must be a whole number, 0 or more, not {attempt!r:.60}"
            )
        metrics: object = self.metrics
        if metrics is not None and not isinstance(metrics, Metrics):
            raise InvalidInput(f"TaskResult: metrics must be a Metrics, not {metrics!r:.60}")
        object.__setattr__(self, "status", status)
