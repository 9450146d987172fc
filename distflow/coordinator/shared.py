"""What the executors of one process share that leads many runs."""

from __future__ import annotations

from typing import NamedTuple

from distflow.coordinator.fleet import Surroundings
from distflow.coordinator.leases import LeaseKeeper


class Shared(NamedTuple):
    """Who leads them, what surrounds them, and who keeps their leases."""

    owner: str
    surroundings: Surroundings
    keeper: LeaseKeeper
