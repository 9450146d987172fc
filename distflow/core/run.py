"""What is known about a run besides its graph and its results: frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from distflow.core.claim import Progress
from distflow.core.run_options import USUAL_OPTIONS, RunOptions
from distflow.core.status import RESTING_RUNS, RunStatus

#: Most bytes of a run's encoded parameters: every batch reads them.
MAX_PARAMS_BYTES = 1024 * 1024

#: Stands for what a server does not report.
UNKNOWN = "unknown"


class ServerFacts(NamedTuple):
    """Facts about its Redis that a run records; ``unknown`` if that did not report them.

    ``durability`` is one of ``store.redis.durability.DURABILITIES``; ``redis_version`` is, for
    example, ``redis 7.0.15`` or ``valkey 9.1.2``.
    """

    durability: str = UNKNOWN
    redis_version: str = UNKNOWN
    maxmemory_policy: str = UNKNOWN


UNKNOWN_SERVER = ServerFacts()

#: A durability that a run may ask for beyond its server's settings.
WAITAOF = "waitaof"

#: The durabilities that keep a task's start mark whatever kills the server.
SAFE_DURABILITIES = ("aof-always", WAITAOF)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is created from; its tasks follow in chunks."""

    run_id: str
    workflow: str
    params: Mapping[str, Any]
    #: A nonce from which task keys are derived; kept by export and import.
    origin: str
    options: RunOptions = USUAL_OPTIONS
    server: ServerFacts = UNKNOWN_SERVER
    #: Left to a coordinator service from the start.
    detached: bool = False
    #: The lowest version to use: see ``version.py``. The writer raises it to what the tasks and
    #: options need.
    version: int = 1
    #: What its workflow returned, encoded: a template with Refs; None if it returned nothing.
    returns: bytes | None = None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as read from its ``meta`` hash. Times are Unix seconds."""

    run_id: str
    #: The version of its bytes: see ``version.py``.
    version: int
    workflow: str
    status: RunStatus
    params: Mapping[str, Any]
    origin: str
    options: RunOptions
    server: ServerFacts
    total: int
    epoch: int
    generation: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    #: Tasks by outcome, plus ``running``, ``queued`` and ``waiting``.
    counts: Mapping[str, int]
    #: The coordinator that leads the run now; None if nobody does.
    coordinator: str | None
    #: Redis's time when this was read.
    as_of: float
    #: Since when it is at rest (see ``RESTING_RUNS``), Unix seconds; None if it is not, or if a
    #: release that does not record this put it to rest.
    rest_at: float | None = None
    #: Seconds that it was at rest before that, since its start.
    rested_seconds: float = 0.0
    #: When its timeout began to count, Unix seconds.
    clock_at: float | None = None
    #: For a cancelled run: when running tasks are killed, Unix seconds.
    stop_at: float | None = None
    #: Why the run was stopped: a person, a signal or a timeout; None if it was not.
    reason: str | None = None
    #: Release 0.1 imported it from a run that may still continue, with ``at_most_once`` tasks not
    #: yet started: to resume it, a person must accept that.
    gap: bool = False
    #: Kind of repair -> how often it was made.
    repairs: Mapping[str, int] = field(default_factory=dict)
    #: Tasks that the run waits for because their workers are frozen.
    held: tuple[HeldTask, ...] = ()
    #: The queues of its tasks, in alphabetical order.
    queues: tuple[str, ...] = ()
    #: What its workflow returned, encoded: a template with Refs; None if it returned nothing.
    returns: bytes | None = None

    @property
    def durability(self) -> str:
        """The durability that the run's Redis provided when the run was created."""
        return self.server.durability

    @property
    def is_first_led(self) -> bool:
        """Whether its present coordinator is the first one: the first epoch equals the time of the
        start, and every later one is greater. Then workers cannot have had any of its tasks before.
        """
        return self.started_at is not None and self.epoch == round(self.started_at * 1000)

    @property
    def run_seconds(self) -> float | None:
        """How long it has run: from its start until now or its end, without the time at rest; None
        if nobody has led it yet.
        """
        if self.started_at is None:
            return None
        resting = self.rest_at if self.status in RESTING_RUNS else None
        until = resting or self.ended_at or self.as_of
        return max(0.0, until - self.started_at - self.rested_seconds)

    @property
    def pending(self) -> int:
        """How many tasks are neither final nor running, queued or waiting."""
        return max(0, self.total - sum(self.counts.values()))


def live_counts(
    total: int, outcomes: Mapping[str, int], *, running: int, queued: int, waiting: int, led: bool
) -> dict[str, int]:
    """Counts of a run's tasks: by outcome, ``running``, ``queued`` and ``waiting``.

    The last two come from the coordinator and may be older than the rest, since workers continue
    when it dies. So they are capped at what is left of ``total``.
    """
    left = max(0, total - sum(outcomes.values()) - running)
    waiting = min(waiting, left)
    # Tasks that a dead coordinator queued are pending until another one leads the run.
    queued = min(queued, left - waiting) if led else 0
    return {**outcomes, "running": running, "queued": queued, "waiting": waiting}


class HeldTask(NamedTuple):
    """A running task whose worker is frozen; ``since`` is Unix seconds."""

    task: str
    worker: str
    since: float


class Refusal(NamedTuple):
    """What one worker cannot run: see :class:`~distflow.core.claim.Refused`.

    ``worker`` and ``born`` are its registration; ``tasks`` are up to 100 of those that it has
    refused. An empty ``scope`` means that the worker cannot read the run's jobs.
    """

    scope: str
    worker: str
    born: str
    what: str
    words: str
    trace: str
    host: str
    pid: int
    directory: str
    tasks: tuple[str, ...]
    #: When it was first refused, Unix seconds.
    since: float

    @property
    def key(self) -> RefusalKey:
        """The key of this refusal."""
        return RefusalKey(self.scope, self.worker, self.born)


class RefusalKey(NamedTuple):
    """The key of a refusal."""

    scope: str
    worker: str
    born: str


class Repair(NamedTuple):
    """Something that was found wrong with a run, and put right.

    ``kind`` is ``worker_lost | worker_frozen | entry_lost | entry_refused | events_lost |
    redis_restarted | data_lost | index_lost``: what was found. ``batch`` and ``worker`` are empty
    if there is none; ``note`` is for people.
    """

    kind: str
    batch: str
    worker: str
    note: str


class Vitals(NamedTuple):
    """How many outcomes and claims the store has, the id of the newest event (``0-0``: none), the
    run's status (empty if there is no such run), how many of the outcomes are unknown, and how many
    nodes have expanded.
    """

    outcomes: int
    claims: int
    newest_event: str
    status: str
    unknown: int
    expansions: int = 0


class Claim(NamedTuple):
    """One worker's hold on one attempt. Times are Unix milliseconds; 0 is never.

    ``base`` and ``lost`` are those of :class:`Progress`.
    """

    attempt: int
    iteration: int
    token: str
    batch: str
    claimed: int
    started: int
    base: int
    lost: int


class Beat(NamedTuple):
    """The last heartbeat of a batch; ``at`` is Unix milliseconds on Redis's clock.

    ``job`` is the id of the RQ job; ``task`` is empty between two tasks; ``overdue`` says that the
    task has run longer than its timeout.
    """

    worker: str
    job: str
    at: int
    task: str
    overdue: bool = False


class TaskCut(NamedTuple):
    """Everything that the store has about one task at one instant."""

    packed: bytes | None
    claim: Claim | None
    progress: Progress | None
    #: What the task has saved, encoded.
    note: bytes | None = None


def event_order(event_id: str) -> tuple[int, int]:
    """The sort key of an event id: ``12-0`` comes after ``9-5``."""
    number, _, part = event_id.partition("-")
    return int(number), int(part or 0)


def event_ms(event_id: str) -> int:
    """When an event was written, in Unix ms on Redis's clock; never less than for the event before
    it, even if that clock was set back.
    """
    return event_order(event_id)[0]


class Event(NamedTuple):
    """One event of a run, from an entry of its events stream.

    The events of one transition share one ``id``; the fields are in the order of the stream's
    lists. ``kind`` is ``claimed | started | finished | waiting | refused | released | resolved |
    moved | repaired | batch_ended`` (``started``: of a claim that did not say so itself; ``moved``:
    the run's status; ``repaired``: its ``status`` is the kind of repair); fields that do not fit
    the kind are empty.
    """

    id: str
    kind: str
    task: str = ""
    status: str = ""
    attempt: int = 0
    batch: str = ""
    worker: str = ""
    not_before: int = 0
    duration: float = 0.0
    #: Tasks that an ended batch did not start.
    unstarted: Sequence[str] = ()
    #: For a decision: the note that came with it; ``worker`` is then who decided. For a failure
    #: that will be retried: the error.
    note: str = ""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Something that was set aside, refused, retried, repaired or decided.

    ``kind`` is ``retried | looped | set_aside | refused | late | lost | resolved | asked |
    repaired | taken_over`` (``repaired``: its ``status`` is the kind of repair); ``at`` is Unix
    seconds; ``packed`` the encoded TaskResult that it is about, or None if it was too large
    (``note`` then has its size and SHA-1) or there is none.
    """

    at: float
    kind: str
    task: str = ""
    status: str = ""
    attempt: int = 0
    by: str = ""
    note: str = ""
    packed: bytes | None = field(default=None, repr=False)
