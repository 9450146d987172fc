"""RunStore on Redis."""

from __future__ import annotations

from distflow.ports.run_store import RunStore
from distflow.store.redis.coordinator import CoordinatorStore
from distflow.store.redis.creation import CreationStore
from distflow.store.redis.reading import ReadingStore
from distflow.store.redis.resolving import ResolvingStore


class RedisRunStore(CreationStore, ResolvingStore, CoordinatorStore, ReadingStore, RunStore):
    """One run on Redis."""
