"""What the runs of one client have in common."""

from __future__ import annotations

from functools import cached_property

from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.batching import BatchLimits, Estimates
from distflow.events.hub import EventHub
from distflow.ports.backend import Backend


class Engine:
    """Where runs live, and how they are led from here.

    Args:
        backend: where they live.
        settings: how they are coordinated; None takes those of the environment.
    """

    def __init__(self, backend: Backend, settings: CoordinatorSettings | None = None) -> None:
        self.backend = backend
        self.settings = settings or CoordinatorSettings.from_environment()
        #: What functions cost, as measured in the runs led from here.
        self.estimates = Estimates(BatchLimits())

    @cached_property
    def impatient(self) -> Backend:
        """The backend for reading without waiting: it tries every call once."""
        return self.backend.with_patience(0.0)

    @cached_property
    def hub(self) -> EventHub:
        """Hands out the events of every run led from here: to the plugins of installed packages,
        and to whatever else is registered.
        """
        hub = EventHub()
        hub.use_installed()
        return hub
