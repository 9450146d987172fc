"""RunStore on Redis."""

from __future__ import annotations

from distflow.store.redis.coordinator import LeadStore
from distflow.store.redis.creation import MakingStore
from distflow.store.redis.mending import MendingStore
from distflow.store.redis.reading import ReadingStore
from distflow.store.redis.resolving import ResolvingStore


class RedisRunStore(MakingStore, ResolvingStore, LeadStore, MendingStore, ReadingStore):
    """One run on Redis: see :class:`distflow.ports.run_store.RunStore`."""
