"""Stores under test, with what a test may do behind their backs; and what workers send to them."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis

from distflow.core.claim import ClaimReply, ClaimRequest, Code, Finish, Progress
from distflow.core.expansion import Expansion
from distflow.core.model import Task, TaskResult
from distflow.core.readings import Problems
from distflow.core.resolution import Answer, Resolution, retry_progress
from distflow.core.run import (
    Beat,
    Claim,
    Event,
    HistoryEntry,
    Refusal,
    RunSpec,
    ServerFacts,
)
from distflow.core.run_options import RunOptions
from distflow.core.status import OUTCOMES, TaskStatus
from distflow.ports.run_store import RunStore
from distflow.ports.service import ServicePort
from distflow.store.memory.service import MemoryServiceStore
from distflow.store.memory.store import MemoryRunStore, MemoryServer
from distflow.store.redis.keys import DEFAULT_PREFIX, RunKeys, active_keys, coordinators_key
from distflow.store.redis.listing import list_runs
from distflow.store.redis.service import RedisServiceStore
from distflow.store.redis.store import RedisRunStore
from distflow.wire.codec import encode_result, status_of
from tests.support.full import fill, make_room
from tests.support.redis_server import RedisServer

_prefixes = itertools.count(1)


def list_active_runs(client: Any, prefix: str = DEFAULT_PREFIX) -> list[str]:
    """The ids of the runs on a Redis that somebody should lead."""
    lists = [client.smembers(key) for key in active_keys(prefix)]
    return sorted({run_id.decode() for found in lists for run_id in found})


class Subject(ABC):
    """A server with runs; ``store`` is the run ``run-1`` on it, ``service`` all of them."""

    def __init__(self, service: ServicePort) -> None:
        self.store = self.connect("run-1")
        self.service = service

    @abstractmethod
    def connect(self, run_id: str) -> RunStore:
        """A store of its own: another process's view of a run."""

    def connect_impatient(self) -> RunStore:
        """A store of the run that calls once, whatever the server says."""
        store = self.connect(self.store.run_id)
        if isinstance(store, RedisRunStore):
            store.patience_seconds = 0.0
        return store

    @abstractmethod
    def list_runs(self) -> list[str]:
        """Every run id."""

    @abstractmethod
    def list_active_runs(self) -> list[str]:
        """The ids of the runs that somebody should lead."""

    @abstractmethod
    def set_clock(self, offset_ms: int) -> None:
        """Let the clock of the run differ from the true time."""

    @abstractmethod
    def stretch_lease(self, ms: int) -> None:
        """Let the lease run out later, as it does where the server's clock is set back."""

    @abstractmethod
    def lapse_lease(self) -> None:
        """Let the lease run out now."""

    @abstractmethod
    def move_announcement(self, owner: str, ms: int) -> None:
        """Let an announcement end later, as it does where the server's clock is set back."""

    @abstractmethod
    def fill(self) -> None:
        """Let the server have no room for more."""

    @abstractmethod
    def make_room(self) -> None:
        """Let it have as much as there is."""

    @abstractmethod
    def raw_results(self) -> dict[str, bytes]:
        """The results as they are stored."""

    @abstractmethod
    def dump(self) -> dict[str, Any]:
        """All that is stored, to be compared: whatever the run is, and whoever can read it."""

    @abstractmethod
    def tokens_in_graph(self) -> set[str]:
        """The tokens under which chunks of the graph are stored, recorded or not."""


class MemorySubject(Subject):
    def __init__(self) -> None:
        self._offset_ms = 0
        self.server = MemoryServer(clock=lambda: time.time() + self._offset_ms / 1000)
        super().__init__(MemoryServiceStore(self.server))

    def connect(self, run_id: str) -> RunStore:
        return MemoryRunStore(run_id, server=self.server)

    def list_runs(self) -> list[str]:
        return self.server.list_runs()

    def list_active_runs(self) -> list[str]:
        return sorted(self.server.active)

    def set_clock(self, offset_ms: int) -> None:
        run = self.server.runs["run-1"]
        # A lease on Redis runs by Redis's own clock, which the offset does not move.
        if run.lease:
            moved = offset_ms - self._offset_ms
            run.lease = run.lease._replace(expires=run.lease.expires + moved)
        self._offset_ms = offset_ms

    def stretch_lease(self, ms: int) -> None:
        run = self.server.runs["run-1"]
        assert run.lease is not None
        run.lease = run.lease._replace(expires=run.lease.expires + ms)

    def lapse_lease(self) -> None:
        self.server.runs["run-1"].lease = None

    def move_announcement(self, owner: str, ms: int) -> None:
        self.server.coordinators[owner] += ms

    def fill(self) -> None:
        self.server.full = True

    def make_room(self) -> None:
        self.server.full = False

    def raw_results(self) -> dict[str, bytes]:
        return dict(self.server.runs["run-1"].results)

    def dump(self) -> dict[str, Any]:
        run, server = self.server.runs["run-1"], self.server
        stored = {
            field.name: repr(getattr(run, field.name))
            for field in fields(run)
            if field.name != "changed"
        }
        return {**stored, "index": repr(server.index), "active": repr(sorted(server.active))}

    def tokens_in_graph(self) -> set[str]:
        return set(self.server.runs["run-1"].expansions.chunks)


class RedisSubject(Subject):
    def __init__(self, client: Redis) -> None:
        self.client: Any = client
        self.prefix = f"test{next(_prefixes)}"
        super().__init__(RedisServiceStore(client, self.prefix, patience_seconds=5))
        self.keys = RunKeys(self.prefix, "run-1")

    def connect(self, run_id: str) -> RedisRunStore:
        return RedisRunStore(self.client, run_id, prefix=self.prefix, patience_seconds=5)

    def list_runs(self) -> list[str]:
        return list_runs(self.client, self.prefix)

    def list_active_runs(self) -> list[str]:
        return list_active_runs(self.client, self.prefix)

    def set_clock(self, offset_ms: int) -> None:
        self.client.hset(self.keys.meta, "clock_offset_ms", offset_ms)

    def stretch_lease(self, ms: int) -> None:
        self.client.pexpire(self.keys.lease, self.client.pttl(self.keys.lease) + ms)

    def lapse_lease(self) -> None:
        self.client.delete(self.keys.lease)

    def move_announcement(self, owner: str, ms: int) -> None:
        self.client.zincrby(coordinators_key(self.prefix), ms / 1000, owner)

    def fill(self) -> None:
        fill(self.client)

    def make_room(self) -> None:
        make_room(self.client)

    def raw_results(self) -> dict[str, bytes]:
        found = self.client.hgetall(self.keys.results)
        return {task.decode(): packed for task, packed in found.items()}

    def dump(self) -> dict[str, Any]:
        keys = self.client.keys(f"{self.prefix}:*")
        dumped = {key: self.client.dump(key) for key in keys}
        # A field that is written again may change its place.
        graph = self.client.hgetall(self.keys.graph)
        return {**dumped, self.keys.graph.encode(): graph}

    def tokens_in_graph(self) -> set[str]:
        fields = {field.decode() for field in self.client.hkeys(self.keys.graph)}
        return {field.partition(":")[0] for field in fields if not field.isdigit()}


class SubjectMaker:
    """Makes subjects, on one server per binary that keeps nothing on disk."""

    def __init__(self) -> None:
        self._servers: dict[Path, tuple[RedisServer, Redis]] = {}

    def make(self, binary: Path | None) -> Subject:
        """A subject on a server of this binary; None is memory."""
        if binary is None:
            return MemorySubject()
        return RedisSubject(self.client(binary))

    def client(self, binary: Path) -> Redis:
        """Of the server of a binary."""
        if binary not in self._servers:
            server = RedisServer(binary)
            client = server.client()
            client.config_set("appendonly", "no")
            self._servers[binary] = server, client
        return self._servers[binary][1]

    def close(self) -> None:
        """Stop the servers."""
        for server, client in self._servers.values():
            client.close()
            server.close()


class Picture(NamedTuple):
    """Everything that a store tells of a run, times of reading and of beats left out."""

    results: dict[str, bytes]
    claims: dict[str, Claim]
    progress: dict[str, Progress]
    notes: dict[str, bytes]
    beats: dict[str, Beat]
    history: list[HistoryEntry]
    events: list[Event]
    info: dict[str, Any]
    troubles: Problems
    refusals: list[Refusal]
    expansions: dict[str, Expansion]
    #: By token: the names of the tasks that were added.
    added: dict[str, list[str]]
    #: Tokens under which chunks are stored, recorded or not.
    tokens: set[str]


def picture(subject: Subject) -> Picture:
    """Take a picture, to be compared with another of the same run."""
    store = subject.store
    info = store.read_info()
    results = subject.raw_results()
    recount = Counter(status_of(packed) for packed in results.values())
    for status in OUTCOMES:
        assert info.counts[status] == recount[status], f"the counter of {status} has drifted"
    names = [task.name for tasks in store.iter_tasks() for task in tasks]
    expansions = store.read_expansions()
    added = {record.token: _read_names(store, record) for record in expansions.values()}
    names += [name for some in added.values() for name in some]
    notes = {name: note for name in names if (note := store.fetch_note(name)) is not None}
    fixed = {name: getattr(info, name) for name in info.__dataclass_fields__ if name != "as_of"}
    beats = {batch: beat._replace(at=0) for batch, beat in store.read_beats().items()}
    return Picture(
        results,
        store.read_claims(),
        store.read_progress(),
        notes,
        beats,
        store.read_history(),
        store.read_events("0-0"),
        fixed,
        store.read_troubles(100),
        # When they came differs between two servers by a little.
        sorted(refusal._replace(since=0.0) for refusal in store.read_refusals()),
        expansions,
        added,
        subject.tokens_in_graph(),
    )


def _read_names(store: RunStore, record: Expansion) -> list[str]:
    chunks = [store.read_chunk(record.token, number) for number in range(record.chunks)]
    names = [task.name for tasks in chunks for task in tasks]
    assert len(names) == record.children, "an expansion is whole"
    assert store.read_stand_in(record.token) is not None
    return names


def make_spec(run_id: str = "run-1", concurrency: int | None = None) -> RunSpec:
    """What a run is created from."""
    options = RunOptions(concurrency=concurrency, timeout=60.0, context="pkg.module:factory")
    server = ServerFacts("aof-always", "redis 7.0.15", "noeviction")
    return RunSpec(run_id, "pkg.flows:etl", {"day": "2026-01-01"}, "0123abcd", options, server)


Imported = tuple[str, bytes | None, Progress | None]


def open_run(
    store: RunStore,
    *names: str,
    concurrency: int | None = None,
    imported: Sequence[Imported] = (),
) -> int:
    """Create a run of tasks without dependencies, and lead it as ``anna``; returns the epoch."""
    tasks = [Task(name, "pkg.tasks:work") for name in names or ("a", "b")]
    store.create_run(make_spec(store.run_id, concurrency), "creation")
    store.append_tasks("creation", 0, tasks)
    store.hydrate("creation", imported)
    store.seal_run("creation", len(tasks))
    return store.acquire_lease("anna", 60.0)


def outcome(status: str, **fields: Any) -> bytes:
    """An encoded TaskResult."""
    return encode_result(TaskResult(TaskStatus(status), **fields))


def claim(
    store: RunStore,
    epoch: int,
    task: str,
    token: str,
    *,
    batch: str = "b1",
    start: bool = True,
    needs: tuple[tuple[str, bool], ...] = (),
    begin: bool = True,
) -> ClaimReply:
    """Claim one task; unless ``begin`` is off, for a batch that says first that it has begun."""
    if begin:
        store.begin_batch(epoch, batch, "w1", "job")
    wanted = ClaimRequest(task, token, start, needs)
    return store.advance(epoch, batch, claims=[wanted]).claims[0]


def finish(store: RunStore, epoch: int, done: Finish, *, batch: str = "b1") -> Code:
    """Record one outcome."""
    return store.advance(epoch, batch, finishes=[done]).finishes[0]


def on_unknown(
    store: RunStore,
    operation: str,
    task: str,
    decision: Answer,
    packed: bytes = b"",
    *,
    asked: bytes | None = None,
) -> Resolution:
    """A decision on a task that is unknown now: a person's, or that of a hook that was ``asked``
    about an outcome.
    """
    known = store.fetch_unknown(task)
    seen = asked or (known.packed if known else b"")
    last, by_hook = known.last if known else Progress(), asked is not None
    retry = retry_progress(last, operation, by_hook=by_hook) if decision == "retry" else None
    return Resolution(task, packed if decision in ("done", "fail") else b"", seen, retry)


def resolve(  # noqa: PLR0917 - as a test says it in one line
    store: RunStore,
    operation: str,
    task: str,
    decision: Answer,
    packed: bytes,
    who: str,
    note: str,
    *,
    asked: bytes | None = None,
) -> TaskStatus:
    """Decide an unknown task, as :func:`on_unknown` says."""
    resolution = on_unknown(store, operation, task, decision, packed, asked=asked)
    return store.resolve_task(operation, decision, resolution, who, note)


def final(task: str, token: str, status: str = "success", **fields: Any) -> Finish:
    """An outcome that stands; ``fields`` of the TaskResult, ``keep`` and ``attempt`` of both."""
    keep = fields.pop("keep", False)
    attempt = fields.setdefault("attempt", 1)
    return Finish(
        task,
        token,
        attempt,
        "final",
        status,
        outcome(status, **fields),
        worker="w1",
        duration=0.25,
        progress=Progress(attempt + 1),
        keep=keep,
    )


def again(task: str, token: str, *, attempt: int = 1, delay_ms: int = 0, **lost: Any) -> Finish:
    """A failure that is tried again after a while."""
    return Finish(
        task,
        token,
        attempt,
        "wait",
        "failure",
        outcome("failure", error="OSError: no", attempt=attempt),
        worker="w1",
        delay_ms=delay_ms,
        progress=Progress(attempt + 1, **lost),
    )
