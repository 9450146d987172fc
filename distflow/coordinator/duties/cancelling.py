"""Canceller: carries a cancellation out, with the grace that came with it."""

from __future__ import annotations

import time

from distflow.coordinator.duties.repairs import Reconciler
from distflow.coordinator.fleet import Surroundings
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.model import TaskResult
from distflow.core.status import TaskStatus
from distflow.ports.run_store import RunStore


class Canceller:
    """Stops one run.

    Args:
        led: the run.
        store: the same.
        reconciler: knows what is at work.
        surroundings: tell Redis's time.
        settings: intervals, and the grace where none came with the cancellation.
    """

    def __init__(
        self,
        led: RunMirror,
        store: RunStore,
        reconciler: Reconciler,
        surroundings: Surroundings,
        settings: CoordinatorSettings,
    ) -> None:
        self._led = led
        self._store = store
        self._reconciler = reconciler
        self._surroundings = surroundings
        self._settings = settings
        #: Whether the cancellation was seen.
        self._is_seen = False
        #: When what runs is stopped: as Redis says it, in Unix seconds, and on the monotonic clock.
        self._told_stop_at: float | None = None
        self._stop_at = float("inf")
        self._clock_sets = surroundings.clock_sets
        #: On the monotonic clock: a batch that begins at this very moment is stopped the next time.
        self._stopped_at = 0.0

    def step(self) -> None:
        """Cancel what no worker holds; what runs may end by itself, and is then killed."""
        led = self._led
        if not self._is_seen:
            self._is_seen = True
            led.withdraw()
        cancelled = led.state.cancel_open()
        if cancelled:
            reason = self._store.read_info().reason or "cancelled"
            result = TaskResult(TaskStatus.CANCELLED, message=reason)
            led.settle_unheld("task_end", [(index, result) for index in cancelled])
        now = time.monotonic()
        if not led.state.claimed or now - self._stopped_at < self._settings.watch_seconds:
            return
        if now >= self._find_stop(now):
            self._stopped_at = now
            self._reconciler.stop_running()

    def _find_stop(self, now: float) -> float:
        """When what runs is stopped, on the monotonic clock: Redis's may be set meanwhile. It is
        asked again each time, since another cancellation may have shortened it.
        """
        info = self._store.read_info()
        if info.stop_at is None:
            self._stop_at = min(self._stop_at, now + self._settings.grace_seconds)
        elif info.stop_at != self._told_stop_at:
            self._told_stop_at = info.stop_at
            self._stop_at = min(self._stop_at, now + max(0.0, info.stop_at - info.as_of))
        if info.stop_at is not None and self._clock_sets != self._surroundings.clock_sets:
            self._clock_sets = self._surroundings.clock_sets
            # For whoever leads the run next.
            right = info.as_of + max(0.0, self._stop_at - now)
            self._told_stop_at = round(right * 1000) / 1000
            times = round(info.stop_at * 1000), round(right * 1000)
            self._store.set_times(self._led.epoch, (), stop_at=times)
        return self._stop_at
