"""Dispatchers under test, with the workers that a test plays for them."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from typing import Any

from redis import Redis

from distflow.core.batches import Batch
from distflow.core.misfit import Registration
from distflow.core.model import Task
from distflow.dispatch.memory import MemoryDispatcher, MemoryWorker
from distflow.dispatch.rq import RqDispatcher
from distflow.ports.dispatcher import Dispatcher
from distflow.rq_compat.rq_keys import (
    CURRENT_JOB_FIELD,
    WORKERS_KEY,
    command_channel,
    queue_key,
    queue_workers_key,
    worker_key,
)
from tests.support.full import fill, make_room
from tests.support.wait import wait_for

BORN = "2026-01-01T00:00:00.000000Z"

_numbers = itertools.count(1)


class Transport(ABC):
    """A dispatcher, and queues that no other test uses."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self._number = next(_numbers)
        self.queues = [f"{name}{self._number}" for name in ("first", "second")]
        self._batches = itertools.count(1)

    def batch(self, *, run: str = "run", queue: int = 0, **fields: Any) -> Batch:
        """One that was never sent."""
        run_id = f"{run}{self._number}"
        name = f"{run_id}-7-{next(self._batches)}"
        return Batch(name, self.queues[queue], (Task("a", "m:f"),), run_id, 7, **fields)

    @abstractmethod
    def connect(self, *queues: int) -> str:
        """A worker of these queues comes; returns its name."""

    @abstractmethod
    def disconnect(self, worker: str) -> None:
        """It is gone."""

    @abstractmethod
    def take(self, worker: str, queue: int = 0) -> str:
        """It takes the next batch of a queue, of which this is the id; empty where there is none.
        From then on it works on that.
        """

    @abstractmethod
    def stopped(self, worker: str) -> bool:
        """Whether it was told to end what it works on."""

    @abstractmethod
    def fill(self) -> None:
        """Let there be no room for more batches."""

    @abstractmethod
    def make_room(self) -> None:
        """Let there be as much as there is."""

    @abstractmethod
    def close(self) -> None:
        """Let all workers go."""


class _PlayedWorker(MemoryWorker):
    def __init__(self, name: str, queues: list[str]) -> None:
        super().__init__(name, Registration(name, BORN), queues)
        self.was_stopped = False

    def stop(self) -> None:
        self.was_stopped = True


class MemoryTransport(Transport):
    def __init__(self) -> None:
        self._memory = MemoryDispatcher()
        super().__init__(self._memory)
        self._workers: dict[str, _PlayedWorker] = {}

    def connect(self, *queues: int) -> str:
        worker = _PlayedWorker(f"w{next(_numbers)}", [self.queues[queue] for queue in queues])
        self._workers[worker.name] = worker
        self._memory.add_worker(worker)
        return worker.name

    def disconnect(self, worker: str) -> None:
        self._memory.remove_worker(self._workers[worker])

    def take(self, worker: str, queue: int = 0) -> str:
        assert self._workers[worker].listens_to(self.queues[queue])
        batch = self._memory.take(self._workers[worker])
        return "" if batch is None else batch.id

    def stopped(self, worker: str) -> bool:
        return self._workers[worker].was_stopped

    def fill(self) -> None:
        self._memory.full = True

    def make_room(self) -> None:
        self._memory.full = False

    def close(self) -> None:
        self._workers.clear()


class RqTransport(Transport):
    """Workers as RQ registers them: what its dispatcher reads of them."""

    def __init__(self, client: Redis) -> None:
        super().__init__(RqDispatcher(client, "distflow", patience_seconds=5.0))
        self._client: Any = client
        #: The channel on which each worker gets its commands.
        self._channels: dict[str, Any] = {}

    def connect(self, *queues: int) -> str:
        name = f"w{next(_numbers)}"
        self._client.sadd(WORKERS_KEY, worker_key(name))
        for queue in queues:
            self._client.sadd(queue_workers_key(self.queues[queue]), worker_key(name))
        self._client.hset(worker_key(name), mapping={"birth": BORN, "last_heartbeat": BORN})
        channel = self._client.pubsub(ignore_subscribe_messages=True)
        channel.subscribe(command_channel(name))
        channel.get_message(timeout=5)
        self._channels[name] = channel
        return name

    def disconnect(self, worker: str) -> None:
        self._channels.pop(worker).close()
        # Redis sees that it is gone a moment later.
        key = command_channel(worker)
        wait_for(lambda: self._client.pubsub_numsub(key)[0][1] == 0, 5, "it to be gone")

    def take(self, worker: str, queue: int = 0) -> str:
        job = (self._client.lpop(queue_key(self.queues[queue])) or b"").decode()
        self._client.hset(worker_key(worker), CURRENT_JOB_FIELD, job)
        return str(job)

    def stopped(self, worker: str) -> bool:
        message = self._channels[worker].get_message(timeout=0.05)
        if message is None:
            return False
        command = json.loads(message["data"])
        job = self._client.hget(worker_key(worker), CURRENT_JOB_FIELD)
        # A worker of RQ compares, and leaves another job alone.
        return bool(command["command"] == "stop-job" and command["job_id"].encode() == job)

    def fill(self) -> None:
        fill(self._client)

    def make_room(self) -> None:
        make_room(self._client)

    def close(self) -> None:
        for worker in list(self._channels):
            self.disconnect(worker)
