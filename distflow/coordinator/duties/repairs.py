"""RepairDuty: finds, reports and repairs what Redis lost or somebody deleted there."""

from __future__ import annotations

from collections.abc import Mapping

from distflow.coordinator.duties.duty import Duty
from distflow.coordinator.evidence import vanished_repair
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.rereading import read_again, record_repair
from distflow.coordinator.tools import Tools
from distflow.coordinator.write_probe import WriteProbe
from distflow.core.claim import NAMELESS
from distflow.core.readings import JobFailure
from distflow.core.run import Repair
from distflow.core.status import RunStatus
from distflow.core.watch.drift import DriftWatch

#: How many checks must miss a batch before it counts as vanished.
_LOOKS = 2


class RepairDuty(Duty):
    """Looks for lost events, queue entries and index entries; seldom while nothing is running.

    Args:
        mirror: the run.
        tools: its store, and how batches reach workers.
        probe: asked before an entry is taken for lost.
    """

    def __init__(self, mirror: RunMirror, tools: Tools, probe: WriteProbe) -> None:
        self._mirror = mirror
        self._tools = tools
        self._probe = probe
        self._drift = DriftWatch(tools.settings.stale_seconds)
        #: Batches that nobody began and no queue holds -> when that was first seen.
        self._missed: dict[str, float] = {}
        self._looked_at = self._checked_at = self._indexed_at = tools.clock.monotonic()

    def due(self, now: float) -> float:
        """A while after the last check; at once after Redis has restarted, or lost an expansion."""
        mirror, settings = self._mirror, self._tools.settings
        if mirror.restarts != self._tools.server.restarts or mirror.is_outdated:
            return now
        soon = not mirror.is_at_rest or self._drift.is_open
        return self._looked_at + (settings.watch_seconds if soon else settings.idle_seconds)

    def act(self, now: float) -> None:
        """Look for what was lost, and repair it."""
        mirror, tools, settings = self._mirror, self._tools, self._tools.settings
        restarts = tools.server.restarts
        if mirror.restarts != restarts:
            read_again(mirror, tools, "redis_restarted", "Redis restarted", restarted=True)
            mirror.restarts = restarts
            return
        if mirror.is_outdated:
            read_again(mirror, tools, "data_lost", "what a node has added to its run is gone")
            return
        self._looked_at = now
        checking = now - self._checked_at >= settings.unbegun_seconds
        if (checking or self._drift.is_open) and self._has_drifted(now):
            read_again(mirror, tools, "events_lost", "events were lost")
            return
        if checking:
            self._checked_at = now
        self._send_vanished_again()
        if now - self._indexed_at >= settings.index_seconds:
            self._indexed_at = now
            self._restore_indices()

    # How

    def _has_drifted(self, now: float) -> bool:
        mirror = self._mirror
        vitals = self._tools.store.read_vitals()
        return self._drift.look(vitals, mirror.state, mirror.status, mirror.last_event, now)

    def _send_vanished_again(self) -> None:
        mirror, now = self._mirror, self._tools.clock.monotonic()
        seconds = self._tools.settings.unbegun_seconds / _LOOKS
        old = mirror.outbox.take_unbegun(seconds, mirror.beats, now)
        for batch_id, failure in self._find_vanished(old).items():
            # Its end may be among events that were not read yet.
            mirror.catch_up()
            if mirror.outbox.is_out(batch_id) and not mirror.is_growing:
                by = failure.by if failure else NAMELESS
                record_repair(mirror, self._tools, vanished_repair(batch_id, failure), by)
                mirror.take_back(batch_id, failed=failure is not None, vanished=failure is None)
                mirror.was_refused |= bool(by.name)

    def _find_vanished(self, unbegun: Mapping[str, str]) -> dict[str, JobFailure | None]:
        """Of batches that nobody began (id -> queue), those that are in no queue either, each with
        the report of the worker that could not begin it. Without such a report two checks must have
        missed the batch: a worker that has just popped it will begin it in a moment.
        """
        if not unbegun:
            return {}
        store, dispatcher = self._tools.store, self._tools.dispatcher
        queued = dispatcher.find_queued(store.run_id, set(unbegun.values()))
        # Read after the queues: a batch that was popped in between has begun by now, or is lost.
        begun = store.read_beats()
        gone = [batch for batch in unbegun if batch not in queued and batch not in begun]
        if gone and not self._probe.takes_writes():
            self._missed.clear()
            return {}
        failures = dispatcher.read_failures(gone)
        now = self._tools.clock.monotonic()
        self._missed = {batch: self._missed.get(batch, now) for batch in gone}
        return {
            batch: failures.get(batch)
            for batch in gone
            if batch in failures or self._missed[batch] < now
        }

    def _restore_indices(self) -> None:
        is_led = self._mirror.status in (RunStatus.RUNNING, RunStatus.CANCELLING)
        if is_led and self._tools.store.restore_indices():
            note = "the run was missing from an index, and is listed again"
            record_repair(self._mirror, self._tools, Repair("index_lost", "", "", note))
