"""What a run's store has, against what its coordinator knows: events may be lost."""

from __future__ import annotations

from distflow.core.run import Vitals, event_order
from distflow.core.state import TaskStateManager
from distflow.core.status import OUTCOMES, RunStatus, TaskStatus


class DriftWatch:
    """Finds outcomes, decisions and ends of claims of which no event told: somebody has trimmed or
    deleted the stream, or Redis came back with other data. A claim of which none told is no loss:
    its end will be told.

    Args:
        patience_seconds: how long the store and the coordinator must differ. What this one has
            decided and not yet written is no difference for long.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._since: float | None = None
        #: By how much the store differs from what is known, where reading all again has not helped.
        self._settled: tuple[int, int, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether they differ, and not for long enough yet."""
        return self._since is not None

    def look(
        self,
        vitals: Vitals,
        state: TaskStateManager,
        status: RunStatus,
        last_event: str,
        now: float,
    ) -> bool:
        """Whether events must have been lost.

        Args:
            vitals: what the store has.
            state: what is known of the tasks.
            status: of the run, as it is known.
            last_event: the newest that was applied.
            now: the monotonic clock, in seconds.
        """
        known = sum(state.counts[outcome] for outcome in OUTCOMES)
        differs = (
            vitals.outcomes - known,
            # A decision makes no new outcome.
            vitals.unknown - state.counts[TaskStatus.UNKNOWN],
            min(0, vitals.claims - state.claimed),
        )
        behind = event_order(vitals.newest_event) > event_order(last_event)
        same = differs in ((0, 0, 0), self._settled) and vitals.status in (status.value, "")
        if same:
            self._since = None
        if behind or same:
            return False
        if self._since is None:
            self._since = now
        if now - self._since < self._patience_seconds:
            return False
        self._since = None
        self._settled = differs
        return True
