"""RunEnd: ends the leadership of a run when nothing is left to do, or when this process stops."""

from __future__ import annotations

from contextlib import suppress

from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.tools import Tools
from distflow.core.status import OVER_RUNS, RunStatus, TaskStatus
from distflow.errors import WrongState

#: Statuses in which a coordinator has something to do.
_LED = frozenset({RunStatus.RUNNING, RunStatus.CANCELLING})


class RunEnd:
    """Asked last at each turn. It is not a duty, since it must never act before one that is due.

    Args:
        mirror: the run.
        tools: its store.
    """

    def __init__(self, mirror: RunMirror, tools: Tools) -> None:
        self._mirror = mirror
        self._tools = tools
        #: Whether the run has ended: by this coordinator, or before it came (a resume that changes
        #: nothing: the run was on no list of active runs before).
        self.is_over = mirror.status in OVER_RUNS

    def leave(self) -> RunStatus:
        """Leave the run as it is: running tasks end by themselves, and no more are claimed."""
        mirror, tools = self._mirror, self._tools
        if tools.interrupt.hands_over:  # Workers take what is queued, until another leads it.
            return mirror.status
        # A person has cancelled the run already: the next coordinator carries that out.
        with suppress(WrongState):
            mirror.status = tools.store.set_status(
                RunStatus.INTERRUPTED,
                {RunStatus.RUNNING},
                epoch=mirror.epoch,
                reason="interrupted",
            )
        mirror.withdraw()
        tools.announcer.tell("workflow_end", status=mirror.status)
        return mirror.status

    def ask(self) -> RunStatus | None:
        """The run's status if this coordinator has nothing left to do, else None."""
        ended = self._find()
        if ended is not None:
            self._tools.announcer.tell("workflow_end", status=ended)
        return ended

    def _find(self) -> RunStatus | None:
        mirror, store = self._mirror, self._tools.store
        if mirror.status == RunStatus.PAUSED:
            # Read the status once more: a resume in this moment relies on this coordinator.
            if mirror.state.claimed or store.read_status() != RunStatus.PAUSED:
                return None
            return mirror.status
        if mirror.status not in _LED or not mirror.state.is_over:
            return None if mirror.status in _LED else mirror.status
        verdict = mirror.state.verdict(cancelled=mirror.status == RunStatus.CANCELLING)
        try:
            store.set_status(verdict, _LED, epoch=mirror.epoch)
        except WrongState:
            # Paused or cancelled in the same moment: an event will say so.
            return None
        self.is_over = verdict in OVER_RUNS
        # A decision made just before did not find the run blocked, and so did not set it running.
        if not self.is_over and self._goes_on():
            # If it was cancelled in the same moment, an event will say so.
            with suppress(WrongState):
                store.set_status(RunStatus.RUNNING, {RunStatus.BLOCKED}, epoch=mirror.epoch)
            mirror.status = store.read_status()
            return None
        return verdict

    def _goes_on(self) -> bool:
        """Whether anything can still happen by itself, once all events are read."""
        self._mirror.catch_up()
        state = self._mirror.state
        return not state.is_over or not state.counts[TaskStatus.UNKNOWN]
