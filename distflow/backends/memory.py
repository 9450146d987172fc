"""Runs in this process; whoever waits for their events works on their batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext

from distflow.core.readings import Apart, WorkerInfo
from distflow.core.run import ServerFacts
from distflow.dispatch.memory import MemoryDispatcher
from distflow.dispatch.stepping import StepWorker
from distflow.errors import InvalidInput
from distflow.ports.backend import Backend
from distflow.store.memory.server import MemoryServer
from distflow.store.memory.service import MemoryServiceStore
from distflow.store.memory.store import MemoryRunStore


class MemoryBackend(Backend):
    """Runs that need no server, no worker process and no thread.

    While somebody waits for events of a run, its workers run batches, in turn; without a batch,
    time passes. With a clock that a test moves, hours of backoff pass in no time.

    Args:
        workers: how many there are.
        clock: the Unix time in seconds.
        sleep: lets seconds pass on that clock, if it does not run by itself.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.server = MemoryServer(clock=clock, sleep=sleep, meanwhile=self.work)
        self._dispatcher = MemoryDispatcher(clock=clock)
        self._service = MemoryServiceStore(self.server)
        #: The first is next.
        self._workers = [
            StepWorker(f"worker-{number}", self.store, clock) for number in range(1, workers + 1)
        ]
        for worker in self._workers:
            self._dispatcher.add_worker(worker)

    def work(self) -> bool:
        """Let the next worker run a batch; returns whether there was one."""
        for worker in self._workers:
            batch = self._dispatcher.take(worker)
            if batch is not None:
                self._workers.remove(worker)
                self._workers.append(worker)
                worker.run_batch(batch)
                return True
        return False

    @property
    def dispatcher(self) -> MemoryDispatcher:
        """Its queues."""
        return self._dispatcher

    @property
    def service(self) -> MemoryServiceStore:
        """Reads about all runs at once."""
        return self._service

    def store(self, run_id: str) -> MemoryRunStore:
        return MemoryRunStore(run_id, server=self.server)

    def with_patience(self, seconds: float) -> MemoryBackend:
        """The same: nothing here is ever away."""
        return self

    def run_ids(self) -> list[str]:
        return self.server.list_runs()

    def coordinators(self) -> list[str]:
        """The coordinators that have announced themselves."""
        return self._service.list_coordinators()

    def workers(self) -> list[WorkerInfo]:
        """None: those of this process are registered nowhere."""
        return []

    def has_worker(self, name: str) -> bool:
        """No: likewise."""
        return False

    def are_workers_suspended(self) -> bool:
        """Nobody can do that."""
        return False

    def find_apart(self, run_id: str, queues: Collection[str]) -> list[Apart]:
        """None: all workers see all queues."""
        return []

    def settle_server(self, durability: str | None, *, allow_eviction: bool) -> ServerFacts:
        """That nothing outlives this process."""
        if durability is not None:
            raise InvalidInput("runs in memory are not durable: leave durability out")
        return ServerFacts("none")

    def find_write_refusal(self) -> str | None:
        """Whether a test has filled the server."""
        return "the memory server is full" if self.server.full else None

    def server_advice(self) -> list[str]:
        """None: there is nothing to set."""
        return []

    def hurry(self, is_told_to_end: Callable[[], bool]) -> None:
        """Nobody waits for a server here."""

    def translate_errors(self) -> AbstractContextManager[None]:
        """There is no transport that could raise anything."""
        return nullcontext()

    def close(self) -> None:
        """There is nothing to close."""
