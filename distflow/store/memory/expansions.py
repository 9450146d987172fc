"""What the growing nodes of a run in memory have added to it, and what they are writing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from distflow.core.claim import Code, Growth
from distflow.core.expansion import Expansion
from distflow.core.model import Task
from distflow.store.redis.keys import STAND_IN
from distflow.wire.codec import encode_tasks
from distflow.wire.tasks import decode_tasks


@dataclass(slots=True)
class MemoryExpansions:
    """The expansions of one run.

    Args:
        max_tasks: the run may have no more.
        max_graph_bytes: nor may the chunks of its graph.
    """

    max_tasks: int
    max_graph_bytes: int
    #: Node -> what it has added, in the order of their ``seq``.
    records: dict[str, Expansion] = field(default_factory=dict)
    #: Token -> the chunks that were written under it, by their numbers: packed.
    chunks: dict[str, dict[int, bytes]] = field(default_factory=dict)
    #: Of the chunks that count: None before the first expansion.
    graph_bytes: int | None = field(default=None, repr=False)

    def write_chunk(self, token: str, number: int, packed: bytes) -> None:
        """Write a chunk, or what an expansion stands for."""
        self.chunks.setdefault(token, {})[number] = packed

    def drop_chunks(self, token: str) -> None:
        """A claim has ended without an expansion: delete what it has written of one."""
        self.chunks.pop(token, None)

    def expand(
        self, node: str, token: str, growth: Growth, base: Iterable[Sequence[Task]], total: int
    ) -> Code | None:
        """Record an expansion, or return the code that refuses it.

        Args:
            node: that has expanded.
            token: of its claim.
            growth: what it has made.
            base: the chunks that the run was created with.
            total: how many tasks it has.
        """
        if self.graph_bytes is None:
            self.graph_bytes = sum(len(encode_tasks(tasks)) for tasks in base)
            self.graph_bytes += sum(
                len(packed)
                for record in self.records.values()
                for packed in self.chunks[record.token].values()
            )
        written = self.chunks.get(token, {})
        added = sum(map(len, written.values()))
        if (
            total + growth.children > self.max_tasks
            or self.graph_bytes + added > self.max_graph_bytes
        ):
            return Code.TOO_LARGE
        if written.keys() != {STAND_IN, *range(growth.chunks)}:
            return Code.WRONG_STATE
        self.graph_bytes += added
        self.records[node] = Expansion(token, len(self.records) + 1, *growth)
        return None

    def has_all(self, records: Iterable[tuple[str, str]]) -> bool:
        """Whether all of these pairs of a node and a token are recorded."""
        return all(
            (record := self.records.get(node)) is not None and record.token == token
            for node, token in records
        )

    def read_chunk(self, token: str, number: int) -> list[Task] | None:
        """The tasks of a chunk; None if it is not there."""
        packed = self.chunks.get(token, {}).get(number)
        return None if packed is None else decode_tasks(packed)

    def read_stand_in(self, token: str) -> bytes | None:
        """What an expansion stands for; None if it is not there."""
        return self.chunks.get(token, {}).get(STAND_IN)
