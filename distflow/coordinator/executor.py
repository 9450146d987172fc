"""WorkflowExecutor: leads one run, from the lease to its last outcome."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.chance import SYSTEM_CHANCE, Chance
from distflow.clock import SYSTEM_CLOCK, Clock
from distflow.coordinator.duties.duty import NEVER
from distflow.coordinator.fleet import Shared
from distflow.coordinator.leadership import Leadership
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.pictures import Onlooker, Pictures
from distflow.coordinator.sending import send_batches
from distflow.coordinator.settings import CoordinatorSettings
from distflow.coordinator.tools import Tools
from distflow.coordinator.unheld import write_skips, write_tolerated
from distflow.core.batches import Batch
from distflow.core.batching import Estimates
from distflow.core.readings import KnownGraph
from distflow.core.run import Event
from distflow.core.status import RunStatus
from distflow.errors import DistflowError
from distflow.events.notice import Interrupt, Listener, Signal
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore

#: Seconds for which a busy coordinator lets events gather.
PACE_SECONDS = 0.002

#: A coordinator with this many tasks under way is busy.
_MANY_TASKS = 16


class WorkflowExecutor:
    """Coordinates one run.

    :meth:`lead` does all of it. A service that leads many runs calls :meth:`begin`, then
    :meth:`step` with the run's events, and finally :meth:`end`.

    Args:
        store: the run.
        dispatcher: how batches reach workers.
        settings: intervals and patience.
        listener: told what happens; it must not raise.
        interrupt: when it is set, the run is left as it is, or handed over.
        cancel: when it is set, the run is cancelled.
        lease_store: the same run with little patience, for renewing the lease.
        shared: what this process shares among the runs that it leads; None if it leads this one
            alone.
        estimates: what functions cost, as measured in earlier runs.
        onlooker: shown what a resume does and the state of the run while :meth:`lead` works.
        known: the part of the run that need not be read, since this process has just written it.
        clock: for measuring and waiting, unless ``shared`` has one.
        chance: the source of randomness, unless ``shared`` has one.
    """

    def __init__(  # noqa: PLR0913 - by name
        self,
        store: RunStore,
        dispatcher: Dispatcher,
        *,
        settings: CoordinatorSettings | None = None,
        listener: Listener | None = None,
        interrupt: Interrupt | None = None,
        cancel: Signal | None = None,
        lease_store: RunStore | None = None,
        shared: Shared | None = None,
        estimates: Estimates | None = None,
        onlooker: Onlooker | None = None,
        known: KnownGraph | None = None,
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance = SYSTEM_CHANCE,
    ) -> None:
        settings = settings or CoordinatorSettings()
        impatient = lease_store or store
        common = shared or Shared.of_one(
            store=store,
            impatient=impatient,
            dispatcher=dispatcher,
            settings=settings,
            estimates=estimates,
            clock=clock,
            chance=chance,
        )
        self._tools = Tools.of(
            common,
            store,
            dispatcher,
            settings,
            listener=listener,
            interrupt=interrupt,
            cancel=cancel,
        )
        lease = common.lease_of(store, impatient, settings.lease_seconds)
        self._leadership = Leadership(
            self._tools, lease, common, is_alone=shared is None, known=known
        )
        self._look = common.look
        self._pictures = Pictures(onlooker)
        self.run_id = store.run_id
        self.owner = common.owner

    def lead(self, *, force: bool = False, reopen: bool = False) -> RunStatus:
        """Lead the run until it is over or cannot continue, and return its status.

        Args:
            force: take the lease even if another coordinator holds it.
            reopen: a person resumes the run: evaluate again every task that did not succeed.

        Raises:
            LeaseHeld: another coordinator leads it.
            StaleEpoch: another coordinator has taken it over.
            RunGone: the run does not exist, or no longer does.
        """
        tools = self._tools
        try:
            self.begin(force=force, reopen=reopen)
            events: Sequence[Event] = ()
            while True:
                ended = self.step(events)
                if ended is not None:
                    return ended
                self._pictures.show(self._leadership.led.mirror, tools.clock.monotonic())
                batches = self.take_batches()
                if batches:
                    send_batches(tools.dispatcher, batches, self.keep)
                elif events and self.is_busy:
                    # Many short tasks are running: their events are read together.
                    tools.clock.sleep(PACE_SECONDS)
                left = self.wake_at - tools.clock.monotonic()
                block_ms = max(1, int(min(tools.settings.tick_seconds, left) * 1000))
                events = tools.store.read_events(self.last_event, block_ms=block_ms)
        finally:
            self.end()

    # Steps

    def begin(self, *, force: bool = False, reopen: bool = False) -> None:
        """Take the lease and read the run; the arguments and errors are those of :meth:`lead`."""
        mirror, _duties, _end, plan = self._leadership.take(force=force, reopen=reopen)
        self._pictures.begin(mirror, plan)
        self._tools.announcer.tell("workflow_start", message=mirror.info.workflow)

    def step(self, events: Sequence[Event]) -> RunStatus | None:
        """Apply events and do what follows, except for sending batches.

        Returns:
            The run's status if there is nothing left to do, else None.
        """
        try:
            return self._step(events)
        except DistflowError as error:
            self._leadership.take_again(error)
        return None

    def _step(self, events: Sequence[Event]) -> RunStatus | None:
        mirror, duties, end, _plan = self._leadership.led
        clock = self._tools.clock
        self._leadership.lease.check()
        self._leadership.apply(events)
        self._look()
        now = clock.monotonic()
        for duty in duties:
            if duty.due(now) <= now:
                duty.act(now)
                now = clock.monotonic()
        if self._tools.interrupt.is_set():
            return end.leave()
        write_skips(mirror, self._tools)
        write_tolerated(mirror, self._tools)
        return end.ask()

    def take_batches(self, limit: int | None = None) -> list[Batch]:
        """Batches to send now, at most ``limit`` per queue."""
        mirror = self._mirror
        if mirror is None or mirror.status != RunStatus.RUNNING:
            return []
        return mirror.outbox.take_batches(self._tools.clock.monotonic(), limit)

    def keep(self, batch: Batch) -> None:
        """Redis had no room for a batch: see :meth:`OpenBatches.keep`."""
        self._leadership.led.mirror.outbox.keep(batch, self._tools.clock.monotonic())

    def end(self) -> None:
        """Release the lease; the run continues when another coordinator leads it."""
        self._leadership.leave()

    def abandon(self) -> None:
        """Stop leading without writing anything: another coordinator leads the run, or Redis is
        away.
        """
        self._leadership.drop()

    # How it stands

    @property
    def wake_at(self) -> float:
        """When :meth:`step` is due even without events, on the monotonic clock."""
        attached = self._leadership.attached
        if attached is None:
            return NEVER
        now = self._tools.clock.monotonic()
        moments = [duty.due(now) for duty in attached.duties]
        mirror = attached.mirror
        if mirror.is_growing:
            moments.append(now)
        # A run that is paused or cancelled sends nothing, however long it waits.
        send_at = mirror.outbox.send_at if mirror.status == RunStatus.RUNNING else None
        return min(moments if send_at is None else [send_at, *moments])

    @property
    def last_event(self) -> str:
        """Id of the last applied event."""
        return self._mirror.last_event if self._mirror else "0-0"

    @property
    def is_busy(self) -> bool:
        """Whether so many tasks are under way that a short delay harms none of them."""
        return self._mirror is not None and self._mirror.state.in_flight >= _MANY_TASKS

    @property
    def at_work(self) -> bool:
        """Whether any batch of the run is queued or running."""
        return self._mirror is not None and self._mirror.is_at_work

    @property
    def hungry(self) -> bool:
        """Whether tasks are ready to send."""
        mirror = self._mirror
        if mirror is None or mirror.status != RunStatus.RUNNING:
            return False
        return bool(mirror.state.queues())

    @property
    def epoch(self) -> int:
        """The epoch of its lease; 0 before it has one."""
        return self._leadership.lease.epoch

    @property
    def _mirror(self) -> RunMirror | None:
        attached = self._leadership.attached
        return attached.mirror if attached else None
