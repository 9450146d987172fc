"""WriteProbe: whether Redis takes writes. While it does not, readers see old beats."""

from __future__ import annotations

from distflow.clock import Clock
from distflow.ports.run_store import RunStore

#: A write that Redis refused at first takes at least this many seconds: the first pause of a
#: patient store.
_PROMPT_SECONDS = 0.2

#: Up to this many late writes in a row count as refusals; after more, Redis is just slow.
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
        #: How many of the latest writes in a row were slow.
        self._late_in_a_row = 0

    def takes_writes(self) -> bool:
        """Whether Redis takes a write at once. A Redis that paused or refused only writes has kept
        answering readers with old beats: workers need time to be heard again.
        """
        began = self._clock.monotonic()
        self._store.trim_events(self._epoch, "0-0")
        is_late = self._clock.monotonic() - began >= _PROMPT_SECONDS
        self._late_in_a_row = self._late_in_a_row + 1 if is_late else 0
        return not 1 <= self._late_in_a_row <= _REFUSED_IN_A_ROW
