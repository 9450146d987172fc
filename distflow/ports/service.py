"""What one coordinator of many runs asks of what holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from distflow.core.readings import (
    UnledRun,
)
from distflow.core.run import (
    Event,
)
from distflow.errors import DistflowError


class Renewal(NamedTuple):
    """A lease to be kept, and what is published with it: tasks that are queued and waiting."""

    run_id: str
    owner: str
    epoch: int
    ttl_seconds: float
    queued: int
    waiting: int


class ServicePort(Protocol):
    """What one coordinator of many runs asks of the Redis that holds them."""

    def announce(self, owner: str, ttl_seconds: float) -> None: ...
    def withdraw_announcement(self, owner: str) -> None: ...
    def list_active(self) -> set[str]: ...
    def find_unled(self, run_ids: Sequence[str]) -> dict[str, UnledRun]: ...
    def shorten_leases(self, run_ids: Sequence[str]) -> None: ...
    def renew_leases(self, renewals: Sequence[Renewal]) -> list[DistflowError | None]: ...
    def release_leases(self, owner: str, epochs: Mapping[str, int]) -> None: ...
    def read_events(
        self, after: Mapping[str, str], *, block_ms: int | None = None
    ) -> dict[str, list[Event]]: ...
