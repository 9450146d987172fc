"""Silence: what is heard of the batches that are out, and which have been silent for long."""

from __future__ import annotations


class Silence:
    """A batch that has begun, and of which nothing was told for a while, is at a long task.

    Times are seconds on the caller's monotonic clock.

    Args:
        seconds: of silence, after which it is to be looked whether others wait for that task.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: When something was told of a batch first, and last.
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        #: When to look next.
        self._looks: dict[str, float] = {}

    def note(self, batch_id: str, now: float, *, watches: bool) -> bool:
        """Something was told of a batch; returns whether it is the first. Where nobody can wait in
        it there is nothing to watch.
        """
        is_first = batch_id not in self._first
        if is_first:
            self._first[batch_id] = now
        self._last[batch_id] = now
        if watches:
            self._looks[batch_id] = now + self._seconds
        return is_first

    def __contains__(self, batch_id: str) -> bool:
        """Whether anything was told of a batch."""
        return batch_id in self._first

    def since(self, batch_id: str) -> float:
        """When something was told of a batch last."""
        return self._last[batch_id]

    def span(self, batch_id: str) -> float:
        """Seconds between the first and the last that was told of a batch."""
        return self._last[batch_id] - self._first[batch_id]

    def find_due(self, now: float) -> list[str]:
        """The batches that are to be looked at."""
        return [batch_id for batch_id, at in self._looks.items() if at <= now]

    def look_again(self, batch_id: str, at: float | None) -> None:
        """Look at a batch then; with None when it was silent again, once more is told of it."""
        if at is None:
            del self._looks[batch_id]
        else:
            self._looks[batch_id] = at

    def forget(self, batch_id: str) -> None:
        """A batch is out no more; the others are looked at again, since a worker may idle now."""
        for known in (self._first, self._last, self._looks):
            known.pop(batch_id, None)
        for other in self._looks:
            self._looks[other] = self._last[other] + self._seconds

    @property
    def due(self) -> float | None:
        """When to look; None for never."""
        return min(self._looks.values(), default=None)
