"""How many copies of a batch go to a queue that swallows its entries: pure policy.

Redis hands an entry to whoever has waited longest for it, also to a worker whose host is gone: its
connection still waits there. Each such phantom swallows one entry. One batch after another would
take as many rounds as there are phantoms; twice as many copies in each round take the logarithm of
that. One worker begins the batch, and the others leave it to that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

#: Beyond this the workers bound what is sent.
_MOST_DOUBLINGS = 16


class CopyCounter:
    """Counts, for each queue, the rounds in a row in which entries vanished before a worker began
    them. Times are on the monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._rounds: Counter[str] = Counter()
        #: Queue -> when its last round was counted.
        self._counted_at: dict[str, float] = {}
        #: Copies that are out beyond the first of each batch, by queue.
        self._spare: Counter[str] = Counter()

    def note_vanished(self, queue: str, sent_at: float, now: float) -> None:
        """A batch has vanished. Of all that were sent before the last count, one counts."""
        if sent_at >= self._counted_at.get(queue, float("-inf")):
            self._rounds[queue] += 1
            self._counted_at[queue] = now

    def note_begun(self, queue: str) -> None:
        """A worker got an entry: nobody waited before it."""
        self._rounds.pop(queue, None)

    def take(self, queue: str, count_workers: Callable[[str], int]) -> int:
        """How many copies of the next batch are to be sent; they are out until they are given back.

        Args:
            queue: where to.
            count_workers: asked, where it matters, how many workers of a queue are registered and
                connected, phantoms included: no more can swallow anything.
        """
        rounds = self._rounds[queue]
        if not rounds:
            return 1
        room = count_workers(queue) - 1 - self._spare[queue]
        spare = max(0, min((1 << min(rounds, _MOST_DOUBLINGS)) - 1, room))
        self._spare[queue] += spare
        return 1 + spare

    def give_back(self, queue: str, copies: int) -> None:
        """A batch of so many copies is over."""
        self._spare[queue] -= copies - 1
