"""Silence: when each open batch was last heard of, and which have been silent for long."""

from __future__ import annotations


class Silence:
    """A batch that has begun and has been silent for a while is at a long task.

    Times are seconds on the caller's monotonic clock.

    Args:
        seconds: of silence, after which to check whether other tasks wait behind that one.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: When a batch was first and last heard of.
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        #: When to check a batch next.
        self._looks: dict[str, float] = {}

    def note(self, batch_id: str, now: float, *, watches: bool) -> bool:
        """A batch was heard of; returns whether for the first time. ``watches`` is false if no task
        can wait in it.
        """
        is_first = batch_id not in self._first
        if is_first:
            self._first[batch_id] = now
        self._last[batch_id] = now
        if watches:
            self._looks[batch_id] = now + self._seconds
        return is_first

    def __contains__(self, batch_id: str) -> bool:
        """Whether a batch was heard of at all."""
        return batch_id in self._first

    def since(self, batch_id: str) -> float:
        """When a batch was last heard of."""
        return self._last[batch_id]

    def span(self, batch_id: str) -> float:
        """Seconds between the first and the last news of a batch."""
        return self._last[batch_id] - self._first[batch_id]

    def find_due(self, now: float) -> list[str]:
        """The batches to check now."""
        return [batch_id for batch_id, at in self._looks.items() if at <= now]

    def look_again(self, batch_id: str, at: float | None) -> None:
        """Check a batch then; with None, only after new news of it and another silence."""
        if at is None:
            del self._looks[batch_id]
        else:
            self._looks[batch_id] = at

    def forget(self, batch_id: str) -> None:
        """A batch is no longer out. The others are checked again: a worker may be idle now."""
        for known in (self._first, self._last, self._looks):
            known.pop(batch_id, None)
        for other in self._looks:
            self._looks[other] = self._last[other] + self._seconds

    @property
    def due(self) -> float | None:
        """When the next check is due; None for never."""
        return min(self._looks.values(), default=None)
