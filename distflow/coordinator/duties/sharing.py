"""SharingDuty: moves tasks that wait behind a long one in their batch to an idle worker."""

from __future__ import annotations

from distflow.coordinator.duties.duty import NEVER, Duty
from distflow.coordinator.mirror import RunMirror


class SharingDuty(Duty):
    """Takes back tasks that could run elsewhere.

    Args:
        mirror: the run.
    """

    def __init__(self, mirror: RunMirror) -> None:
        self._mirror = mirror

    def due(self, now: float) -> float:  # noqa: ARG002 - as all duties
        """When a batch has been silent for long."""
        at = self._mirror.outbox.silent_at
        return NEVER if at is None else at

    def act(self, now: float) -> None:
        """See :meth:`OpenBatches.share_out`."""
        self._mirror.outbox.share_out(now)
