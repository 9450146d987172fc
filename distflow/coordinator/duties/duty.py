"""Duty: one thing that a coordinator looks after while it leads a run."""

from __future__ import annotations

from abc import ABC, abstractmethod

#: A time that never comes.
NEVER = float("inf")


class Duty(ABC):
    """Says when it is due, and acts then. Times are seconds on the coordinator's monotonic clock.

    A call to the store may take long. A duty that judges by time after such a call reads the clock
    again.
    """

    @abstractmethod
    def due(self, now: float) -> float:
        """When the duty acts next: ``now`` or earlier means at once, :data:`NEVER` means not before
        something happens. Called at each turn of the loop, so it makes no call to the store.
        """

    @abstractmethod
    def act(self, now: float) -> None:
        """Do what is due.

        Raises:
            StaleEpoch: another coordinator leads the run, or Redis forgot that this one does.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to leave
        """This coordinator no longer leads the run."""
