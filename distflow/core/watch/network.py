"""NetworkWatch: suspects the network before the workers if most batches go silent together."""

from __future__ import annotations

#: How many batches must be silent together before the network is suspected.
_MANY = 3


class NetworkWatch:
    """Counts the batches of all runs of a coordinator, and how many of them are silent.

    Args:
        patience_seconds: how long batches that went silent together are not judged.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        #: Run id -> how many batches are running, and how many of them are silent.
        self._counts: dict[str, tuple[int, int]] = {}
        self._watched = 0
        self._silent = 0
        #: Since when most are silent, on the monotonic clock.
        self._since: float | None = None

    def is_suspect(self, run_id: str, watched: int, silent: int, now: float) -> bool:
        """Take in the counts of a run; returns whether no worker may be judged now."""
        self._replace(run_id, (watched, silent))
        if not self._most_are_silent():
            return False
        if self._since is None:
            self._since = now
        return now - self._since < self._patience_seconds

    def leave(self, run_id: str) -> None:
        """Forget a run: it is no longer watched, or watched afresh."""
        self._replace(run_id, None)
        self._most_are_silent()

    def _replace(self, run_id: str, counts: tuple[int, int] | None) -> None:
        watched, silent = self._counts.pop(run_id, (0, 0))
        self._watched -= watched
        self._silent -= silent
        if counts is not None:
            self._counts[run_id] = counts
            self._watched += counts[0]
            self._silent += counts[1]

    def _most_are_silent(self) -> bool:
        found = self._silent >= _MANY and self._silent * 2 > self._watched
        if not found:
            self._since = None
        return found
