"""The batches of a run that are out: which are, and what they carried."""

from __future__ import annotations

import time
from typing import NamedTuple

from distflow.coordinator.surroundings import Surroundings
from distflow.core.graph import Graph
from distflow.core.state import TaskStateManager
from distflow.core.status import TaskStatus
from distflow.ports import Batch

#: Milliseconds that a task waits which came back unclaimed more than once.
_BOUNCE_MS = 1000

#: Seconds that a queue rests at most, whose workers cannot begin batches.
_LONGEST_REST_SECONDS = 60.0


class _Sent(NamedTuple):
    batch: Batch
    #: On the coordinator's monotonic clock.
    at: float


class Outbox:
    """Makes batches of ready tasks, and remembers them until they have ended.

    Args:
        surroundings: how much room there is, shared with other runs.
        run_id: the run.
        epoch: the coordinator's.
        graph: the run's.
        state: where its tasks stand.
        number: of the last batch that this epoch has sent: ids are never used twice.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        run_id: str,
        epoch: int,
        graph: Graph,
        state: TaskStateManager,
        *,
        number: int = 0,
    ) -> None:
        self._surroundings = surroundings
        self._run_id = run_id
        self._epoch = epoch
        self._graph = graph
        self._state = state
        self._sent: dict[str, _Sent] = {}
        self.number = number
        #: Index of a task -> how often it came back unclaimed.
        self._bounced: dict[int, int] = {}
        #: Queue -> how often in a row its workers could not begin a batch, and until when it rests.
        self._failed: dict[str, tuple[int, float]] = {}
        self.queues = sorted({task.queue for task in graph.tasks})
        surroundings.serve(self.queues)

    def close(self) -> None:
        """Forget every batch: others may use the room."""
        for sent in self._sent.values():
            self._surroundings.out[sent.batch.queue] -= 1
        self._sent.clear()

    def take_batches(self, concurrency: int | None, limit: int | None = None) -> list[Batch]:
        """Batches of what is ready, to be sent now, as far as workers and the run's concurrency
        have room; at most ``limit`` per queue. Unknown tasks whose hook is to be asked go first:
        they hold up what depends on them, and run nothing that concurrency counts.
        """
        room = len(self._graph) if concurrency is None else concurrency - self._state.in_flight
        batches: list[Batch] = []
        now = time.monotonic()
        for queue in self._state.queues():
            if now < self._failed.get(queue, (0, 0.0))[1]:
                continue
            free = self._surroundings.room(queue)
            if limit is not None:
                free = min(free, limit)
            for index in self._state.take_questions(queue, max(0, free)):
                free -= 1
                batches.append(self._batch(queue, index, verify=True))
            for index in self._state.take_ready(queue, max(0, min(free, room))):
                self._state.on_queued(index)
                room -= 1
                batches.append(self._batch(queue, index))
        for batch in batches:
            self._sent[batch.id] = _Sent(batch, now)
            self._surroundings.out[batch.queue] += 1
        return batches

    def _batch(self, queue: str, index: int, *, verify: bool = False) -> Batch:
        self.number += 1
        batch_id = f"{self._run_id}-{self._epoch}-{self.number}"
        tasks = (self._graph.tasks[index],)
        return Batch(batch_id, queue, tasks, self._run_id, self._epoch, verify)

    def take_back(self, batch_id: str, *, failed: bool = False) -> None:
        """A batch is gone: what it did not claim is ready again, and what it asked is asked again.

        Where a worker ``failed`` to begin it, its queue rests for a while, twice as long each time:
        such a worker takes what it is given at once, and would be given it for ever.
        """
        sent = self._sent.pop(batch_id, None)
        if sent is None:
            return
        self._surroundings.out[sent.batch.queue] -= 1
        for task in sent.batch.tasks:
            index = self._graph.index[task.name]
            if sent.batch.verify:
                self._state.on_unanswered(index, in_vain=not failed)
            else:
                self._bring_back(index)
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
            now_ms = self._surroundings.now_ms()
            self._state.on_waiting(index, now_ms + _BOUNCE_MS, now_ms)

    def is_out(self, batch_id: str) -> bool:
        """Whether a batch was sent, and has not been taken back."""
        return batch_id in self._sent

    def __len__(self) -> int:
        return len(self._sent)

    def older_than(self, seconds: float) -> dict[str, str]:
        """The batches that were sent before so many seconds: id -> queue."""
        before = time.monotonic() - seconds
        return {
            batch_id: sent.batch.queue for batch_id, sent in self._sent.items() if sent.at < before
        }
