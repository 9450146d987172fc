"""One run in memory, and the code that transitions share, as the scripts share their prelude."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Condition
from typing import NamedTuple, TypeVar

from distflow.core.claim import (
    HISTORY_BYTES,
    HISTORY_LIMIT,
    REFUSED_TASKS,
    Finish,
    Progress,
    Refused,
    WorkerFacts,
)
from distflow.core.model import Task
from distflow.core.run import (
    Beat,
    Claim,
    Event,
    HeldTask,
    HistoryEntry,
    Refusal,
    RefusalKey,
    RunSpec,
)
from distflow.core.status import RESTING_RUNS, UNBLOCKED, RunStatus, TaskStatus
from distflow.core.stopping import stop_moment
from distflow.errors import RedisRefuses, RunGone, RunNotFound, StaleEpoch
from distflow.store.memory.expansions import MemoryExpansions
from distflow.store.memory.troubles import MemoryTroubles
from distflow.wire.codec import status_of

_T = TypeVar("_T")


class Lease(NamedTuple):
    """The holder of a run's lease, and when it lapses, in Unix milliseconds."""

    owner: str
    epoch: int
    expires: int
    #: The length that was asked for.
    ttl_ms: int


@dataclass(slots=True)
class MemoryRun:
    """What Redis would hold of one run, in plain types. Times are Unix milliseconds."""

    spec: RunSpec
    operation: str
    #: The encoded parameters, as workers get them.
    params: bytes
    created_at: int
    #: The lock for everything here; events wake its waiters.
    changed: Condition
    #: The server's clock.
    now_ms: Callable[[], int]
    status: RunStatus = RunStatus.CREATING
    total: int = 0
    epoch: int = 0
    generation: int = 1
    reopen_operation: str = ""
    reason: str | None = None
    started_at: int | None = None
    ended_at: int | None = None
    clock_at: int | None = None
    #: Since when the run is at rest, and how many ms it was at rest before.
    rest_at: int | None = None
    rested: int = 0
    stop_at: int | None = None
    #: ``stop_at`` with the grace period in ms that it was computed from.
    grace: tuple[int, int] | None = None
    queued: int = 0
    waiting: int = 0
    lease: Lease | None = None
    graph: dict[int, list[Task]] = field(default_factory=dict)
    expansions: MemoryExpansions = field(init=False)
    troubles: MemoryTroubles = field(default_factory=MemoryTroubles)
    results: dict[str, bytes] = field(default_factory=dict)
    #: Task -> the operation that last decided it.
    resolved: dict[str, str] = field(default_factory=dict)
    #: Task -> what it has saved, encoded.
    notes: dict[str, bytes] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    beats: dict[str, Beat] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    #: Time and number of the newest event ever.
    last_event: tuple[int, int] = (0, 0)
    #: Kind of repair -> how often it was made; and the operation of the last one.
    repairs: Counter[str] = field(default_factory=Counter)
    repair_operation: str = ""
    held: tuple[HeldTask, ...] = ()
    refusals: dict[RefusalKey, Refusal] = field(default_factory=dict)
    #: Each entry, and whether it is kept for ever.
    history: list[tuple[HistoryEntry, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = self.spec.options
        self.expansions = MemoryExpansions(options.max_tasks, options.max_graph_bytes)

    def holder(self, now: int) -> Lease | None:
        """The lease, unless it has lapsed."""
        return self.lease if self.lease and self.lease.expires > now else None

    def shorten_lease(self, now: int) -> None:
        """The clock may have been set back: no lease is held for longer than was asked for."""
        lease = self.lease
        if lease and lease.expires - now > lease.ttl_ms:
            self.lease = lease._replace(expires=now + lease.ttl_ms)

    def stop_in(self, now: int, ms: int) -> None:
        """Running tasks are killed this many ms from now."""
        self.stop_at = now + ms
        self.grace = self.stop_at, ms

    def grace_left(self, now: int) -> int | None:
        """In how many ms running tasks are killed; None if they are not."""
        if self.stop_at is None:
            return None
        asked = self.grace[1] if self.grace and self.grace[0] == self.stop_at else None
        return stop_moment(self.stop_at, asked, now) - now

    def outcome(self, task: str) -> TaskStatus | None:
        """The status of a task that has an outcome."""
        packed = self.results.get(task)
        return None if packed is None else status_of(packed)

    def take_outcome(self, task: str) -> bytes:
        """Take an outcome away, and what was judged of it."""
        self.troubles.judged.discard(task)
        return self.results.pop(task)

    def count(self) -> Mapping[TaskStatus, int]:
        """How many tasks have each outcome: the counters on Redis must always agree."""
        return Counter(map(status_of, self.results.values()))

    def last_try(self, task: str) -> Progress:
        """The progress of a task; if there is none, that of a task never tried."""
        return self.progress.get(task, Progress())

    def append_event(self, event: Event) -> None:
        """Append an event under the next id, and wake all that wait for one."""
        # As in Redis: the times of ids never go back.
        at = max(self.now_ms(), self.last_event[0])
        self.last_event = at, self.last_event[1] + 1 if at == self.last_event[0] else 0
        self.events.append(event._replace(id="{}-{}".format(*self.last_event)))
        self.changed.notify_all()

    def remember(self, entry: HistoryEntry, *, keep: bool = False) -> None:
        """Append to the history; beyond its limit, drop the oldest entry that may be dropped."""
        packed = entry.packed
        if packed and len(packed) > HISTORY_BYTES:
            digest = hashlib.sha1(packed, usedforsecurity=False).hexdigest()
            note = entry.note or f"{len(packed)} bytes, SHA-1 {digest}"
            entry = replace(entry, note=note, packed=None)
        self.history.append((entry, keep))
        if len(self.history) > HISTORY_LIMIT:
            loose = [index for index, (_entry, kept) in enumerate(self.history) if not kept]
            if len(loose) > HISTORY_LIMIT:
                del self.history[loose[0]]

    def remember_finish(self, kind: str, finish: Finish, now: int) -> None:
        """Write an attempt's outcome to the history."""
        entry = HistoryEntry(
            at=now / 1000,
            kind=kind,
            task=finish.task,
            status=finish.status,
            attempt=finish.attempt,
            by=finish.worker,
            packed=finish.packed,
        )
        self.remember(entry, keep=finish.keep)

    def settle_final(self, finish: Finish) -> None:
        """Make an outcome final. The token of an unknown one is kept: see ``advance``."""
        self.troubles.note(finish)
        self.results[finish.task] = finish.packed
        if finish.status == TaskStatus.UNKNOWN:
            kept = finish.progress._replace(token=finish.token, started=True)
            self.progress[finish.task] = kept
        else:
            self.progress.pop(finish.task, None)
        self.append_event(
            Event(
                "",
                "finished",
                task=finish.task,
                status=finish.status,
                attempt=finish.attempt,
                worker=finish.worker,
                duration=finish.duration,
            )
        )

    def settle_waiting(self, finish: Finish, kind: str, token: str, now: int) -> None:
        """Let a task run again later; the attempt's outcome goes to the history."""
        due = now + finish.delay_ms
        self.progress[finish.task] = finish.progress._replace(not_before=due, token=token)
        self.remember_finish(kind, finish, now)
        self.append_event(
            Event(
                "",
                "waiting",
                task=finish.task,
                status=finish.status,
                attempt=finish.attempt,
                worker=finish.worker,
                not_before=due,
                duration=finish.duration,
                note=finish.note,
            )
        )

    def count_rest(self, now: int) -> None:
        """The run has moved to its status: time at rest is not run time."""
        if self.status in RESTING_RUNS:
            self.rest_at = now if self.rest_at is None else self.rest_at
        elif self.rest_at is not None:
            self.rested += max(0, now - self.rest_at)
            self.rest_at = None

    def keep_refusal(self, refused: Refused, by: WorkerFacts) -> None:
        """Record that a worker cannot run something."""
        key = RefusalKey(refused.scope, by.name, by.born)
        known = self.refusals.get(key)
        since = known.since if known else self.now_ms() / 1000
        tasks = known.tasks if known else ()
        if refused.task and refused.task not in tasks and len(tasks) < REFUSED_TASKS:
            tasks = (*tasks, refused.task)
            at = self.now_ms() / 1000
            self.remember(HistoryEntry(at, "misfit", refused.task, by=by.name, note=refused.words))
        said = refused.what, refused.words, refused.trace
        self.refusals[key] = Refusal(*key, *said, by.host, by.pid, by.directory, tasks, since)

    def unblock(self) -> None:
        """Let a run that was blocked for a decision go on as soon as somebody leads it."""
        if self.status == RunStatus.BLOCKED:
            self.status = UNBLOCKED[bool(self.reason)]
            self.ended_at = None
            self.count_rest(self.now_ms())


class MemoryServer:
    """Runs by their ids: the server of memory stores, as Redis is that of the others.

    Args:
        clock: the Unix time in seconds.
        sleep: lets this many seconds pass on that clock, if it does not run by itself.
        meanwhile: called while somebody waits: does a piece of others' work, and returns whether
            there was any. So a single thread can lead runs and work on them.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] | None = None,
        meanwhile: Callable[[], bool] = lambda: False,
    ) -> None:
        self.clock = clock
        self._sleep = sleep
        self._meanwhile = meanwhile
        #: One lock for all runs: every transition is atomic, as a script is.
        self.changed = Condition()
        self.runs: dict[str, MemoryRun] = {}
        #: Every run id, oldest first.
        self.index: list[str] = []
        self.active: set[str] = set()
        #: Coordinators that take runs that nobody leads -> until when, in Unix milliseconds.
        self.coordinators: dict[str, int] = {}
        #: Whether it has reached its ``maxmemory``: then it refuses writes that add data.
        self.full = False

    def now_ms(self) -> int:
        """The Unix time in milliseconds."""
        return int(self.clock() * 1000)

    def wait_for(self, find: Callable[[], _T], block_ms: int | None) -> _T:
        """The result of ``find``, waiting up to ``block_ms`` while it is empty: 0 waits for ever,
        as in Redis, and None does not wait.
        """
        seconds = {None: 0.0, 0: math.inf}.get(block_ms, (block_ms or 0) / 1000)
        until = self.clock() + seconds
        while True:
            with self.changed:
                found = find()
            if found or self.clock() >= until:
                return found
            if self._meanwhile():
                continue
            with self.changed:
                # Changes from before the lock was held wake nobody.
                if not find():
                    self._pass_time(until - self.clock())

    def _pass_time(self, seconds: float) -> None:
        """Wait until something changes, for this many seconds at most."""
        if self._sleep is not None:
            # From here on, nothing happens until the clock is moved.
            self._sleep(seconds)
        else:
            self.changed.wait(None if math.isinf(seconds) else seconds)

    def list_runs(self) -> list[str]:
        """Every run id, oldest first."""
        with self.changed:
            return list(self.index)


class MemoryBase:
    """One run on a memory server.

    Args:
        run_id: the run.
        clock: the Unix time in seconds, for a store with a server of its own.
        server: holds the run; several stores of one run share it.
    """

    def __init__(
        self,
        run_id: str,
        *,
        clock: Callable[[], float] = time.time,
        server: MemoryServer | None = None,
    ) -> None:
        self.run_id = run_id
        self.server = server or MemoryServer(clock=clock)

    def _find(self) -> MemoryRun | None:
        return self.server.runs.get(self.run_id)

    def _need_room(self) -> None:
        """Called before anything that a full Redis refuses: then none of it may be done."""
        if self.server.full:
            raise RedisRefuses("Redis refuses with OOM: it has reached its maxmemory")

    def _existing(self) -> MemoryRun:
        run = self._find()
        if run is None:
            raise self.explain_gone()
        return run

    def _led(self, epoch: int) -> MemoryRun:
        run = self._existing()
        # A coordinator that slept must not overwrite what its successor did.
        if run.epoch != epoch:
            raise StaleEpoch(f"run {self.run_id}: another coordinator has taken it over")
        return run

    def explain_gone(self) -> RunGone:
        # This server forgets nothing.
        return RunGone(f"run {self.run_id} was deleted")

    def _missing(self) -> RunNotFound:
        return RunNotFound(f"there is no run {self.run_id!r}: `distflow runs` lists all runs")
