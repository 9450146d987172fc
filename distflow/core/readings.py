"""What a store or a dispatcher answers when it is asked how things stand."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from distflow.core.claim import (
    NAMELESS,
    Progress,
    WorkerFacts,
)
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.run import (
    Claim,
    RunInfo,
)
from distflow.core.status import RunStatus, TaskStatus


class ServerInfo(NamedTuple):
    """Where the store's clock stands, in Unix seconds, and which process of the server answers:
    another id is a server that restarted, perhaps with older data. Empty where it does not tell.
    """

    now: float
    server_id: str


class Problems(NamedTuple):
    """Tasks of a run that failed or are unknown, by name: some of each kind.

    ``tolerated`` failed with ``continue_on_error``, and ``tolerated_count`` is how many did;
    ``hooked`` are those of ``unknown`` that have a verify hook.
    """

    failed: list[str]
    tolerated: list[str]
    tolerated_count: int
    unknown: list[str]
    hooked: list[str]


class Creation(NamedTuple):
    """A run that is being created: under which operation, and how much of it is written so far:
    chunks of its graph, outcomes, progress and notes. Where that does not grow any more, whoever
    wrote it has died, or is cut off.
    """

    operation: str
    written: tuple[int, int, int, int]


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


class RunReading(NamedTuple):
    """Where a run and tasks of it stand; ``last_event`` is the id of the newest event before any of
    that was read, and ``statuses`` are those of the tasks that were asked for.
    """

    last_event: str
    info: RunInfo
    statuses: list[TaskStatus | None]
    claims: dict[str, Claim]
    progress: dict[str, Progress]


class UnledRun(NamedTuple):
    """A run that nobody leads now.

    ``age_seconds`` is the time since its creation; ``detached`` says that it was left to a
    coordinator from the start, and ``led_before`` that it had one.
    """

    status: RunStatus
    age_seconds: float
    detached: bool
    led_before: bool


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


class WorkerInfo(NamedTuple):
    """A registered worker.

    ``state`` is RQ's (``idle``, ``busy``, ``suspended``, ``started``), or ``gone`` where no process
    of it is connected any more. Times are Unix seconds, 0 where they are not known; ``job`` is
    empty between two jobs. RQ knows neither ``directory`` nor ``distflow`` nor ``code``
    (``DISTFLOW_CODE``): they are empty before the worker's first batch, and a day after its last.
    ``refusal`` is what the worker lacked for a task of its last batch, empty where it had all.
    """

    name: str
    state: str
    queues: tuple[str, ...]
    job: str
    host: str
    pid: int
    started_at: float
    heard_at: float
    rq: str
    python: str
    directory: str = ""
    distflow: str = ""
    code: str = ""
    refusal: str = ""


class Apart(NamedTuple):
    """A queue whose workers cannot see the batches of a run.

    ``prefix`` is the RQ_KEY_PREFIX of its coordinator; ``workers`` are other prefixes, each with
    the number of workers that listen to a queue of this name.
    """

    queue: str
    prefix: str
    workers: dict[str, int]
