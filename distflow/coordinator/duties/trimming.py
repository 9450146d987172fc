"""TrimDuty: removes applied events from the run's stream."""

from __future__ import annotations

from distflow.coordinator.duties.duty import NEVER, Duty
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.tools import Tools


class TrimDuty(Duty):
    """Trims now and then, where there is something to trim.

    Args:
        mirror: the run.
        tools: its store.
    """

    def __init__(self, mirror: RunMirror, tools: Tools) -> None:
        self._mirror = mirror
        self._tools = tools
        self._trimmed = ""
        self._trimmed_at = tools.clock.monotonic()

    def due(self, now: float) -> float:  # noqa: ARG002 - as all duties
        """A while after the last trim, if events were applied since."""
        if self._trimmed == self._mirror.last_event:
            return NEVER
        settings = self._tools.settings
        rests = self._mirror.is_at_rest
        return self._trimmed_at + (settings.idle_seconds if rests else settings.watch_seconds)

    def act(self, now: float) -> None:
        """Keep only what comes after the last applied event."""
        self._trimmed_at = now
        self._trimmed = self._mirror.last_event
        self._tools.store.trim_events(self._mirror.epoch, self._trimmed)
