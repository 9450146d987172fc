"""Canceller: carries a cancellation out, with the grace that came with it."""

from __future__ import annotations

import time

from distflow.coordinator.led import LedRun
from distflow.coordinator.reconcile import Reconciler
from distflow.coordinator.settings import CoordinatorSettings
from distflow.coordinator.surroundings import Surroundings
from distflow.core.model import TaskResult
from distflow.core.status import TaskStatus
from distflow.ports import RunStore


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
        led: LedRun,
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
        #: Unix seconds on Redis's clock; None before the cancellation was seen.
        self._seen_at: float | None = None
        #: On the monotonic clock: a batch that begins at this very moment is stopped the next time.
        self._stopped_at = 0.0

    def step(self) -> None:
        """Cancel what no worker holds; what runs may end by itself, and is then killed."""
        led = self._led
        if self._seen_at is None:
            self._seen_at = self._surroundings.now()
            led.withdraw()
        cancelled = led.state.cancel_open()
        if cancelled:
            reason = self._store.read_info().reason or "cancelled"
            result = TaskResult(TaskStatus.CANCELLED, message=reason)
            led.settle_pending("task_end", [(index, result) for index in cancelled])
        now = time.monotonic()
        if not led.state.claimed or now - self._stopped_at < self._settings.watch_seconds:
            return
        # Asked again each time: another cancellation may have shortened it.
        stop_at = self._store.read_info().stop_at
        if stop_at is None:
            stop_at = self._seen_at + self._settings.grace_seconds
        if self._surroundings.now() >= stop_at:
            self._stopped_at = now
            self._reconciler.stop_running()
