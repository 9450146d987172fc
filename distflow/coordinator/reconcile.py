"""Reconciler: what went wrong with a run is found here, told, and repaired."""

from __future__ import annotations

import time

from distflow.coordinator.announcer import Announcer
from distflow.coordinator.led import LedRun
from distflow.coordinator.recovery import Recovery, describe_vanished
from distflow.coordinator.settings import CoordinatorSettings
from distflow.coordinator.surroundings import Surroundings
from distflow.core.status import RunStatus
from distflow.ports import Dispatcher, RunStore


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
        led: LedRun,
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
        )
        self._restarts = surroundings.restarts
        self._looked_at = self._checked_at = time.monotonic()

    @property
    def due(self) -> float:
        """When to look next, on the monotonic clock."""
        led, settings = self._led, self._settings
        at_work = led.state.in_flight or led.state.questions or led.running
        if at_work or led.status != RunStatus.RUNNING:
            return self._looked_at + settings.watch_seconds
        return self._looked_at + settings.idle_seconds

    def look(self) -> None:
        """Look for what was lost where the last look is old, and repair it."""
        led, settings = self._led, self._settings
        now = time.monotonic()
        if self._restarts != self._surroundings.restarts:
            self._restarts = self._surroundings.restarts
            self._read_again("Redis restarted: all is read again")
            return
        if now < self.due:
            return
        self._looked_at = now
        self._store.trim_events(led.epoch, led.last_event)
        for lost in self._recovery.find_lost(cancelling=led.status == RunStatus.CANCELLING):
            self._announcer.tell("repair", message=lost.describe())
            led.take_back(lost.batch)
            for task, status in lost.settled.items():
                if status == "waiting":
                    led.state.on_lost(led.graph.index[task])
        if self._recovery.has_forgotten(led.running):
            self._read_again("Redis forgot claims: all is read again")
            return
        if now - self._checked_at < settings.unbegun_seconds:
            return
        self._checked_at = now
        old = led.outbox.older_than(settings.unbegun_seconds)
        for batch_id, failure in self._recovery.find_vanished(old).items():
            # Its end may be among the events that were not read yet.
            led.catch_up()
            if led.outbox.is_out(batch_id):
                self._announcer.tell("repair", message=describe_vanished(batch_id, failure))
                led.take_back(batch_id, failed=bool(failure))

    def stop_running(self) -> None:
        """Kill the process groups that still work on the run."""
        self._recovery.stop_running()

    def _read_again(self, why: str) -> None:
        self._announcer.tell("repair", message=why)
        self._led.attach()
