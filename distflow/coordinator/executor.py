"""WorkflowExecutor: leads one run, from the lease to its last outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from distflow.coordinator.attach import read_run, relist
from distflow.coordinator.duties.cancelling import Canceller
from distflow.coordinator.duties.misfits import MisfitDuty
from distflow.coordinator.duties.repairs import Reconciler
from distflow.coordinator.fleet import Surroundings, own_ms
from distflow.coordinator.gc_pause import GcPause
from distflow.coordinator.leases import LeaseKeeper, new_owner, renew_with
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.pictures import Onlooker, Pictures
from distflow.coordinator.sending import send_batches
from distflow.coordinator.settings import CoordinatorSettings
from distflow.coordinator.shared import Shared
from distflow.core.batch import Batch
from distflow.core.batching import Estimates
from distflow.core.model import TaskResult
from distflow.core.plan import PlanItem
from distflow.core.readings import KnownGraph, RunHead
from distflow.core.run import Event
from distflow.core.state import TaskStateManager
from distflow.core.status import OVER_RUNS, RunStatus, TaskStatus
from distflow.errors import DistflowError, LeaseHeld, WrongState
from distflow.events.announcer import Announcer
from distflow.events.notice import Interrupt, Listener, Signal
from distflow.logs import get_logger
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore

_log = get_logger("distflow.coordinator")

#: Seconds that a coordinator lets events gather while many tasks are on their way.
PACE_SECONDS = 0.002

#: So many are many.
_MANY_TASKS = 16

#: In these a coordinator has something to do.
_LED = frozenset({RunStatus.RUNNING, RunStatus.CANCELLING})

#: Times of a lease that are waited for one to lapse which nobody holds any more.
_LEASES_WAITED = 2


class WorkflowExecutor:
    """Coordinates one run.

    :meth:`lead` does all of it; who leads many runs at once calls :meth:`begin`, then
    :meth:`step` with what the run's events bring, and :meth:`end`.

    Args:
        store: the run.
        dispatcher: how batches reach workers.
        settings: intervals and patience.
        listener: told what happens; it must not raise.
        interrupt: when it is set, the run is left as it is, or handed over.
        cancel: when it is set, the run is cancelled.
        lease_store: the same run with little patience, for renewing the lease.
        shared: with the other runs that this process leads at once; None where there are none.
        estimates: what functions cost, as runs before this one have shown.
        onlooker: shown what a resume does, and how the run stands, while :meth:`lead` is at work.
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
    ) -> None:
        self._store = store
        self._lease_store = lease_store or store
        self._dispatcher = dispatcher
        self._settings = settings or CoordinatorSettings()
        self._shared = shared
        self._surroundings = (
            shared.surroundings
            if shared
            else Surroundings(store, dispatcher, self._settings, estimates)
        )
        self._announcer = Announcer(store, listener, self._surroundings.now)
        self._interrupt = interrupt or Interrupt()
        self._cancel_signal = cancel
        self._pictures = Pictures(onlooker)
        self.owner = shared.owner if shared else new_owner()
        self.run_id = store.run_id
        self._collector = GcPause()
        #: Of its lease; 0 before it has one.
        self.epoch = 0
        #: Whether this coordinator has ended it.
        self._has_ended = False
        #: What need not be read of it, since this process has just written it.
        self.known: KnownGraph | None = None
        self._led: RunMirror | None = None
        #: What the last reopening planned; empty where there was none.
        self.plan: list[PlanItem] = []

    @property
    def state(self) -> TaskStateManager | None:
        """Where the tasks stand; None before the run was read."""
        return self._led.state if self._led else None

    def lead(self, *, force: bool = False, reopen: bool = False) -> RunStatus:
        """Lead the run until it is over, or until it may not go on, and return its status.

        Args:
            force: take the lease even from one who holds it.
            reopen: a person resumes: evaluate again what is not success.

        Raises:
            LeaseHeld: another coordinator leads it.
            StaleEpoch: another coordinator has taken it over.
            RunGone: there is no such run (any more).
        """
        tick_seconds = self._settings.tick_seconds
        try:
            self.begin(force=force, reopen=reopen)
            events: Sequence[Event] = ()
            while True:
                ended = self.step(events)
                if ended is not None:
                    return ended
                self._pictures.show(self._run, time.monotonic())
                batches = self.take_batches()
                if batches:
                    send_batches(self._dispatcher, batches, self.keep)
                elif events and self.is_busy:
                    # Many short tasks are at work: what they tell is read together.
                    time.sleep(PACE_SECONDS)
                left = self.wake_at - time.monotonic()
                block_ms = max(1, int(min(tick_seconds, left) * 1000))
                events = self._store.read_events(self.last_event, block_ms=block_ms)
        finally:
            self.end()

    # Steps

    def begin(self, *, force: bool = False, reopen: bool = False) -> None:
        """Take the lease and read the run; the arguments and errors are those of :meth:`lead`."""
        lease_seconds = self._settings.lease_seconds
        self._keeper = (
            self._shared.keeper
            if self._shared
            else LeaseKeeper(renew_with(self._lease_store), self.owner, lease_seconds)
        )
        self.epoch = self._store.acquire_lease(self.owner, lease_seconds, force=force)
        self._attach(reopen=reopen)
        self._pictures.begin(self._run, self.plan)
        self._announcer.tell("workflow_start", message=self._run.info.workflow)

    def _attach(self, *, reopen: bool = False) -> None:
        """Read the run, under a lease that was just acquired."""
        self._keeper.add(self.run_id, self.epoch, self._load)
        head = self._store.read_head(with_tasks=self.known is None, with_server=not self._shared)
        self._surroundings.look(head.server)  # At once: what follows may take long.
        if not head.info.is_first_led:
            # The index lies in another slot, so that a crash may have left it behind.
            self._store.mark_active(head.info.version)
            self._store.restore_indices()
        with self._collector.resting(head.info.total):
            self._read(head, reopen=reopen)
        # A resume that changes nothing: it stood in no list of active runs before.
        self._has_ended = self._run.status in OVER_RUNS
        if not head.info.is_first_led:
            # What happened while the hashes were read comes before the first batch.
            self._run.catch_up()

    def _read(self, head: RunHead, *, reopen: bool) -> None:
        known, self.known, store = self.known, None, self._store
        found = read_run(store, self.epoch, head, known, reopen=reopen)
        graph, self.plan, standing = found
        parts = (store, self._dispatcher, self._surroundings, self._announcer)
        self._run = self._led = led = RunMirror(*parts, self.epoch, graph, standing=standing)
        self._reconciler = Reconciler(led, *parts, self._settings)
        self._canceller = Canceller(
            led, store, self._reconciler, self._surroundings, self._settings
        )
        self._misfits = MisfitDuty(led, store, self._dispatcher, self._announcer, self._settings)

    def step(self, events: Sequence[Event]) -> RunStatus | None:
        """Apply events, and do what follows save for sending batches.

        Returns:
            The run's status where there is nothing more to do, else None.
        """
        try:
            return self._step(events)
        except DistflowError as error:
            self._reconciler.raise_unless_forgotten(error)
        self._lead_anew()
        return None

    def _lead_anew(self) -> None:
        """Redis came back with data from before this coordinator led the run."""
        known = self._reconciler.known
        self.abandon()
        gives_up_at = time.monotonic() + _LEASES_WAITED * self._settings.lease_seconds
        while True:
            try:
                self.epoch = self._store.acquire_lease(self.owner, self._settings.lease_seconds)
                break
            except LeaseHeld:
                # A lease came back as well, of one that leads no more: it lapses.
                if self._shared or self._interrupt.is_set() or time.monotonic() > gives_up_at:
                    raise
                self._interrupt.wait(self._settings.tick_seconds)
        self._attach()
        self._reconciler.tell_restored(known)

    def _step(self, events: Sequence[Event]) -> RunStatus | None:
        lost = self._keeper.lost(self.run_id)
        if lost is not None:
            raise lost
        led = self._run
        led.apply(events)
        self._surroundings.look()
        led.follow_clock()
        self._reconciler.look()
        led.outbox.share_out()
        led.state.on_time(own_ms())
        self._misfits.look()
        if self._interrupt.is_set():
            return self._interrupt_run()
        self._check_stop()
        if led.status == RunStatus.CANCELLING:
            self._canceller.step()
        self._write_skips()
        ended = self._try_end()
        if ended is not None:
            self._announcer.tell("workflow_end", status=ended)
        return ended

    def take_batches(self, limit: int | None = None) -> list[Batch]:
        """What is to be sent now, at most ``limit`` batches per queue."""
        led = self._run
        if led.status != RunStatus.RUNNING:
            return []
        return led.outbox.take_batches(limit)

    def keep(self, batch: Batch) -> None:
        """Redis had no room for a batch: see :meth:`OpenBatches.keep`."""
        self._run.outbox.keep(batch)

    def end(self) -> None:
        """Give the lease up; the run goes on when another leads it."""
        self.abandon()
        if self._shared is None:
            self._keeper.close()
        if not self.epoch:
            return
        self._keeper.settle()
        try:
            store = self._store if self._has_ended else self._lease_store
            kept = store.release_lease(self.owner, self.epoch, is_over=self._has_ended)
            if self._has_ended and not kept:
                relist(store)
        except DistflowError as error:
            # It lapses by itself, and what ended the coordinator matters more.
            _log.warning("run %s: its lease was not released: %s", self.run_id, error)

    def abandon(self) -> None:
        """Lead the run no more, without a word to anybody: another does, or Redis is away."""
        self._collector.walk_all()
        if self._led is not None:
            self._led.close()
            self._reconciler.close()
        self._keeper.drop(self.run_id)

    @property
    def last_event(self) -> str:
        """Id of the newest event that was applied."""
        return self._run.last_event

    @property
    def is_busy(self) -> bool:
        """Whether so many tasks are on their way that a moment does not matter to any."""
        return self._run.state.in_flight >= _MANY_TASKS

    @property
    def at_work(self) -> bool:
        """Whether a batch of it is on its way or at work."""
        return self._run.is_at_work

    @property
    def hungry(self) -> bool:
        """Whether tasks are ready to be sent."""
        return self._run.status == RunStatus.RUNNING and bool(self._run.state.queues())

    @property
    def wake_at(self) -> float:
        """When :meth:`step` is due without any event, on the monotonic clock."""
        led = self._run
        moments = [self._reconciler.due, self._misfits.due]
        if led.outbox.due is not None:
            moments.append(led.outbox.due)
        due_ms = led.state.next_due()
        if due_ms is not None:
            moments.append(due_ms / 1000)
        if led.deadline is not None and led.status == RunStatus.RUNNING:
            moments.append(led.deadline)
        return min(moments)

    def _load(self) -> tuple[int, int]:
        """How many tasks are queued and waiting: published with each renewal."""
        if self._led is None:
            return 0, 0
        counts = self._led.state.counts
        return counts[TaskStatus.QUEUED], counts[TaskStatus.WAITING]

    def _try_end(self) -> RunStatus | None:
        """The run's status where this coordinator has nothing more to do, else None."""
        led = self._run
        if led.status == RunStatus.PAUSED:
            # Asked once more: a resume at this very moment counts on this coordinator.
            if led.state.claimed or self._store.read_status() != RunStatus.PAUSED:
                return None
            return led.status
        if led.status not in _LED or not led.state.is_over:
            return None if led.status in _LED else led.status
        verdict = led.state.verdict(cancelled=led.status == RunStatus.CANCELLING)
        try:
            self._store.set_status(verdict, _LED, epoch=self.epoch)
        except WrongState:
            # Paused or cancelled at this very moment: the event says so.
            return None
        self._has_ended = verdict in OVER_RUNS
        # A decision that came just before did not find the run blocked: it must not wait.
        if not self._has_ended and self._goes_on():
            # Where it was cancelled at this very moment, the event says so.
            with suppress(WrongState):
                self._store.set_status(RunStatus.RUNNING, {RunStatus.BLOCKED}, epoch=self.epoch)
            led.status = self._store.read_status()
            return None
        return verdict

    def _goes_on(self) -> bool:
        """Whether something can happen by itself, once all events are read."""
        led = self._run
        led.catch_up()
        return not led.state.is_over or not led.state.counts[TaskStatus.UNKNOWN]

    def _interrupt_run(self) -> RunStatus:
        """Leave the run as it is: what runs ends by itself, and nothing more is claimed."""
        led = self._run
        if self._interrupt.hands_over:  # Workers take what is queued, until another leads it.
            return led.status
        # A cancellation is a person's decision already: whoever leads next carries it out.
        with suppress(WrongState):
            led.status = self._store.set_status(
                RunStatus.INTERRUPTED,
                {RunStatus.RUNNING},
                epoch=self.epoch,
                reason="interrupted",
            )
        led.withdraw()
        self._announcer.tell("workflow_end", status=led.status)
        return led.status

    def _check_stop(self) -> None:
        """Whether the signal or the run's timeout cancels it."""
        led = self._run
        if led.status != RunStatus.RUNNING:
            return
        if self._cancel_signal is not None and self._cancel_signal.is_set():
            reason = "cancelled by a signal"
        elif led.deadline is not None and time.monotonic() > led.deadline:
            reason = f"timed out after {led.info.options.timeout:g} s"
        else:
            return
        # Where it was paused at this very moment, the event says so.
        with suppress(WrongState):
            led.status = self._store.set_status(
                RunStatus.CANCELLING,
                {RunStatus.RUNNING},
                epoch=self.epoch,
                reason=reason,
                grace_seconds=self._settings.grace_seconds,
            )

    def _write_skips(self) -> None:
        skips = self._run.state.take_skips()
        if skips:
            outcomes = [
                (skip.task, TaskResult(TaskStatus.SKIPPED, message=skip.message)) for skip in skips
            ]
            self._run.settle_unheld("task_skipped", outcomes)
