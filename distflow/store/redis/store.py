"""RunStore on Redis."""

from __future__ import annotations

from distflow.store.leading import LeadStore
from distflow.store.making import MakingStore
from distflow.store.mending import MendingStore
from distflow.store.reading import ReadingStore
from distflow.store.resolving import ResolvingStore


class RedisRunStore(MakingStore, ResolvingStore, LeadStore, MendingStore, ReadingStore):
    """One run on Redis: see :class:`distflow.ports.RunStore`."""
