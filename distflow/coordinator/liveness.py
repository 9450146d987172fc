"""Which batches have lost their worker: judged by changes seen on this coordinator's own clock.

A beat that stands still is not enough: a task may hold the interpreter lock, and Redis may have
been away. The worker must be gone as well: no process of it is connected, or it says that it
works on something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distflow.core.run import Beat
from distflow.ports import WorkerProbe

#: Batches that must go silent together before the network is suspected.
_MANY = 3


@dataclass(slots=True)
class _Watch:
    beat: Beat | None
    #: When it last changed, on the coordinator's monotonic clock.
    changed: float


class LivenessMonitor:
    """Watches the beats of a run's batches.

    Args:
        stale_seconds: a beat that did not change for so long is suspect.
        network_seconds: how much longer to wait where most batches are suspect at once.
    """

    def __init__(self, stale_seconds: float, network_seconds: float) -> None:
        self._stale_seconds = stale_seconds
        self._network_seconds = network_seconds
        self._watches: dict[str, _Watch] = {}
        self._silence: float | None = None

    def observe(self, beats: Mapping[str, Beat | None], now: float) -> None:
        """Take note of the batches at work; None for one that claims but does not beat.

        ``now`` is the monotonic clock, in seconds. A pause of this coordinator counts for no
        batch: everything is seen afresh after it.
        """
        for batch in self._watches.keys() - beats.keys():
            del self._watches[batch]
        for batch, beat in beats.items():
            watch = self._watches.get(batch)
            if watch is None or watch.beat != beat:
                self._watches[batch] = _Watch(beat, now)

    def forget(self) -> None:
        """Start afresh: what was seen before is no evidence any more."""
        self._watches.clear()
        self._silence = None

    def suspects(self, now: float) -> dict[str, str]:
        """The batches whose beat is stale, each with its worker's name (empty: unknown).

        Where most batches are silent at once, they are held back for a while.
        """
        found = {
            batch: watch.beat.worker if watch.beat else ""
            for batch, watch in self._watches.items()
            if now - watch.changed >= self._stale_seconds
        }
        if len(found) >= _MANY and len(found) * 2 > len(self._watches):
            if self._silence is None:
                self._silence = now
            if now - self._silence < self._network_seconds:
                return {}
        else:
            self._silence = None
        return found

    def is_lost(self, batch: str, probes: Mapping[str, WorkerProbe]) -> bool:
        """Whether a suspect batch has lost its worker, by what the transport says of it."""
        watch = self._watches[batch]
        if watch.beat is None:
            return True
        probe = probes.get(watch.beat.worker)
        return probe is None or not probe.connected or probe.job != watch.beat.job
