"""A coordinator of many runs without processes or waiting: runs in memory, a clock that the test
moves, and workers that the test plays.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from distflow.coordinator.service import CoordinatorService
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.claim import Code
from distflow.core.model import Task
from distflow.core.run import Event, RunInfo, RunSpec
from distflow.core.run_options import RunOptions
from distflow.errors import DistflowError
from distflow.events.notice import Notice
from distflow.store.memory.service import MemoryServiceStore
from distflow.store.memory.store import MemoryRunStore, MemoryServer
from tests.support.clock import Chance, Clock
from tests.support.leading import PlayedWorker, Transport


class _Service(MemoryServiceStore):
    """Where it has to wait for events, the test's time passes."""

    def __init__(self, server: MemoryServer, clock: Clock) -> None:
        super().__init__(server)
        self._clock = clock
        #: Raised at the next read, once each.
        self.errors: list[Exception] = []
        #: The runs whose events were asked for, at each read.
        self.asked: list[set[str]] = []

    def read_events(
        self, after: Mapping[str, str], *, block_ms: int | None = None
    ) -> dict[str, list[Event]]:
        if self.errors:
            raise self.errors.pop()
        self.asked.append(set(after))
        found = super().read_events(after)
        if not found:
            self._clock.sleep((block_ms or 0) / 1000)
        return found


class _Away(MemoryServiceStore):
    """Asked once, and Redis may be away at that moment."""

    error: DistflowError | None = None

    def release_leases(self, owner: str, epochs: Mapping[str, int]) -> None:
        if self.error is not None:
            raise self.error
        super().release_leases(owner, epochs)


class Serving:
    """Runs, and a service that leads them turn by turn."""

    def __init__(self) -> None:
        self.clock, self.chance = Clock(), Chance()
        self.server = MemoryServer(clock=self.clock.unix)
        self.transport = Transport(self.clock)
        self.store = _Service(self.server, self.clock)
        self.impatient = _Away(self.server)
        self.stop = threading.Event()
        self.told: list[Notice] = []
        #: What the services said, in lines.
        self.said: list[str] = []
        self._numbers = itertools.count(1)
        self.service = self.make_service()

    def make_service(self) -> CoordinatorService:
        """One more."""
        backend: Any = SimpleNamespace(
            service=self.store, dispatcher=self.transport, store=self.open_run
        )
        backend.with_patience = lambda _seconds: SimpleNamespace(service=self.impatient)
        return CoordinatorService(
            backend,
            self.stop,
            settings=CoordinatorSettings(),
            listener=self.told.append,
            report=self.said.append,
            clock=self.clock,
            chance=self.chance,
        )

    def open_run(self, run_id: str) -> MemoryRunStore:
        """The store of a run."""
        return MemoryRunStore(run_id, server=self.server)

    def create(
        self, run_id: str, *tasks: Task, detached: bool = True, batch: bool = False
    ) -> MemoryRunStore:
        """A run that nobody leads yet."""
        store, options = self.open_run(run_id), RunOptions(batch=batch)
        store.create_run(
            RunSpec(run_id, "m:flow", {}, "origin", options, detached=detached), "creation", tasks
        )
        return store

    def turn(self, seconds: float = 0.0) -> None:
        """Let the service look once, and then for as long as so many seconds have not passed."""
        until = self.clock.seconds + seconds
        self.service.turn()
        while self.clock.seconds < until:
            self.service.turn()

    def work(self, status: str = "success") -> int:
        """Let workers end all that is in the queues; returns how many tasks that were."""
        done = 0
        for batch in list(self.transport.queued.values()):
            del self.transport.queued[batch.id]
            name = f"w{next(self._numbers)}"
            worker = PlayedWorker(self.open_run(batch.run_id), self.clock, name)
            if worker.begin(batch) != Code.OK:  # It is of a coordinator that leads no more.
                continue
            for task in batch.tasks:
                assert worker.claim(task.name) == Code.GRANTED
                worker.finish(task.name, status, ending=False)
                done += 1
            worker.end()
        return done

    def begin(self, run_id: str, task: str) -> PlayedWorker:
        """A worker inside a task, whose batch it has taken off its queue."""
        found = [batch for batch in self.transport.queued.values() if batch.run_id == run_id]
        (batch,) = [each for each in found if task in {named.name for named in each.tasks}]
        del self.transport.queued[batch.id]
        worker = PlayedWorker(self.open_run(run_id), self.clock, f"w{next(self._numbers)}")
        assert worker.begin(batch) == Code.OK
        assert worker.claim(task) == Code.GRANTED
        return worker

    def info(self, run_id: str) -> RunInfo:
        """How a run stands."""
        return self.open_run(run_id).read_info()
