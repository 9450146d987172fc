"""DeadlineDuty: cancels a run that times out, or that a signal in this process cancels."""

from __future__ import annotations

from contextlib import suppress

from distflow.coordinator.duties.duty import NEVER, Duty
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.tools import Tools
from distflow.core.status import RunStatus
from distflow.errors import WrongState


class DeadlineDuty(Duty):
    """Begins a cancellation. A coordinator that is interrupted leaves this to the next one.

    Args:
        mirror: the run.
        tools: its store, and the signals of this process.
    """

    def __init__(self, mirror: RunMirror, tools: Tools) -> None:
        self._mirror = mirror
        self._tools = tools
        #: No second try before this: if the first one failed, an event will say why.
        self._again_at = float("-inf")

    def due(self, now: float) -> float:
        """When the run times out; at once when the signal is set."""
        mirror = self._mirror
        if mirror.status != RunStatus.RUNNING or self._tools.interrupt.is_set():
            return NEVER
        at = now if self._is_cancelled else mirror.deadline
        return NEVER if at is None else max(at, self._again_at)

    def act(self, now: float) -> None:
        """Cancel the run."""
        mirror, settings = self._mirror, self._tools.settings
        self._again_at = now + settings.tick_seconds
        if self._is_cancelled:
            reason = "cancelled by a signal"
        else:
            reason = f"timed out after {mirror.info.options.timeout:g} s"
        # If the run was paused in the same moment, an event will say so.
        with suppress(WrongState):
            mirror.status = self._tools.store.set_status(
                RunStatus.CANCELLING,
                {RunStatus.RUNNING},
                epoch=mirror.epoch,
                reason=reason,
                grace_seconds=settings.grace_seconds,
            )

    @property
    def _is_cancelled(self) -> bool:
        return self._tools.cancel is not None and self._tools.cancel.is_set()
