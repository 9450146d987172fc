"""LivenessMonitor: judges which batches have lost their worker, by changes seen on the
coordinator's own clock.

A beat that stands still is not enough: a task may hold the interpreter lock, and Redis may have
been away. The worker must also be gone (none of its processes is connected, or it reports to work
on something else), or its own heartbeat must be missing, too: then it is frozen, or its host is
gone. A transport that soon drops the connections of a dead host tells these two apart; otherwise a
worker that is silent for long is judged lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distflow.core.readings import WorkerProbe
from distflow.core.run import Beat
from distflow.core.watch.network import NetworkWatch

#: After this fraction of ``stale_seconds`` a silent batch counts as evidence about the network, so
#: that all that went silent together are counted before the first one is judged.
_COUNTED_SHARE = 2 / 3

#: A heartbeat is late if it is overdue by this fraction of the interval between two, and by at
#: least this many seconds: a busy host is slow.
_LATE_SHARE = 0.5
_LATE_SECONDS = 2.0

#: The same if the interval is unknown: half of RQ's default.
_UNKNOWN_LATE_SECONDS = 15.0

#: A worker whose heartbeats are further apart sends none while it works: its silence means nothing.
_LONGEST_INTERVAL_SECONDS = 60.0


@dataclass(slots=True)
class _Watch:
    beat: Beat | None
    #: When it last changed, on the coordinator's monotonic clock.
    changed: float
    #: Its worker's last heartbeat was sent after this time; None if unknown.
    heard_after: float | None
    #: The last heartbeat that was seen.
    heard_at: float = 0.0
    seen: float = 0.0
    #: Seconds between two heartbeats of its worker; None while unknown.
    interval: float | None = None
    #: When the next heartbeat is due, on the coordinator's monotonic clock.
    due: float | None = None
    #: Whether the transport's clock was set: it may have forgotten the worker.
    is_distrusted: bool = False
    #: The last heartbeat from before the clock was set: its age cannot be measured.
    unmeasurable: float | None = None


class LivenessMonitor:
    """Watches the beats of a run's batches.

    Args:
        run_id: the run.
        stale_seconds: a beat that has not changed for this long is suspect.
        silent_seconds: a worker that is silent for this long is lost, unless its connection proves
            it alive.
        network: counts silent batches; shared with other runs.
    """

    def __init__(
        self, run_id: str, stale_seconds: float, silent_seconds: float, network: NetworkWatch
    ) -> None:
        self._run_id = run_id
        self._stale_seconds = stale_seconds
        self._silent_seconds = silent_seconds
        self._network = network
        self._watches: dict[str, _Watch] = {}
        #: When the monitor last looked; None before the first look and after a pause.
        self._looked: float | None = None

    def observe(self, beats: Mapping[str, Beat | None], now: float) -> None:
        """Take in the running batches and their beats; None for a batch that has claims but no
        beat.

        ``now`` is the monotonic clock, in seconds.
        """
        for batch in self._watches.keys() - beats.keys():
            del self._watches[batch]
        for batch, beat in beats.items():
            watch = self._watches.get(batch)
            if watch is None:
                # RQ sends a heartbeat when it starts a job, so it was sent after the last look.
                self._watches[batch] = _Watch(beat, now, self._looked)
            elif watch.beat != beat:
                watch.beat, watch.changed = beat, now
        self._looked = now

    @property
    def is_watching(self) -> bool:
        """Whether it watches any batches."""
        return bool(self._watches)

    def rest(self, now: float) -> None:
        """There is nothing to watch. Heartbeats of batches that begin later are sent after
        ``now``.
        """
        if self._watches:
            self.forget()
        self._looked = now

    def forget(self) -> None:
        """Start afresh: earlier observations are no longer evidence."""
        self._watches.clear()
        self._looked = None
        self._network.leave(self._run_id)

    def suspects(self, now: float) -> dict[str, str]:
        """The batches whose beat is stale, each with its worker's name (empty: unknown).

        If most batches are silent together, none is reported for a while.
        """
        watches = self._watches
        counted = _COUNTED_SHARE * self._stale_seconds
        silent = sum(now - watch.changed >= counted for watch in watches.values())
        if self._network.is_suspect(self._run_id, len(watches), silent, now):
            return {}
        return {
            batch: watch.beat.worker if watch.beat else ""
            for batch, watch in watches.items()
            if now - watch.changed >= self._stale_seconds
        }

    def unmeasured(self, now: float) -> set[str]:
        """The workers to probe in order to learn how often each sends a heartbeat: those of batches
        that were seen more than once.
        """
        return {
            watch.beat.worker
            for watch in self._watches.values()
            if watch.beat and watch.interval is None and now > watch.changed
        }

    def measure(self, probes: Mapping[str, WorkerProbe], now: float) -> None:
        """Learn from the probes how often workers send heartbeats."""
        for watch in self._watches.values():
            probe = probes.get(watch.beat.worker) if watch.beat else None
            if probe is None or probe.overdue is None:
                continue
            if watch.due is None or watch.heard_at != probe.heard_at:
                # The transport's clock may be set: a heartbeat is never due later than one interval
                # from now, nor earlier than it was sent.
                longest = _LONGEST_INTERVAL_SECONDS if watch.interval is None else watch.interval
                watch.due = max(now - max(probe.overdue, -longest), watch.seen)
            if watch.is_distrusted and watch.unmeasurable is None:
                watch.unmeasurable = probe.heard_at
            if watch.interval is not None or probe.heard_at == watch.unmeasurable:
                watch.heard_at, watch.seen = probe.heard_at, now
                continue
            if watch.heard_at and watch.heard_at != probe.heard_at:
                watch.heard_after = watch.seen
            watch.heard_at, watch.seen = probe.heard_at, now
            if watch.heard_after is not None:
                watch.interval = max(0.0, now - watch.heard_after - probe.overdue)

    def distrust(self) -> None:
        """The transport's clock was set: what it knew about workers may have expired."""
        for watch in self._watches.values():
            watch.is_distrusted, watch.unmeasurable = True, None
            if watch.interval is not None and watch.interval > _LONGEST_INTERVAL_SECONDS:
                # The interval may be wrong by as much as the clock was set.
                watch.interval = None

    def _overdue(self, watch: _Watch, probe: WorkerProbe) -> float | None:
        """Seconds since a worker's next heartbeat was due: the transport's figure, whose clock may
        be set, or what was observed, whichever is more.
        """
        if probe.overdue is None or watch.due is None or self._looked is None:
            return probe.overdue
        seen = self._looked - watch.due
        return seen if watch.is_distrusted else max(probe.overdue, seen)

    def is_lost(self, batch: str, probes: Mapping[str, WorkerProbe], now: float) -> bool:
        """Whether a suspect batch has lost its worker, according to the probes.

        ``now`` is the monotonic clock, in seconds.
        """
        watch = self._watches[batch]
        if watch.beat is None:
            return True
        probe = probes.get(watch.beat.worker)
        if probe is None or not probe.connected:
            return True
        if watch.beat.job not in probe.jobs and not (watch.is_distrusted and not probe.jobs):
            return True
        return self._is_silent(watch, probe, now)

    def _is_silent(self, watch: _Watch, probe: WorkerProbe, now: float) -> bool:
        """Whether the batch and its worker have both been silent for so long that the host must be
        gone, although the transport still counts it as connected.
        """
        if probe.drop_seconds is not None and probe.drop_seconds <= self._silent_seconds:
            return False
        if watch.interval is not None and watch.interval > _LONGEST_INTERVAL_SECONDS:
            return False
        overdue = self._overdue(watch, probe)
        return (
            now - watch.changed >= self._silent_seconds
            and overdue is not None
            and overdue >= self._silent_seconds
        )

    def is_frozen(self, batch: str, probes: Mapping[str, WorkerProbe]) -> bool:
        """Whether the worker of a suspect batch that is not lost is silent, too."""
        watch = self._watches[batch]
        probe = probes.get(watch.beat.worker) if watch.beat else None
        overdue = None if probe is None else self._overdue(watch, probe)
        if overdue is None:
            return False
        if watch.interval is None:
            return overdue >= _UNKNOWN_LATE_SECONDS
        return overdue >= max(_LATE_SECONDS, _LATE_SHARE * watch.interval)

    def silent_since(self, batch: str) -> float:
        """When the beat of a batch last changed, on the monotonic clock."""
        return self._watches[batch].changed
