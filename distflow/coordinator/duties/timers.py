"""Timers: tasks that wait for a time, and what to do when Redis's clock was set."""

from __future__ import annotations

from dataclasses import replace

from distflow.coordinator.duties.duty import NEVER, Duty
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.tools import Tools


class WaitDuty(Duty):
    """Makes tasks ready when their time has come.

    Args:
        mirror: the run.
    """

    def __init__(self, mirror: RunMirror) -> None:
        self._mirror = mirror

    def due(self, now: float) -> float:  # noqa: ARG002 - as all duties
        """When the next task has waited for long enough."""
        due_ms = self._mirror.state.next_due()
        return NEVER if due_ms is None else due_ms / 1000

    def act(self, now: float) -> None:
        """Make ready what waited until now."""
        self._mirror.state.on_time(int(now * 1000))


class ClockDuty(Duty):
    """When Redis's clock was set, moves the stored times to match it: the scripts and the next
    coordinator go by that clock.

    Args:
        mirror: the run.
        tools: its store, and Redis's clock.
    """

    def __init__(self, mirror: RunMirror, tools: Tools) -> None:
        self._mirror = mirror
        self._tools = tools

    def due(self, now: float) -> float:
        """At once, when the clock was set."""
        return NEVER if self._mirror.clock_sets == self._tools.server.sets else now

    def act(self, now: float) -> None:
        """Move the waits and the start of the run's timeout."""
        mirror, server = self._mirror, self._tools.server
        mirror.clock_sets = server.sets
        now_ms, own_ms = server.now_ms(), mirror.own_ms()
        found = self._tools.store.read_progress()
        waits = []
        for index, due_ms in mirror.state.waits().items():
            name = mirror.graph.tasks[index].name
            if name in found and found[name].not_before:
                waits.append((name, found[name].not_before, now_ms + max(0, due_ms - own_ms)))
        clock_at = None
        info, timeout = mirror.info, mirror.info.options.timeout
        if mirror.deadline is not None and timeout is not None and info.clock_at is not None:
            began_ms = now_ms + int((mirror.deadline - now - timeout) * 1000)
            clock_at = round(info.clock_at * 1000), began_ms
            mirror.info = replace(info, clock_at=began_ms / 1000)
        self._tools.store.set_times(mirror.epoch, waits, clock_at=clock_at)
