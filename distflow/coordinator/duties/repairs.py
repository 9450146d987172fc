"""Reconciler: what went wrong with a run is found here, told, and repaired."""

from __future__ import annotations

import time
from collections.abc import Mapping

from distflow.coordinator.attach import read_standing
from distflow.coordinator.duties.lost_workers import LostBatch, Recovery, vanished_repair
from distflow.coordinator.fleet import Surroundings
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.missing import Known, find_missing, name_missing
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.claim import NAMELESS, WorkerFacts
from distflow.core.run import Claim, Event, HeldTask, Repair
from distflow.core.status import RunStatus
from distflow.core.watch.drift import DriftWatch
from distflow.errors import DistflowError, RunGone, RunNotFound, StaleEpoch
from distflow.events.announcer import Announcer
from distflow.ids import new_token
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore

#: How often a batch is looked for until it counts as vanished.
_LOOKS = 2


class Reconciler:
    """Looks after one run, seldom where nothing of it is at work.

    Args:
        led: the run.
        store: the same.
        dispatcher: how batches reach workers.
        surroundings: what it shares with other runs.
        announcer: told of repairs.
        settings: intervals and patience.
    """

    def __init__(
        self,
        led: RunMirror,
        store: RunStore,
        dispatcher: Dispatcher,
        surroundings: Surroundings,
        announcer: Announcer,
        settings: CoordinatorSettings,
    ) -> None:
        self._led = led
        self._store = store
        self._surroundings = surroundings
        self._announcer = announcer
        self._settings = settings
        self._recovery = Recovery(
            store,
            dispatcher,
            led.graph,
            led.epoch,
            settings=settings,
            monotonic=time.monotonic,
            now=surroundings.now,
            network=surroundings.network,
        )
        self._drift = DriftWatch(settings.stale_seconds)
        self._restarts = surroundings.restarts
        self._clock_sets = surroundings.clock_sets
        #: Claims that were read before Redis was last seen to be the same process.
        self._claims: Mapping[str, Claim] = {}
        self._looked_at = self._checked_at = self._indexed_at = time.monotonic()
        self._trimmed = ""
        #: What was told last of what frozen workers hold; a predecessor may have told something.
        self._held: tuple[HeldTask, ...] | None = None

    @property
    def due(self) -> float:
        """When to look next, on the monotonic clock."""
        soon = self._led.is_at_work or self._led.status != RunStatus.RUNNING or self._drift.is_open
        settings = self._settings
        return self._looked_at + (settings.watch_seconds if soon else settings.idle_seconds)

    def look(self) -> None:
        """Look for what was lost where the last look is old, and repair it.

        Raises:
            StaleEpoch: another coordinator leads the run, or Redis forgot that this one does.
        """
        led, settings = self._led, self._settings
        now = time.monotonic()
        restarts = self._surroundings.restarts
        if self._restarts != restarts:
            self._recovery.hold_off()
            self._read_again("redis_restarted", "Redis restarted", restarted=True)
            self._restarts = restarts
            return
        if self._clock_sets != self._surroundings.clock_sets:
            self._clock_sets = self._surroundings.clock_sets
            self._recovery.distrust()
        if self._surroundings.looked_at > self._looked_at:
            self._claims = self._recovery.claims
        at_work = led.is_at_work
        if not at_work:
            self._recovery.rest()
        if now < self.due:
            return
        self._looked_at = now
        if self._trimmed != led.last_event:
            self._store.trim_events(led.epoch, led.last_event)
            self._trimmed = led.last_event
        if at_work:
            gone = self._recovery.find_lost(cancelling=led.status == RunStatus.CANCELLING)
            led.outbox.note_begun(self._recovery.beats)
            led.note_at_work(self._recovery.at_work)
            for lost in gone:
                self._take_back(lost)
            self._tell_held(self._recovery.held)
            if self._recovery.has_forgotten(led.running):
                self._read_again("events_lost", "claims are gone of whose end no event tells")
                return
        elif self._held:
            self._tell_held(())
        checking = now - self._checked_at >= settings.unbegun_seconds
        if (checking or self._drift.is_open) and self._has_drifted(now):
            self._read_again("events_lost", "events were lost")
            return
        if checking:
            self._checked_at = now
        self._find_vanished()
        if now - self._indexed_at >= settings.index_seconds:
            self._indexed_at = now
            self._restore_indices()

    def stop_running(self) -> None:
        """Kill the process groups that still work on the run."""
        self._recovery.stop_running()

    def close(self) -> None:
        """The run is led by this coordinator no more."""
        self._recovery.close()

    @property
    def known(self) -> Known:
        """What is known of the run now, to be compared with what is read of it later."""
        led = self._led
        return Known(led.state.statuses, self._claims, led.status, led.last_event)

    def raise_unless_forgotten(self, error: DistflowError) -> None:
        """Raise what ends the leading, in place of what was run into; return where Redis has merely
        forgotten that this coordinator leads the run.
        """
        if not isinstance(error, StaleEpoch | RunGone | RunNotFound):
            raise error
        try:
            epoch = self._store.read_info().epoch
        except RunNotFound:
            raise self._surroundings.explain_gone(self._store, self._restarts) from error
        # Epochs grow with time: an older one is no other coordinator's.
        if epoch > self._led.epoch or not isinstance(error, StaleEpoch):
            raise error

    def tell_restored(self, known: Known) -> None:
        """Redis had come back with data from before this coordinator led the run; ``known`` is
        what it knew of it then.
        """
        missing = find_missing(
            self._led.graph, known, read_standing(self._store, self._led.graph), (), restarted=True
        )
        names = name_missing(["who led the run", *missing])
        note = f"Redis came back with older data, without {names}: led anew"
        self._repaired(Repair("data_lost", "", "", note))

    # How

    def _repaired(self, repair: Repair, by: WorkerFacts = NAMELESS) -> None:
        self._store.record_repair(self._led.epoch, new_token(), repair, by=by)
        self._announcer.tell("repair", message=repair.note)

    def _take_back(self, lost: LostBatch) -> None:
        led = self._led
        if lost.settled or not lost.held:
            self._repaired(lost.to_repair())
        # What a frozen worker has not begun, others may do.
        led.take_back(lost.batch)
        for task in lost.settled:
            led.state.on_lost(led.graph.index[task])

    def _tell_held(self, held: tuple[HeldTask, ...]) -> None:
        if held == self._held:
            return
        self._store.hold_tasks(self._led.epoch, held)
        told = self._held or ()
        for task, worker, _since in held:
            if task not in {other.task for other in told}:
                self._announcer.tell(
                    "warning",
                    message=f"worker {worker} is frozen inside {task}, which may not run twice: "
                    "wake it or kill it",
                )
        self._held = held

    def _has_drifted(self, now: float) -> bool:
        led = self._led
        vitals = self._store.read_vitals()
        return self._drift.look(vitals, led.state, led.status, led.last_event, now)

    def _find_vanished(self) -> None:
        led = self._led
        seconds = self._settings.unbegun_seconds / _LOOKS
        old = led.outbox.take_unbegun(seconds, self._recovery.beats)
        for batch_id, failure in self._recovery.find_vanished(old).items():
            # Its end may be among the events that were not read yet.
            led.catch_up()
            if led.outbox.is_out(batch_id):
                by = failure.by if failure else NAMELESS
                self._repaired(vanished_repair(batch_id, failure), by)
                led.take_back(batch_id, failed=failure is not None, vanished=failure is None)
                led.was_refused |= bool(by.name)

    def _restore_indices(self) -> None:
        is_led = self._led.status in (RunStatus.RUNNING, RunStatus.CANCELLING)
        if is_led and self._store.restore_indices():
            note = "the run was missing in an index: it is listed again"
            self._repaired(Repair("index_lost", "", "", note))

    def _read_again(self, kind: str, why: str, *, restarted: bool = False) -> None:
        """Read where every task stands. It is a loss of data where something is missing."""
        known, led = self.known, self._led
        found = read_standing(self._store, led.graph)
        missing = find_missing(
            led.graph, known, found, self._read_events(known.last_event), restarted=restarted
        )
        if missing:
            kind, why = "data_lost", f"{why}; Redis has lost {name_missing(missing)}"
        elif restarted:
            why += ": nothing that was recorded is missing"
        # This first: under another epoch there is nothing to be read again.
        self._repaired(Repair(kind, "", "", f"{why}; all is read again"))
        led.attach(found)

    def _read_events(self, after: str) -> list[Event]:
        """All events after an id that there are now."""
        events: list[Event] = []
        while some := self._store.read_events(events[-1].id if events else after):
            events += some
        return events
