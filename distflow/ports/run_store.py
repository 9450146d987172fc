"""What the layers above ask of a store and of a dispatcher.

A store answers with encoded TaskResults (``bytes``): what is only passed on is never decoded.
Every transition is atomic and idempotent under a lost reply: its caller makes the token or the
operation id and keeps it over its retries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from distflow.core.claim import (
    NAMELESS,
    Advance,
    BatchOpening,
    ClaimRequest,
    Code,
    Finish,
    Progress,
    Refused,
    Unknown,
    WorkerFacts,
)
from distflow.core.graph import Graph
from distflow.core.misfit import Registration
from distflow.core.model import Task
from distflow.core.resolution import Decision, Resolution
from distflow.core.run import (
    Beat,
    Claim,
    Event,
    HeldTask,
    HistoryEntry,
    Refusal,
    RefusalKey,
    Repair,
    RunInfo,
    RunSpec,
    TaskCut,
    Vitals,
)
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import DistflowError, RunGone


class WorkerPort(Protocol):
    """What a worker asks of the store of a run."""

    run_id: str

    def begin_batch(self, epoch: int, batch: str, worker: str, job: str) -> BatchOpening: ...
    def advance(  # noqa: PLR0913 - by name
        self,
        epoch: int,
        batch: str,
        finishes: Sequence[Finish] = (),
        claims: Sequence[ClaimRequest] = (),
        *,
        released: Sequence[tuple[str, str]] = (),
        ending: bool = False,
        unstarted: Sequence[str] = (),
        refused: Sequence[Refused] = (),
        by: WorkerFacts = NAMELESS,
        meanwhile: Callable[[], object] | None = None,
    ) -> Advance: ...
    def start_task(self, task: str, token: str, *, on_disk: bool = True) -> Code: ...
    def beat(
        self, batch: str, worker: str, job: str, task: str, *, overdue: bool = False
    ) -> tuple[Code, str]: ...
    def save_note(self, task: str, token: str, packed: bytes) -> Code: ...
    def fetch_note(self, task: str) -> bytes | None: ...
    def fetch_unknown(self, task: str) -> Unknown | None: ...
    def resolve_task(
        self,
        operation: str,
        task: str,
        decision: Literal["done", "fail", "retry", "undecided"],
        packed: bytes,
        who: str,
        note: str,
        *,
        asked: bytes = b"",
    ) -> TaskStatus: ...
    def explain_gone(self) -> RunGone: ...
    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]: ...
    def list_results(self) -> list[str]: ...


class RunStore(WorkerPort, Protocol):
    """Everything that is asked of the store of a run: see the Redis store for each method."""

    def create_run(
        self, spec: RunSpec, operation: str, tasks: Sequence[Task] | None = None
    ) -> None: ...
    def append_tasks(self, operation: str, chunk: int, tasks: Sequence[Task]) -> None: ...
    def hydrate(
        self, operation: str, outcomes: Iterable[tuple[str, bytes | None, Progress | None]]
    ) -> None: ...
    def hydrate_notes(self, operation: str, notes: Sequence[tuple[str, bytes]]) -> None: ...
    def seal_run(self, operation: str, total: int) -> None: ...
    def delete_run(self, *, force: bool = False) -> None: ...
    def mark_active(self, version: int | None) -> None: ...

    def resolve_tasks(
        self,
        operation: str,
        decision: Decision,
        resolutions: Sequence[Resolution],
        who: str,
        note: str,
        *,
        skips: int | None = None,
    ) -> list[TaskStatus]: ...

    def read_info(self) -> RunInfo: ...
    def read_status(self) -> RunStatus: ...
    def read_head(self, *, with_tasks: bool = True, with_server: bool = True) -> RunHead: ...
    def read_standing(self, names: Sequence[str]) -> Standing: ...
    def iter_tasks(self, start: int = 0) -> Iterator[list[Task]]: ...
    def read_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]: ...
    def read_results(self, names: Sequence[str]) -> list[bytes | None]: ...
    def read_cut(self, names: Sequence[str]) -> list[TaskCut]: ...
    def read_troubles(self, limit: int) -> Troubles: ...
    def read_claims(self) -> dict[str, Claim]: ...
    def read_progress(self) -> dict[str, Progress]: ...
    def sample_progress(self, most: int) -> dict[str, Progress]: ...
    def read_beats(self) -> dict[str, Beat]: ...
    def read_refusals(self) -> list[Refusal]: ...
    def read_history(
        self, task: str | None = None, *, newest: int | None = None
    ) -> list[HistoryEntry]: ...
    def read_server(self) -> ServerInfo: ...

    def acquire_lease(self, owner: str, ttl_seconds: float, *, force: bool = False) -> int: ...
    def renew_lease(
        self, owner: str, epoch: int, ttl_seconds: float, *, queued: int, waiting: int
    ) -> None: ...
    def release_lease(self, owner: str, epoch: int, *, is_over: bool = False) -> bool: ...
    def last_event_id(self) -> str: ...
    def read_events(self, after: str, *, block_ms: int | None = None) -> list[Event]: ...
    def trim_events(self, epoch: int, first_kept: str) -> None: ...
    def settle_claim(self, epoch: int, batch: str, lost: Finish) -> Code: ...
    def end_batch(self, epoch: int, batch: str) -> Code: ...
    def settle_unheld(
        self,
        epoch: int,
        outcomes: Sequence[tuple[str, bytes]],
        *,
        forgotten: Sequence[RefusalKey] = (),
    ) -> set[str]: ...
    def read_vitals(self) -> Vitals: ...
    def record_repair(
        self, epoch: int, operation: str, repair: Repair, *, by: WorkerFacts = NAMELESS
    ) -> None: ...
    def hold_tasks(self, epoch: int, held: Sequence[HeldTask]) -> None: ...
    def restore_indices(self) -> bool: ...
    def begin_reopen(self, epoch: int, operation: str) -> None: ...
    def reopen_tasks(
        self, epoch: int, items: Sequence[tuple[str, TaskStatus | None, Progress, bool]]
    ) -> None: ...
    def set_times(
        self,
        epoch: int,
        waits: Sequence[tuple[str, int, int]],
        *,
        clock_at: tuple[int, int] | None = None,
        stop_at: tuple[int, int] | None = None,
    ) -> None: ...
    def set_status(
        self,
        new: RunStatus,
        allowed: Collection[RunStatus],
        *,
        epoch: int | None = None,
        reason: str = "",
        restart_clock: bool = False,
        grace_seconds: float | None = None,
    ) -> RunStatus: ...


class Batch(NamedTuple):
    """Tasks of one run that travel in one job, in dependency order."""

    id: str
    queue: str
    tasks: tuple[Task, ...]
    run_id: str
    #: Of the coordinator that sends it.
    epoch: int
    #: Its tasks are unknown: their verify hooks are asked.
    verify: bool = False
    #: Run times in ms of the functions that were measured.
    expected: Mapping[str, float] = MappingProxyType({})
    #: Of the run: a worker that does not read it refuses the batch.
    version: int = 1
    #: How many entries of its queue name it: one worker begins it, the others leave it to that one.
    copies: int = 1


class ServerInfo(NamedTuple):
    """Where the store's clock stands, in Unix seconds, and which process of the server answers:
    another id is a server that restarted, perhaps with older data. Empty where it does not tell.
    """

    now: float
    server_id: str


class Troubles(NamedTuple):
    """Tasks of a run that failed or are unknown, by name: some of each kind.

    ``tolerated`` failed with ``continue_on_error``, and ``tolerated_count`` is how many did;
    ``hooked`` are those of ``unknown`` that have a verify hook.
    """

    failed: list[str]
    tolerated: list[str]
    tolerated_count: int
    unknown: list[str]
    hooked: list[str]


class RunHead(NamedTuple):
    """What whoever leads a run reads of it first: in short, the first tasks of its graph, how many
    tasks have progress, and the server that answers, if that was asked.
    """

    info: RunInfo
    tasks: list[Task]
    progress: int
    server: ServerInfo | None

    @property
    def is_fresh(self) -> bool:
        """Whether nothing can have happened to any task yet: nobody led the run before, and it
        brought nothing along.
        """
        return self.info.is_first_led and not self.progress and not any(self.info.counts.values())


class KnownGraph(NamedTuple):
    """The graph of a run that this process has written, and its origin: no other run has that."""

    origin: str
    graph: Graph

    def is_of(self, head: RunHead) -> bool:
        """Whether it is that of a run: one of the same id may have taken its place."""
        info = head.info
        return head.is_fresh and info.origin == self.origin and info.total == len(self.graph)


class Standing(NamedTuple):
    """Where a run and tasks of it stand; ``last_event`` is the id of the newest event before any of
    that was read, and ``statuses`` are those of the tasks that were asked for.
    """

    last_event: str
    info: RunInfo
    statuses: list[TaskStatus | None]
    claims: dict[str, Claim]
    progress: dict[str, Progress]


class Renewal(NamedTuple):
    """A lease to be kept, and what is published with it: tasks that are queued and waiting."""

    run_id: str
    owner: str
    epoch: int
    ttl_seconds: float
    queued: int
    waiting: int


class UnledRun(NamedTuple):
    """A run that nobody leads now.

    ``age_seconds`` is the time since its creation; ``detached`` says that it was left to a
    coordinator from the start, and ``led_before`` that it had one.
    """

    status: RunStatus
    age_seconds: float
    detached: bool
    led_before: bool


class ServicePort(Protocol):
    """What one coordinator of many runs asks of the Redis that holds them."""

    def announce(self, owner: str, ttl_seconds: float) -> None: ...
    def withdraw_announcement(self, owner: str) -> None: ...
    def list_active(self) -> set[str]: ...
    def find_unled(self, run_ids: Sequence[str]) -> dict[str, UnledRun]: ...
    def shorten_leases(self, run_ids: Sequence[str]) -> None: ...
    def renew_leases(self, renewals: Sequence[Renewal]) -> list[DistflowError | None]: ...
    def release_leases(self, owner: str, epochs: Mapping[str, int]) -> None: ...
    def read_events(
        self, after: Mapping[str, str], *, block_ms: int | None = None
    ) -> dict[str, list[Event]]: ...


class WorkerProbe(NamedTuple):
    """What the dispatcher's transport says of a worker now.

    ``connected`` is whether a process of it listens for commands; ``jobs`` are the ids of the jobs
    that it says it works on; ``heard_at`` is the Unix time of its own
    last heartbeat, 0 where it is unknown; ``overdue`` is the seconds since the next one was due,
    by the transport's own account and clock: below 0 it is due yet, None where it is not told.
    ``drop_seconds`` is how long the transport takes to drop a connection whose host is gone: one
    that it has for longer than that belongs to a host that lives. None where it is not known.
    """

    connected: bool
    jobs: Collection[str]
    heard_at: float
    overdue: float | None = None
    drop_seconds: float | None = None


class JobFailure(NamedTuple):
    """A batch that a worker could not begin: its last words, with its name, and which it was."""

    words: str
    by: WorkerFacts = NAMELESS


class Dispatcher(Protocol):
    """How batches reach workers. A job's own status decides nothing: see the store."""

    def dispatch(self, batches: Sequence[Batch]) -> None:
        """Send batches of any runs, in order; a batch that is sent twice is harmless.

        Raises:
            RedisFull: the transport has no room for them now.
        """

    def count_workers(self, queues: Collection[str]) -> Mapping[str, int]:
        """How many workers say that they listen to each queue."""

    def list_workers(self, queues: Collection[str]) -> Mapping[str, set[Registration]]:
        """Those of each queue that are connected now, by name and birth."""

    def find_queued(self, run_id: str, queues: Collection[str]) -> set[str]:
        """The ids of the run's batches that still wait in the queues."""

    def withdraw(self, run_id: str, queues: Collection[str]) -> int:
        """Take the run's waiting jobs off the queues; returns how many."""

    def probe_workers(self, workers: Collection[str]) -> Mapping[str, WorkerProbe]:
        """What is known of workers, by name."""

    def read_failures(self, batches: Collection[str]) -> Mapping[str, JobFailure]:
        """Of batches that the transport gave up, why."""

    def stop_job(self, job: str, worker: str) -> None:
        """Kill the process group that works on a job."""
