"""Duty: one thing that a coordinator looks after while it leads a run."""

from __future__ import annotations

from abc import ABC, abstractmethod

#: A time that never comes.
NEVER = float("inf")


class Duty(ABC):
    """Says when it is due, and acts then. Times are seconds on the coordinator's monotonic clock.

    What it asks of the store may take long: it measures by the clock itself what it judges
    afterwards.
    """

    @abstractmethod
    def due(self, now: float) -> float:
        """When it is to act next: ``now`` or before for at once, :data:`NEVER` for when something
        has happened. It asks no store, and is asked at each turn of the loop.
        """

    @abstractmethod
    def act(self, now: float) -> None:
        """Do what is due.

        Raises:
            StaleEpoch: another coordinator leads the run, or Redis forgot that this one does.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to leave
        """The run is led by this coordinator no more."""
