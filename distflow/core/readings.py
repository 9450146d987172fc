"""Readings: what stores and dispatchers return about the state of runs, workers and servers."""

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
    """The store's time in Unix seconds, and the id of the server process that answers. A different
    id is a server that restarted, perhaps with older data; empty if it has none.
    """

    now: float
    server_id: str


class Problems(NamedTuple):
    """Tasks of a run that failed or are unknown, by name: a few of each kind.

    ``tolerated`` failed with ``continue_on_error``, and ``tolerated_count`` is how many did;
    ``hooked`` are those of ``unknown`` that have a verify hook.
    """

    failed: list[str]
    tolerated: list[str]
    tolerated_count: int
    unknown: list[str]
    hooked: list[str]


class Creation(NamedTuple):
    """A run that is being created: by which operation, and how much of it is written so far: chunks
    of its graph, outcomes, progress and notes. If that stops growing, the writer has died or is cut
    off.
    """

    operation: str
    written: tuple[int, int, int, int]


class RunHead(NamedTuple):
    """What a coordinator reads of a run first: its info, the first tasks of its graph, how many
    tasks have progress, and the server that answers, if that was asked for.
    """

    info: RunInfo
    tasks: list[Task]
    progress: int
    server: ServerInfo | None

    @property
    def is_fresh(self) -> bool:
        """Whether nothing can have happened to any task yet: nobody led the run before, and it was
        created without outcomes.
        """
        return self.info.is_first_led and not self.progress and not any(self.info.counts.values())


class KnownGraph(NamedTuple):
    """The graph of a run that this process has written, and its origin, which no other run has."""

    origin: str
    graph: Graph

    def is_of(self, head: RunHead) -> bool:
        """Whether it belongs to this run: another one with the same id may have taken its place."""
        info = head.info
        return head.is_fresh and info.origin == self.origin and info.total == len(self.graph)


class RunReading(NamedTuple):
    """The state of a run and of some tasks. ``last_event`` is the id of the newest event from
    before anything else was read; ``statuses`` are those of the tasks that were asked for.
    """

    last_event: str
    info: RunInfo
    statuses: list[TaskStatus | None]
    claims: dict[str, Claim]
    progress: dict[str, Progress]


class UnledRun(NamedTuple):
    """A run that nobody leads now.

    ``age_seconds`` is the time since its creation; ``detached`` says that it was left to a service
    from the start, and ``led_before`` that it had a coordinator before.
    """

    status: RunStatus
    age_seconds: float
    detached: bool
    led_before: bool


class WorkerProbe(NamedTuple):
    """What the dispatcher's transport knows about a worker now.

    ``connected`` says whether one of its processes listens for commands; ``jobs`` are the ids of
    the jobs that it reports to work on. ``heard_at`` is the Unix time of its last heartbeat, 0 if
    unknown. ``overdue`` is the seconds since the next heartbeat was due, by the transport's clock:
    negative before that, None if unknown. ``drop_seconds`` is how long the transport takes to drop
    a connection whose host is gone: an older connection belongs to a host that lives. None if
    unknown.
    """

    connected: bool
    jobs: Collection[str]
    heard_at: float
    overdue: float | None = None
    drop_seconds: float | None = None


class JobFailure(NamedTuple):
    """The failure of a worker to begin a batch: the error, and which worker it was."""

    words: str
    by: WorkerFacts = NAMELESS


class WorkerInfo(NamedTuple):
    """A registered worker.

    ``state`` is RQ's (``idle``, ``busy``, ``suspended``, ``started``), or ``gone`` if none of its
    processes is connected any more. Times are Unix seconds, 0 if unknown; ``job`` is empty between
    two jobs. RQ does not know ``directory``, ``distflow`` and ``code`` (``DISTFLOW_CODE``): they
    are empty before the worker's first batch, and again a day after its last. ``refusal`` is what
    the worker lacked for a task of its last batch; empty if it lacked nothing.
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

    ``prefix`` is the coordinator's RQ_KEY_PREFIX; ``workers`` maps other prefixes to the number of
    workers that listen to a queue with this name.
    """

    queue: str
    prefix: str
    workers: dict[str, int]
