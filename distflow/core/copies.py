"""How many copies of a batch to send to a queue that loses its entries: pure policy.

Redis hands an entry to the connection that has waited longest, even if the host behind it is gone.
Each such phantom swallows one entry. Sending one copy at a time would take as many rounds as there
are phantoms; doubling the copies each round takes the logarithm of that. One worker begins the
batch, and the others drop their copies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

#: After this many doublings, only the number of workers limits the copies.
_MOST_DOUBLINGS = 16


class CopyCounter:
    """Counts, per queue, the rounds in a row in which entries vanished before a worker began them.
    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._rounds: Counter[str] = Counter()
        #: Queue -> when its last round was counted.
        self._counted_at: dict[str, float] = {}
        #: Extra copies that are out, beyond the first of each batch, by queue.
        self._spare: Counter[str] = Counter()

    def note_vanished(self, queue: str, sent_at: float, now: float) -> None:
        """A batch has vanished. Batches that were sent before the last count do not count again."""
        if sent_at >= self._counted_at.get(queue, float("-inf")):
            self._rounds[queue] += 1
            self._counted_at[queue] = now

    def note_begun(self, queue: str) -> None:
        """A worker got an entry: no phantom was ahead of it."""
        self._rounds.pop(queue, None)

    def take(self, queue: str, count_workers: Callable[[str], int]) -> int:
        """How many copies of the next batch to send; they are out until given back.

        Args:
            queue: the queue they go to.
            count_workers: called if needed; returns how many workers of a queue are registered and
                connected, phantoms included: no more than these can swallow entries.
        """
        rounds = self._rounds[queue]
        if not rounds:
            return 1
        room = count_workers(queue) - 1 - self._spare[queue]
        spare = max(0, min((1 << min(rounds, _MOST_DOUBLINGS)) - 1, room))
        self._spare[queue] += spare
        return 1 + spare

    def give_back(self, queue: str, copies: int) -> None:
        """A batch with this many copies has ended."""
        self._spare[queue] -= copies - 1
