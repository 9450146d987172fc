"""RunStore on Redis."""

from __future__ import annotations

from typing import Any

from distflow.store.keys import DEFAULT_PREFIX, runs_key
from distflow.store.leading import LeadStore
from distflow.store.making import MakingStore
from distflow.store.mending import MendingStore
from distflow.store.reading import ReadingStore
from distflow.store.resolving import ResolvingStore


class RedisRunStore(MakingStore, ResolvingStore, LeadStore, MendingStore, ReadingStore):
    """One run on Redis: see :class:`distflow.ports.RunStore`."""


def list_runs(client: Any, prefix: str = DEFAULT_PREFIX) -> list[str]:
    """Every run id, oldest first."""
    return [
        run_id.decode(errors="backslashreplace")
        for run_id in client.zrange(runs_key(prefix), 0, -1)
    ]
