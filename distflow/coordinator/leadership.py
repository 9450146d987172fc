"""Leadership: take a run, read it, lead it anew if Redis forgot who leads it, and leave it."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.coordinator.attach import Attached, attach
from distflow.coordinator.fleet import Shared
from distflow.coordinator.gc_pause import GcPause
from distflow.coordinator.leases import RunLease
from distflow.coordinator.rereading import raise_unless_forgotten, tell_restored
from distflow.coordinator.tools import Tools
from distflow.core.readings import KnownGraph
from distflow.core.run import Event
from distflow.core.status import TaskStatus
from distflow.errors import DistflowError, LeaseHeld

#: How many lease lengths to wait for an orphaned lease to lapse.
_LEASES_WAITED = 2


class Leadership:
    """The leadership of one run by one coordinator.

    Args:
        tools: the run's store, and what the coordinator works with.
        lease: the run's.
        shared: what this process shares among the runs that it leads.
        is_alone: whether this run is the only one.
        known: the part of the run that need not be read the first time, since this process has
            written it.
    """

    def __init__(
        self,
        tools: Tools,
        lease: RunLease,
        shared: Shared,
        *,
        is_alone: bool,
        known: KnownGraph | None = None,
    ) -> None:
        self._tools = tools
        self._shared = shared
        self._is_alone = is_alone
        self._gc_pause = GcPause()
        self.lease = lease
        #: The run as it was last read; None before.
        self.attached: Attached | None = None
        #: Used once, then dropped: it is as large as the run.
        self._known = known

    @property
    def led(self) -> Attached:
        """The run as it was last read.

        Raises:
            RuntimeError: this coordinator has not begun to lead it.
        """
        if self.attached is None:
            raise RuntimeError(f"run {self._tools.store.run_id} is not led yet: call begin() first")
        return self.attached

    def take(self, *, force: bool, reopen: bool) -> Attached:
        """Take the lease (with ``force`` even from another holder), and read the run."""
        self.lease.acquire(self._load, force=force)
        return self._attach(reopen=reopen)

    def take_again(self, error: DistflowError) -> None:
        """Lead the run anew if Redis came back with data from before this coordinator led it.

        Raises:
            DistflowError: that is not the case. Either the error itself, or the one that it amounts
                to.
        """
        mirror = self.led.mirror
        raise_unless_forgotten(error, mirror, self._tools)
        graph, known = mirror.graph, mirror.known
        self.drop()
        self._acquire_again()
        tell_restored(self._attach(reopen=False).mirror, self._tools, graph, known)

    def apply(self, events: Sequence[Event]) -> None:
        """Apply events of the run, which may let its graph grow."""
        mirror = self.led.mirror
        mirror.apply(events)
        self._gc_pause.spare(len(mirror.graph))

    def leave(self) -> None:
        """Release the lease; the run continues when another coordinator leads it."""
        self.drop()
        if self._is_alone:
            self._shared.keeper.close()
        self.lease.release(is_over=self.attached is not None and self.attached.end.is_over)

    def drop(self) -> None:
        """Stop leading the run, without writing anything."""
        self._gc_pause.walk_all()
        if self.attached is not None:
            self.attached.close()
        self.lease.drop()

    # How

    def _attach(self, *, reopen: bool) -> Attached:
        """Read the run, under a lease that was just acquired."""
        store, known, self._known = self._tools.store, self._known, None
        head = store.read_head(with_tasks=known is None, with_server=self._is_alone)
        self._shared.look(head.server)  # At once: what follows may take long.
        if not head.info.is_first_led:
            # The index is in another slot, so a crash may have left it stale.
            store.mark_active(head.info.version)
            store.restore_indices()
        with self._gc_pause.resting(head.info.total):
            attached = attach(self._tools, self.lease.epoch, head, known, reopen=reopen)
        self.attached = attached
        if not head.info.is_first_led:
            # Apply what happened while the hashes were read before the first batch is made.
            attached.mirror.catch_up()
        return attached

    def _acquire_again(self) -> None:
        clock, settings, interrupt = self._tools.clock, self._tools.settings, self._tools.interrupt
        gives_up_at = clock.monotonic() + _LEASES_WAITED * settings.lease_seconds
        while True:
            try:
                self.lease.acquire(self._load)
            except LeaseHeld:
                # The old data include a lease whose holder is gone: it will lapse.
                if not self._is_alone or interrupt.is_set() or clock.monotonic() > gives_up_at:
                    raise
                clock.wait(interrupt, settings.tick_seconds)
            else:
                return

    def _load(self) -> tuple[int, int]:
        """How many tasks are queued and waiting; published with each renewal."""
        if self.attached is None:
            return 0, 0
        counts = self.attached.mirror.state.counts
        return counts[TaskStatus.QUEUED], counts[TaskStatus.WAITING]
