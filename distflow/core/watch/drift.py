"""DriftWatch: compares what the store has with what the coordinator knows, to find lost events."""

from __future__ import annotations

from distflow.core.run import Vitals, event_order
from distflow.core.state import TaskStateManager
from distflow.core.status import OUTCOMES, RunStatus, TaskStatus


class DriftWatch:
    """Finds outcomes, decisions and ended claims that no event reported: somebody trimmed or
    deleted the stream, or Redis came back with other data. A new claim without an event is no loss:
    an event will report its end.

    Args:
        patience_seconds: how long the store and the coordinator must differ. What the coordinator
            has decided and not yet written differs only briefly.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._since: float | None = None
        #: The difference that remained after everything was read again; not reported twice.
        self._settled: tuple[int, int, int, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether they differ, but not for long enough yet."""
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
            last_event: the last applied event.
            now: the monotonic clock, in seconds.
        """
        known = sum(state.counts[outcome] for outcome in OUTCOMES)
        differs = (
            vitals.outcomes - known,
            # A decision changes an outcome, and adds none.
            vitals.unknown - state.counts[TaskStatus.UNKNOWN],
            min(0, vitals.claims - state.claimed),
            vitals.expansions - len(state.graph.grown_nodes()),
        )
        behind = event_order(vitals.newest_event) > event_order(last_event)
        same = differs in ((0, 0, 0, 0), self._settled) and vitals.status in (status.value, "")
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
