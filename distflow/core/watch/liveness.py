"""Which batches have lost their worker: judged by changes seen on this coordinator's own clock.

A beat that stands still is not enough: a task may hold the interpreter lock, and Redis may have
been away. The worker must be gone as well (no process of it is connected, or it says that it
works on something else), or silent towards its transport too: then it is frozen, or its host is
gone. A transport that drops the connections of such a host soon tells these apart; where it does
not, one that is silent for long is taken for lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distflow.core.readings import WorkerProbe
from distflow.core.run import Beat
from distflow.core.watch.network import NetworkWatch

#: The share of ``stale_seconds`` after which a silent batch counts towards the silence of the
#: network: all that went silent at once are counted before the first is judged.
_COUNTED_SHARE = 2 / 3

#: A heartbeat is late if it is overdue by half the interval between two of them, and so much at
#: least, in seconds: a busy host is slow.
_LATE_SHARE = 0.5
_LATE_SECONDS = 2.0

#: The same where the interval is unknown: half of RQ's default.
_UNKNOWN_LATE_SECONDS = 15.0

#: A worker whose heartbeats are further apart sends none while it works: its silence says nothing.
_LONGEST_INTERVAL_SECONDS = 60.0


@dataclass(slots=True)
class _Watch:
    beat: Beat | None
    #: When it last changed, on the coordinator's monotonic clock.
    changed: float
    #: A time before which its worker's last heartbeat was not sent; None where it is unknown.
    heard_after: float | None
    #: The last heartbeat that was seen, and when.
    heard_at: float = 0.0
    seen: float = 0.0
    #: Seconds between two heartbeats of its worker; None while they are unknown.
    interval: float | None = None
    #: When the heartbeat after the last that was seen is due, on the coordinator's monotonic clock.
    due: float | None = None
    #: Whether the transport's clock was set: it may have forgotten the worker.
    is_distrusted: bool = False
    #: The heartbeat that was the last when it was set: nothing can be told of it.
    unmeasurable: float | None = None


class LivenessMonitor:
    """Watches the beats of a run's batches.

    Args:
        run_id: the run.
        stale_seconds: a beat that did not change for so long is suspect.
        silent_seconds: a worker that is silent for so long is lost, unless it must be connected.
        network: told how many batches are silent; shared with other runs.
    """

    def __init__(
        self, run_id: str, stale_seconds: float, silent_seconds: float, network: NetworkWatch
    ) -> None:
        self._run_id = run_id
        self._stale_seconds = stale_seconds
        self._silent_seconds = silent_seconds
        self._network = network
        self._watches: dict[str, _Watch] = {}
        #: When the monitor looked last; None before, and after a pause.
        self._looked: float | None = None

    def observe(self, beats: Mapping[str, Beat | None], now: float) -> None:
        """Take note of the batches at work; None for one that claims but does not beat.

        ``now`` is the monotonic clock, in seconds.
        """
        for batch in self._watches.keys() - beats.keys():
            del self._watches[batch]
        for batch, beat in beats.items():
            watch = self._watches.get(batch)
            if watch is None:
                # RQ sends a heartbeat when it takes a job up: not before the last look, then.
                self._watches[batch] = _Watch(beat, now, self._looked)
            elif watch.beat != beat:
                watch.beat, watch.changed = beat, now
        self._looked = now

    @property
    def is_watching(self) -> bool:
        """Whether there are batches that it knows of."""
        return bool(self._watches)

    def rest(self, now: float) -> None:
        """There is nothing to watch: what begins later is sent later than this."""
        if self._watches:
            self.forget()
        self._looked = now

    def forget(self) -> None:
        """Start afresh: what was seen before is no evidence any more."""
        self._watches.clear()
        self._looked = None
        self._network.leave(self._run_id)

    def suspects(self, now: float) -> dict[str, str]:
        """The batches whose beat is stale, each with its worker's name (empty: unknown).

        Where most batches are silent at once, they are held back for a while.
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
        """The workers to be probed, so that it is known how often each sends a heartbeat: those of
        batches that have outlasted a look.
        """
        return {
            watch.beat.worker
            for watch in self._watches.values()
            if watch.beat and watch.interval is None and now > watch.changed
        }

    def measure(self, probes: Mapping[str, WorkerProbe], now: float) -> None:
        """Learn from what the transport says how often workers send heartbeats."""
        for watch in self._watches.values():
            probe = probes.get(watch.beat.worker) if watch.beat else None
            if probe is None or probe.overdue is None:
                continue
            if watch.due is None or watch.heard_at != probe.heard_at:
                # The transport's clock may be set: no heartbeat is due later than the next one, nor
                # was before that one was sent.
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
        """The transport's clock was set: what it knew of the workers may have expired."""
        for watch in self._watches.values():
            watch.is_distrusted, watch.unmeasurable = True, None
            if watch.interval is not None and watch.interval > _LONGEST_INTERVAL_SECONDS:
                # It may be by so much that the clock was set.
                watch.interval = None

    def _overdue(self, watch: _Watch, probe: WorkerProbe) -> float | None:
        """The seconds since a worker's next heartbeat was due. The transport tells, by a clock that
        may be set; what was seen of it is at least as much.
        """
        if probe.overdue is None or watch.due is None or self._looked is None:
            return probe.overdue
        seen = self._looked - watch.due
        return seen if watch.is_distrusted else max(probe.overdue, seen)

    def is_lost(self, batch: str, probes: Mapping[str, WorkerProbe], now: float) -> bool:
        """Whether a suspect batch has lost its worker, by what the transport says of it.

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
        """Whether neither the batch nor its worker was heard of for so long that its host must be
        taken for gone: the transport would believe for longer that it is connected.
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
        """Whether the worker of a suspect batch, which is not lost, is silent as well."""
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
