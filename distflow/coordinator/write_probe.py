"""Whether Redis takes writes: one that takes none shows old beats to whoever reads."""

from __future__ import annotations

from distflow.clock import Clock
from distflow.ports.run_store import RunStore

#: Seconds that a write takes at least which Redis has refused at first: the first pause of a store
#: that is patient.
_PROMPT_SECONDS = 0.2

#: Writes in a row that may be late by refusals; where more are, Redis is slow, and nothing else.
_REFUSED_IN_A_ROW = 3


class WriteProbe:
    """Asked before anybody is judged by silence.

    Args:
        store: the run.
        epoch: the coordinator's.
        clock: measures how long a write takes.
    """

    def __init__(self, store: RunStore, epoch: int, clock: Clock) -> None:
        self._store = store
        self._epoch = epoch
        self._clock = clock
        #: Writes that took long, and none that did not since.
        self._late_in_a_row = 0

    def takes_writes(self) -> bool:
        """Whether Redis takes at once something that writes. One that was paused for that alone, or
        that refused it, has answered who reads, and shows old beats: workers must have the time to
        be heard again.
        """
        began = self._clock.monotonic()
        self._store.trim_events(self._epoch, "0-0")
        is_late = self._clock.monotonic() - began >= _PROMPT_SECONDS
        self._late_in_a_row = self._late_in_a_row + 1 if is_late else 0
        return not 1 <= self._late_in_a_row <= _REFUSED_IN_A_ROW
