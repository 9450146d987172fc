"""What the growing nodes of a run in memory have added to it, and what they are writing."""

from __future__ import annotations

from dataclasses import dataclass, field

from distflow.core.expansion import Expansion
from distflow.core.model import Task
from distflow.store.redis.keys import STAND_IN
from distflow.wire.tasks import decode_tasks


@dataclass(slots=True)
class MemoryExpansions:
    """The expansions of one run."""

    #: Node -> what it has added, in the order of their ``seq``.
    records: dict[str, Expansion] = field(default_factory=dict)
    #: Token -> the chunks that were written under it, by their numbers: packed.
    chunks: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def read_chunk(self, token: str, number: int) -> list[Task] | None:
        """The tasks of a chunk; None if it is not there."""
        packed = self.chunks.get(token, {}).get(number)
        return None if packed is None else decode_tasks(packed)

    def read_stand_in(self, token: str) -> bytes | None:
        """What an expansion stands for; None if it is not there."""
        return self.chunks.get(token, {}).get(STAND_IN)
