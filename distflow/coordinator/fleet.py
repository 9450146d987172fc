"""Surroundings: what the runs of one coordinator share. It is looked up once for all of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping

from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.batching import BatchLimits, Estimates
from distflow.core.copies import CopyCounter
from distflow.core.readings import ServerInfo
from distflow.core.watch.network import NetworkWatch
from distflow.errors import RunForgotten, RunGone
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore

#: Seconds by which a clock may differ from what it was thought to be, between two looks, without
#: having been set: it runs a little faster or slower than this host's.
_SLEWED_SECONDS = 1.0


def own_ms() -> int:
    """Milliseconds on this host's monotonic clock: lengths are measured by it, since Redis's clock
    may be set.
    """
    return int(time.monotonic() * 1000)


class Surroundings:
    """Redis's clock and identity, the workers, and how many batches are out for them.

    Args:
        store: of any run on the Redis.
        dispatcher: how batches reach workers.
        settings: intervals and patience.
        estimates: what functions cost, as far as that is known; they are learned here.
    """

    def __init__(
        self,
        store: RunStore,
        dispatcher: Dispatcher,
        settings: CoordinatorSettings,
        estimates: Estimates | None = None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._watch_seconds = settings.watch_seconds
        #: When Redis was looked at last, on the monotonic clock.
        self.looked_at = float("-inf")
        self._queues: set[str] = set()
        self._workers: Mapping[str, int] = {}
        self._server_id = ""
        #: Redis's clock less this host's monotonic one, in seconds.
        self.clock_offset = 0.0
        #: How often Redis's clock was seen to have been set.
        self.clock_sets = 0
        #: How often Redis was seen to have restarted, or another to have taken its place.
        self.restarts = 0
        #: Whether batches of any run may be judged by their silence.
        self.network = NetworkWatch(settings.network_seconds)
        self.limits = BatchLimits()
        #: What functions cost, as the tasks of all runs of this coordinator have shown.
        self.estimates = estimates or Estimates(self.limits)
        #: Batches that are out, by queue, of all runs of this coordinator.
        self.out: Counter[str] = Counter()
        #: How many copies of each are sent.
        self.copies = CopyCounter()

    def look(self, server: ServerInfo | None = None) -> bool:
        """Look again where the last look is old; returns whether it was. ``server`` is what was
        read of it at this moment, where that is known.
        """
        now = time.monotonic()
        if now - self.looked_at < self._watch_seconds:
            return False
        # What was read at this moment may be as old as its reply took.
        asked_at = now
        server = server or self._store.read_server()
        before, self.looked_at = self.looked_at, time.monotonic()
        if before > float("-inf"):
            early = server.now - (asked_at + self.clock_offset)
            late = server.now - (self.looked_at + self.clock_offset)
            self.clock_sets += early < -_SLEWED_SECONDS or late > _SLEWED_SECONDS
        # Redis's clock may be set: it is asked again each time.
        self.clock_offset = server.now - self.looked_at
        if server.server_id:
            self.restarts += bool(self._server_id) and server.server_id != self._server_id
            self._server_id = server.server_id
        if self._workers:
            self.count_workers()
        return True

    def explain_gone(self, store: RunStore, restarts: int) -> RunGone:
        """Why a run is missing that was there when Redis had restarted so often."""
        server = self._store.read_server()
        another = bool(self._server_id) and server.server_id not in ("", self._server_id)
        if another or restarts != self.restarts:
            why = "another process of Redis answers, and has no data of it"
            return RunForgotten.because(store.run_id, why)
        return store.explain_gone()

    def serve(self, queues: Collection[str]) -> None:
        """Batches may be sent to these queues too."""
        self._queues.update(queues)

    def count_workers(self) -> None:
        """Look again how many workers there are: they bound what is out."""
        self._workers = self._dispatcher.count_workers(sorted(self._queues))

    def workers(self, queue: str) -> int:
        """How many workers listen to a queue; counted when that is first asked."""
        if queue not in self._workers:
            self.count_workers()
        return self._workers.get(queue, 0)

    def room(self, queue: str) -> int:
        """How many batches more may be sent to a queue."""
        return self.limits.per_worker * max(1, self.workers(queue)) - self.out[queue]

    def has_room(self) -> bool:
        """Whether a batch more may be sent to any queue."""
        return any(self.room(queue) > 0 for queue in self._queues)

    def now(self) -> float:
        """Unix seconds on Redis's clock, by this host's monotonic one."""
        return time.monotonic() + self.clock_offset

    def now_ms(self) -> int:
        """Unix milliseconds on Redis's clock."""
        return int(self.now() * 1000)
