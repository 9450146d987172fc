"""What is known of a run besides its graph and its results: frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from distflow.core.claim import Progress
from distflow.core.run_options import USUAL_OPTIONS, RunOptions
from distflow.core.status import RESTING_RUNS, RunStatus

#: Bytes that one task may have, encoded: its arguments, that is. It travels whole in a job of RQ.
MAX_TASK_BYTES = 16 * 1024 * 1024

#: Bytes that the parameters of a run may have, encoded: every batch is told them.
MAX_PARAMS_BYTES = 1024 * 1024

#: What a server does not tell.
UNKNOWN = "unknown"


class ServerFacts(NamedTuple):
    """What a run notes of its Redis: each is ``unknown`` where that did not say.

    ``durability`` is one of ``store.redis.durability.DURABILITIES``; ``redis_version`` is such
    as ``redis 7.0.15`` or ``valkey 9.1.2``.
    """

    durability: str = UNKNOWN
    redis_version: str = UNKNOWN
    maxmemory_policy: str = UNKNOWN


UNKNOWN_SERVER = ServerFacts()

#: What a run may ask for beyond what its server's settings give.
WAITAOF = "waitaof"

#: The durabilities that keep the mark that a task has started, whatever kills the server.
SAFE_DURABILITIES = ("aof-always", WAITAOF)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is created from; its tasks follow in chunks."""

    run_id: str
    workflow: str
    params: Mapping[str, Any]
    #: Nonce from which the keys of the tasks are derived; kept by export and import.
    origin: str
    options: RunOptions = USUAL_OPTIONS
    server: ServerFacts = UNKNOWN_SERVER
    #: It is left to a coordinator service from the start.
    detached: bool = False
    #: At least: see ``version.py``. What writes it raises it to what its tasks and options need.
    version: int = 1


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as its ``meta`` hash tells it. Times are Unix seconds."""

    run_id: str
    #: Of its bytes: see ``version.py``.
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
    #: Who leads the run now; None where nobody does.
    coordinator: str | None
    #: Redis's own time when this was read.
    as_of: float
    #: Since when it is at rest (see ``RESTING_RUNS``), Unix seconds; None where it is not, or where
    #: a distflow moved it there that does not note that.
    rest_at: float | None = None
    #: Seconds that it was at rest before that, since it was started.
    rested_seconds: float = 0.0
    #: Since when its timeout counts, Unix seconds.
    clock_at: float | None = None
    #: Of a cancellation: when what runs is stopped, Unix seconds.
    stop_at: float | None = None
    #: Why the run was stopped: a person, a signal or a timeout; None where it was not.
    reason: str | None = None
    #: Release 0.1 imported it from a run that may go on, with ``at_most_once`` tasks not yet
    #: started: resuming it asks a person to accept that.
    gap: bool = False
    #: Kind of repair -> how often it was made.
    repairs: Mapping[str, int] = field(default_factory=dict)
    #: Tasks that the run waits for, since their workers are frozen.
    held: tuple[HeldTask, ...] = ()
    #: Those of its tasks, in alphabetical order.
    queues: tuple[str, ...] = ()

    @property
    def durability(self) -> str:
        """What the run's Redis gave it when it was created."""
        return self.server.durability

    @property
    def is_first_led(self) -> bool:
        """Whether nobody led it before its coordinator of now: the first epoch is the moment of the
        start, and every later one is greater. So workers cannot have had any of its tasks before.
        """
        return self.started_at is not None and self.epoch == round(self.started_at * 1000)

    @property
    def run_seconds(self) -> float | None:
        """For how long it ran: from its start until now, or its end, without the time in which it
        was at rest; None where nobody has led it.
        """
        if self.started_at is None:
            return None
        resting = self.rest_at if self.status in RESTING_RUNS else None
        until = resting or self.ended_at or self.as_of
        return max(0.0, until - self.started_at - self.rested_seconds)

    @property
    def pending(self) -> int:
        """Tasks that are neither final nor running, queued or waiting."""
        return max(0, self.total - sum(self.counts.values()))


def live_counts(
    total: int, outcomes: Mapping[str, int], *, running: int, queued: int, waiting: int, led: bool
) -> dict[str, int]:
    """A run's tasks by where they stand: their outcomes, ``running``, ``queued`` and ``waiting``.

    What a coordinator has told of the last two may be older than the rest: workers go on when it
    has died. So they are no more than what is left of ``total``.
    """
    left = max(0, total - sum(outcomes.values()) - running)
    waiting = min(waiting, left)
    # What a dead coordinator had queued is nobody's: it is pending until another leads.
    queued = min(queued, left - waiting) if led else 0
    return {**outcomes, "running": running, "queued": queued, "waiting": waiting}


class HeldTask(NamedTuple):
    """A task at work whose worker is frozen; ``since`` is Unix seconds."""

    task: str
    worker: str
    since: float


class Refusal(NamedTuple):
    """What one worker cannot run: see :class:`~distflow.core.claim.Refused`.

    ``worker`` and ``born`` are its registration; ``tasks`` are those that it has refused, not more
    than 100 of them. An empty ``scope`` is a worker that cannot read the
    run's jobs.
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
    #: When it was refused first, Unix seconds.
    since: float

    @property
    def key(self) -> RefusalKey:
        """What it is found by."""
        return RefusalKey(self.scope, self.worker, self.born)


class RefusalKey(NamedTuple):
    """What a refusal is found by."""

    scope: str
    worker: str
    born: str


class Repair(NamedTuple):
    """Something that had gone wrong with a run, and was repaired.

    ``kind`` is ``worker_lost | worker_frozen | entry_lost | entry_refused | events_lost |
    redis_restarted | data_lost | index_lost``: what was found. ``batch`` and ``worker`` are empty
    where there is none; ``note`` is for people.
    """

    kind: str
    batch: str
    worker: str
    note: str


class Vitals(NamedTuple):
    """How many outcomes and claims the store has, the id of the newest event (``0-0``: none), the
    run's status, empty where there is no such run, and how many of the outcomes are unknown.
    """

    outcomes: int
    claims: int
    newest_event: str
    status: str
    unknown: int


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
    """What a batch last said of itself: ``at`` is Unix milliseconds on Redis's clock.

    ``job`` is the id of the RQ job; ``task`` is empty between two tasks; ``overdue`` says that the
    task has run longer than its timeout.
    """

    worker: str
    job: str
    at: int
    task: str
    overdue: bool = False


class TaskCut(NamedTuple):
    """What the store has of one task at one instant."""

    packed: bytes | None
    claim: Claim | None
    progress: Progress | None
    #: What it has saved, encoded.
    note: bytes | None = None


def event_order(event_id: str) -> tuple[int, int]:
    """By what the ids of events are sorted: ``12-0`` comes after ``9-5``."""
    number, _, part = event_id.partition("-")
    return int(number), int(part or 0)


def event_ms(event_id: str) -> int:
    """When an event was told, in Unix ms on Redis's clock: never less than of one before it, also
    where that clock was set back.
    """
    return event_order(event_id)[0]


class Event(NamedTuple):
    """Something that an entry of a run's events stream tells its coordinator.

    What one transition told has one ``id``; the fields stand in the order of the stream's lists.
    ``kind`` is ``claimed | started | finished | waiting | refused | released | resolved | moved |
    repaired | batch_ended`` (``started``: of a claim that did not say so itself; ``moved``: the
    run's status; ``repaired``: its ``status`` is the kind of repair);
    fields that do not fit the kind are empty.
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
    #: Tasks of an ended batch that it did not start.
    unstarted: Sequence[str] = ()
    #: Of a decision: what was said with it, where who decided is the ``worker``. Of a failure that
    #: waits for its next try: what failed.
    note: str = ""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Something that was set aside, refused, retried, repaired or decided.

    ``kind`` is ``retried | looped | set_aside | refused | late | lost | resolved | asked |
    repaired | taken_over`` (``repaired``: its ``status`` is the kind of repair); ``at`` is Unix
    seconds; ``packed`` the encoded TaskResult that it is about, or None where it was too large
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
