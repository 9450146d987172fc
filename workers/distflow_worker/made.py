"""What a growing node has made, on its way to the store."""

from __future__ import annotations

from typing import NamedTuple

from distflow.core.claim import Growth


class Made(NamedTuple):
    """The tasks that a growing node has made: packed, in chunks, and what it stands for."""

    chunks: tuple[bytes, ...]
    stand_in: bytes
    children: int
    queues: tuple[str, ...]

    @property
    def growth(self) -> Growth:
        """What is recorded of it."""
        return Growth(len(self.chunks), self.children, self.queues)
