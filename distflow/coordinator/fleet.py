"""Fleet: the workers that the runs of one coordinator share, and how much more they can take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from distflow.chance import Chance
from distflow.clock import Clock
from distflow.coordinator.leases import LeaseKeeper, RunLease, new_owner, renew_with
from distflow.coordinator.server_clock import ServerClock
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.batching import BatchLimits, Estimates
from distflow.core.copies import CopyCounter
from distflow.core.readings import ServerInfo
from distflow.core.watch.network import NetworkWatch
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore


class Fleet:
    """The workers, and how many batches are out for them.

    Args:
        dispatcher: how batches reach workers.
        network_seconds: how long batches that went silent together are held back.
        estimates: what functions cost, as far as known; learned here.
    """

    def __init__(
        self, dispatcher: Dispatcher, network_seconds: float, estimates: Estimates | None = None
    ) -> None:
        self._dispatcher = dispatcher
        self._queues: set[str] = set()
        self._workers: Mapping[str, int] = {}
        #: Says whether silent batches, of any run, may be judged at all.
        self.network = NetworkWatch(network_seconds)
        self.limits = BatchLimits()
        #: What functions cost, learned from all runs of this coordinator.
        self.estimates = estimates or Estimates(self.limits)
        #: Batches that are out, by queue, of all runs of this coordinator.
        self.out: Counter[str] = Counter()
        #: How many copies of each batch are sent.
        self.copies = CopyCounter()

    def serve(self, queues: Collection[str]) -> None:
        """Add queues that batches may be sent to."""
        self._queues.update(queues)

    def count_workers(self) -> None:
        """Count the workers again: their number limits how many batches may be out."""
        self._workers = self._dispatcher.count_workers(sorted(self._queues))

    def recount(self) -> None:
        """Count the workers again, if anybody asked for their number before."""
        if self._workers:
            self.count_workers()

    def workers(self, queue: str) -> int:
        """How many workers listen to a queue; counted on the first call."""
        if queue not in self._workers:
            self.count_workers()
        return self._workers.get(queue, 0)

    def room(self, queue: str) -> int:
        """How many more batches may be sent to a queue."""
        return self.limits.per_worker * max(1, self.workers(queue)) - self.out[queue]

    def has_room(self) -> bool:
        """Whether any queue can take another batch."""
        return any(self.room(queue) > 0 for queue in self._queues)


class Shared(NamedTuple):
    """What all runs that one process leads have in common: their leader, their surroundings, and
    the keeper of their leases.
    """

    owner: str
    fleet: Fleet
    server: ServerClock
    keeper: LeaseKeeper
    clock: Clock
    chance: Chance

    @classmethod
    def of_one(
        cls,
        *,
        store: RunStore,
        impatient: RunStore,
        dispatcher: Dispatcher,
        settings: CoordinatorSettings,
        estimates: Estimates | None,
        clock: Clock,
        chance: Chance,
    ) -> Shared:
        """The same for a process that leads this run alone."""
        owner = new_owner(chance)
        return cls(
            owner,
            Fleet(dispatcher, settings.network_seconds, estimates),
            ServerClock(store, clock, settings.watch_seconds),
            LeaseKeeper(renew_with(impatient), owner, settings.lease_seconds, clock),
            clock,
            chance,
        )

    def look(self, server: ServerInfo | None = None) -> None:
        """Check Redis and count the workers again, if the last check is old."""
        if self.server.look(server):
            self.fleet.recount()

    def lease_of(self, store: RunStore, impatient: RunStore, lease_seconds: float) -> RunLease:
        """The lease of a run of this process; see :class:`RunLease`."""
        return RunLease(store, impatient, self.owner, self.keeper, lease_seconds)
