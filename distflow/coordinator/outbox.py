"""The batches that are out: how many may be, which are, and what they carried."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from distflow.core.graph import Graph
from distflow.core.state import TaskStateManager
from distflow.core.status import TaskStatus
from distflow.ports import Batch, Dispatcher

#: Batches that may be out per live worker and queue: one at work, one behind it.
_BATCHES_PER_WORKER = 2


#: Milliseconds that a task waits which came back unclaimed more than once.
_BOUNCE_MS = 1000

#: Seconds that a queue rests at most, whose workers cannot begin batches.
_LONGEST_REST_SECONDS = 60.0


class _Sent(NamedTuple):
    batch: Batch
    #: On the coordinator's monotonic clock.
    at: float


class Outbox:
    """Sends ready tasks, and remembers what was sent until it has ended.

    Args:
        dispatcher: how batches reach workers.
        run_id: the run.
        epoch: the coordinator's.
        graph: the run's.
        state: where its tasks stand.
        now_ms: Unix milliseconds on Redis's clock.
        number: of the last batch that this epoch has sent: ids are never used twice.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        run_id: str,
        epoch: int,
        graph: Graph,
        state: TaskStateManager,
        *,
        now_ms: Callable[[], int],
        number: int = 0,
    ) -> None:
        self._dispatcher = dispatcher
        self._run_id = run_id
        self._epoch = epoch
        self._graph = graph
        self._state = state
        self._sent: dict[str, _Sent] = {}
        self.number = number
        self._now_ms = now_ms
        #: Index of a task -> how often it came back unclaimed.
        self._bounced: dict[int, int] = {}
        #: Queue -> how often in a row its workers could not begin a batch, and until when it rests.
        self._failed: dict[str, tuple[int, float]] = {}
        self.queues = sorted({task.queue for task in graph.tasks})
        self._workers: Mapping[str, int] = {}
        # Whatever a predecessor left there would be refused when it is popped.
        self.withdraw()
        self.count_workers()

    def count_workers(self) -> None:
        """Look again how many workers there are: they bound what is out."""
        self._workers = self._dispatcher.count_workers(self.queues)

    def withdraw(self) -> None:
        """Take the run's waiting jobs off the queues."""
        self._dispatcher.withdraw(self._run_id, self.queues)

    def send_ready(self, concurrency: int | None) -> None:
        """Send what is ready, as far as workers and the run's concurrency have room."""
        room = len(self._graph) if concurrency is None else concurrency - self._state.in_flight
        batches: list[Batch] = []
        for queue in self._state.queues():
            if time.monotonic() < self._failed.get(queue, (0, 0.0))[1]:
                continue
            out = sum(sent.batch.queue == queue for sent in self._sent.values())
            limit = _BATCHES_PER_WORKER * max(1, self._workers.get(queue, 0)) - out
            for index in self._state.take_ready(queue, max(0, min(limit, room))):
                self._state.on_queued(index)
                room -= 1
                self.number += 1
                batch_id = f"{self._run_id}-{self._epoch}-{self.number}"
                batches.append(Batch(batch_id, queue, (self._graph.tasks[index],)))
        if batches:
            now = time.monotonic()
            self._sent.update((batch.id, _Sent(batch, now)) for batch in batches)
            self._dispatcher.dispatch(self._run_id, self._epoch, batches)

    def take_back(self, batch_id: str, *, failed: bool = False) -> None:
        """A batch is gone: what it did not claim is ready again.

        Where a worker ``failed`` to begin it, its queue rests for a while, twice as long each time:
        such a worker takes what it is given at once, and would be given it for ever.
        """
        sent = self._sent.pop(batch_id, None)
        if sent is None:
            return
        for task in sent.batch.tasks:
            self._bring_back(self._graph.index[task.name])
        if not failed:
            self._failed.pop(sent.batch.queue, None)
            return
        times = self._failed.get(sent.batch.queue, (0, 0.0))[0]
        rest = min(_LONGEST_REST_SECONDS, 2.0**times)
        self._failed[sent.batch.queue] = (times + 1, time.monotonic() + rest)

    def _bring_back(self, index: int) -> None:
        """At once the first time; a task that comes back again and again, because a claim finds it
        not ready (Redis's clock was set back, say), waits in between.
        """
        if self._state.statuses[index] != TaskStatus.QUEUED:
            return
        bounced = self._bounced.get(index, 0)
        self._bounced[index] = bounced + 1
        self._state.on_unstarted(index)
        if bounced:
            now_ms = self._now_ms()
            self._state.on_waiting(index, now_ms + _BOUNCE_MS, now_ms)

    def is_out(self, batch_id: str) -> bool:
        """Whether a batch was sent, and has not been taken back."""
        return batch_id in self._sent

    def older_than(self, seconds: float) -> dict[str, str]:
        """The batches that were sent before so many seconds: id -> queue."""
        before = time.monotonic() - seconds
        return {
            batch_id: sent.batch.queue for batch_id, sent in self._sent.items() if sent.at < before
        }

    def unserved(self) -> Collection[str]:
        """Queues in which a batch waits although no worker listens."""
        waiting = {sent.batch.queue for sent in self._sent.values()}
        return sorted(queue for queue in waiting if not self._workers.get(queue))
