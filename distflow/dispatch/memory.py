"""Dispatcher in memory: queues in this process, and the workers that take batches from them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from distflow.core.batches import Batch
from distflow.core.misfit import Registration
from distflow.core.readings import JobFailure, WorkerProbe
from distflow.errors import RedisFull
from distflow.ports.dispatcher import Dispatcher


class MemoryWorker:
    """A worker as known to the transport.

    Args:
        name: unique.
        registration: stands for the modules that it has: workers with the same one count as one
            worker when it is asked what can be run.
        queues: the ones it listens to; None is all.
    """

    def __init__(
        self, name: str, registration: Registration, queues: Collection[str] | None = None
    ) -> None:
        self.name = name
        self.registration = registration
        self.queues = queues
        #: Id of the running batch; empty between two.
        self.job = ""

    def listens_to(self, queue: str) -> bool:
        """Whether it takes batches of a queue."""
        return self.queues is None or queue in self.queues

    def stop(self) -> None:
        """The worker is told to end its job. Never happens to one that works on the only thread."""


class MemoryDispatcher(Dispatcher):
    """Queues in this process, for batches of any runs. Threads may share it.

    Args:
        clock: the Unix time in seconds; workers always count as just heard of.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        #: Held while a queue is read or written; notified of each new batch.
        self._changed = threading.Condition()
        #: Batches by id, oldest first.
        self._queued: dict[str, Batch] = {}
        self._workers: dict[str, MemoryWorker] = {}
        #: Whether it refuses batches; set by tests.
        self.full = False

    # What workers do

    def add_worker(self, worker: MemoryWorker) -> None:
        """A worker connects."""
        with self._changed:
            self._workers[worker.name] = worker

    def remove_worker(self, worker: MemoryWorker) -> bool:
        """A worker is gone; returns whether it was there."""
        with self._changed:
            return self._workers.pop(worker.name, None) is not None

    def take(self, worker: MemoryWorker) -> Batch | None:
        """Give a worker the oldest batch of its queues; None if there is none."""
        with self._changed:
            found = (batch for batch in self._queued.values() if worker.listens_to(batch.queue))
            batch = next(found, None)
            if batch is not None:
                del self._queued[batch.id]
                worker.job = batch.id
            return batch

    # What a coordinator asks

    def dispatch(self, batches: Sequence[Batch]) -> None:
        if self.full:
            raise RedisFull("the queues in memory are full")
        with self._changed:
            for batch in batches:
                self._queued.setdefault(batch.id, batch)
            self._changed.notify(len(batches))

    def count_workers(self, queues: Collection[str]) -> Mapping[str, int]:
        return {queue: len(self._listeners(queue)) for queue in queues}

    def list_workers(self, queues: Collection[str]) -> Mapping[str, set[Registration]]:
        return {
            queue: {worker.registration for worker in self._listeners(queue)} for queue in queues
        }

    def _listeners(self, queue: str) -> list[MemoryWorker]:
        with self._changed:
            return [worker for worker in self._workers.values() if worker.listens_to(queue)]

    def find_queued(self, run_id: str, queues: Collection[str]) -> set[str]:
        with self._changed:
            return {
                batch.id
                for batch in self._queued.values()
                if batch.run_id == run_id and batch.queue in queues
            }

    def withdraw(self, run_id: str, queues: Collection[str]) -> int:
        with self._changed:
            withdrawn = self.find_queued(run_id, queues)
            for batch in withdrawn:
                del self._queued[batch]
            return len(withdrawn)

    def probe_workers(self, workers: Collection[str]) -> Mapping[str, WorkerProbe]:
        with self._changed:
            return {
                name: WorkerProbe(True, [worker.job] if worker.job else [], self._clock())
                for name in workers
                if (worker := self._workers.get(name)) is not None
            }

    def read_failures(self, batches: Collection[str]) -> Mapping[str, JobFailure]:  # noqa: ARG002
        # Batches are passed as objects: every worker can read them.
        return {}

    def stop_job(self, job: str, worker: str) -> None:
        with self._changed:
            found = self._workers.get(worker)
        if found is not None and found.job == job:
            found.stop()
