"""Everything that is asked of the store of a run."""

from __future__ import annotations

from typing import Protocol

from distflow.ports.coordinator import CoordinatorPort
from distflow.ports.creation import CreationPort
from distflow.ports.reading import ReadingPort
from distflow.ports.resolving import ResolvingPort
from distflow.ports.worker import WorkerPort


class RunStore(WorkerPort, CreationPort, ResolvingPort, CoordinatorPort, ReadingPort, Protocol):
    """One run, of the id ``run_id``.

    It answers with encoded TaskResults (``bytes``): what is only passed on is never decoded. Every
    transition is atomic, and idempotent under a lost reply: its caller makes the token or the
    operation id, and keeps it over its retries. Times are those of the server's clock.

    Each method raises RedisUnavailable where the server stays away for longer than the store is
    patient, and RedisRefuses, one of these, where it has no room for what the call adds. What ends,
    stops or decides something is taken by a full server too.
    """
