"""CancelDuty: carries out a cancellation, with its grace period."""

from __future__ import annotations

from collections.abc import Callable

from distflow.coordinator.duties.duty import NEVER, Duty
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.tools import Tools
from distflow.coordinator.unheld import settle_unheld
from distflow.core.model import TaskResult
from distflow.core.status import RunStatus, TaskStatus


class CancelDuty(Duty):
    """Cancels tasks that no worker holds. Running tasks may end by themselves until the grace
    period is over, and are then killed. A coordinator that is interrupted leaves this to the next
    one.

    Args:
        mirror: the run.
        tools: its store, and the grace period for a cancellation that has none.
        stop_running: kills the running tasks.
    """

    def __init__(self, mirror: RunMirror, tools: Tools, stop_running: Callable[[], object]) -> None:
        self._mirror = mirror
        self._tools = tools
        self._stop_running = stop_running
        #: Whether this duty has seen the cancellation.
        self._is_seen = False
        #: When running tasks are killed: as stored in Redis, in Unix seconds, and on the monotonic
        #: clock.
        self._told_stop_at: float | None = None
        self._stop_at = NEVER
        self._clock_sets = tools.server.sets
        #: When to read it again: another cancellation may shorten it, and no event says so.
        self._ask_at = float("-inf")
        #: No second kill before this: a batch that began during the first one is killed then.
        self._again_at = float("-inf")

    def due(self, now: float) -> float:
        """At once while there are tasks to cancel; then when running tasks are to be checked."""
        state = self._mirror.state
        if self._mirror.status != RunStatus.CANCELLING or self._tools.interrupt.is_set():
            return NEVER
        if not self._is_seen or state.can_cancel:
            return now
        return self._look_at if state.claimed else NEVER

    def act(self, now: float) -> None:
        """Cancel what is open, and kill what runs once the grace period is over."""
        mirror, store = self._mirror, self._tools.store
        if not self._is_seen:
            self._is_seen = True
            mirror.withdraw()
        cancelled = mirror.state.cancel_open()
        if cancelled:
            reason = store.read_info().reason or "cancelled"
            result = TaskResult(TaskStatus.CANCELLED, message=reason)
            outcomes = [(index, result) for index in cancelled]
            settle_unheld(mirror, self._tools, "task_end", outcomes)
        if not mirror.state.claimed or now < self._look_at:
            return
        self._ask_at = now + self._tools.settings.tick_seconds
        if now >= self._find_stop(now):
            self._again_at = now + self._tools.settings.watch_seconds
            self._stop_running()

    @property
    def _look_at(self) -> float:
        """When to check whether the grace period is over."""
        return max(self._again_at, min(self._ask_at, self._stop_at))

    def _find_stop(self, now: float) -> float:
        """When running tasks are killed, on the monotonic clock, since Redis's clock may be set."""
        info, server = self._tools.store.read_info(), self._tools.server
        if info.stop_at is None:
            self._stop_at = min(self._stop_at, now + self._tools.settings.grace_seconds)
        elif info.stop_at != self._told_stop_at:
            self._told_stop_at = info.stop_at
            self._stop_at = min(self._stop_at, now + max(0.0, info.stop_at - info.as_of))
        if info.stop_at is not None and self._clock_sets != server.sets:
            self._clock_sets = server.sets
            # For whoever leads the run next.
            right = info.as_of + max(0.0, self._stop_at - now)
            self._told_stop_at = round(right * 1000) / 1000
            times = round(info.stop_at * 1000), round(right * 1000)
            self._tools.store.set_times(self._mirror.epoch, (), stop_at=times)
        return self._stop_at
