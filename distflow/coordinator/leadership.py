"""Leadership: a run is taken, read, led anew where Redis has forgotten who leads it, and left."""

from __future__ import annotations

from distflow.coordinator.attach import Attached, attach
from distflow.coordinator.fleet import Shared
from distflow.coordinator.gc_pause import GcPause
from distflow.coordinator.leases import RunLease
from distflow.coordinator.rereading import raise_unless_forgotten, tell_restored
from distflow.coordinator.tools import Tools
from distflow.core.readings import KnownGraph
from distflow.core.status import TaskStatus
from distflow.errors import DistflowError, LeaseHeld

#: Times of a lease that are waited for one to lapse which nobody holds any more.
_LEASES_WAITED = 2


class Leadership:
    """Of one run, by one coordinator.

    Args:
        tools: the run's store, and what the coordinator works with.
        lease: of the run.
        shared: with the other runs that this process leads at once.
        is_alone: whether there are none.
        known: what need not be read of the run the first time, since this process has written it.
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
        #: The run as it was read last; None before.
        self.attached: Attached | None = None
        #: For the first time alone: it is as large as the run.
        self._known = known

    @property
    def led(self) -> Attached:
        """The run, where it was read.

        Raises:
            RuntimeError: nobody has begun to lead it.
        """
        if self.attached is None:
            raise RuntimeError(f"run {self._tools.store.run_id} is not led: begin() comes first")
        return self.attached

    def take(self, *, force: bool, reopen: bool) -> Attached:
        """Take the lease, by ``force`` from one who holds it, and read the run."""
        self.lease.acquire(self._load, force=force)
        return self._attach(reopen=reopen)

    def take_again(self, error: DistflowError) -> None:
        """Lead the run anew where Redis came back with data from before this coordinator led it.

        Raises:
            DistflowError: that is not so: the error itself, or what it really means.
        """
        mirror = self.led.mirror
        raise_unless_forgotten(error, mirror, self._tools)
        known = mirror.known
        self.drop()
        self._acquire_again()
        tell_restored(self._attach(reopen=False).mirror, self._tools, known)

    def leave(self) -> None:
        """Give the lease up; the run goes on when another leads it."""
        self.drop()
        if self._is_alone:
            self._shared.keeper.close()
        self.lease.release(is_over=self.attached is not None and self.attached.end.is_over)

    def drop(self) -> None:
        """Lead the run no more, without a word to anybody."""
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
            # The index lies in another slot, so that a crash may have left it behind.
            store.mark_active(head.info.version)
            store.restore_indices()
        with self._gc_pause.resting(head.info.total):
            attached = attach(self._tools, self.lease.epoch, head, known, reopen=reopen)
        self.attached = attached
        if not head.info.is_first_led:
            # What happened while the hashes were read comes before the first batch.
            attached.mirror.catch_up()
        return attached

    def _acquire_again(self) -> None:
        clock, settings, interrupt = self._tools.clock, self._tools.settings, self._tools.interrupt
        gives_up_at = clock.monotonic() + _LEASES_WAITED * settings.lease_seconds
        while True:
            try:
                self.lease.acquire(self._load)
            except LeaseHeld:
                # A lease came back as well, of one that leads no more: it lapses.
                if not self._is_alone or interrupt.is_set() or clock.monotonic() > gives_up_at:
                    raise
                clock.wait(interrupt, settings.tick_seconds)
            else:
                return

    def _load(self) -> tuple[int, int]:
        """How many tasks are queued and waiting: published with each renewal."""
        if self.attached is None:
            return 0, 0
        counts = self.attached.mirror.state.counts
        return counts[TaskStatus.QUEUED], counts[TaskStatus.WAITING]
