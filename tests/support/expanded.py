"""A run as gathering reads it: outcomes and expansions, in memory, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distflow.core.expansion import Expansion
from distflow.core.model import Expanded, TaskResult
from distflow.core.status import TaskStatus
from distflow.wire.codec import encode_result, status_of
from distflow.wire.gathering import StandIn, gather


class Recorded:
    """What is recorded of a run."""

    def __init__(self) -> None:
        self.outcomes: dict[str, bytes] = {}
        self.expansions: dict[str, tuple[Expansion, bytes]] = {}
        #: The names whose results were fetched.
        self.fetched: list[str] = []

    def record(self, name: str, data: Any = None, status: TaskStatus = TaskStatus.SUCCESS) -> None:
        """A task has ended."""
        self.outcomes[name] = encode_result(TaskResult(status, data=data))

    def expand(self, node: str, stand_in: StandIn, token: str = "t") -> None:
        """A node has expanded."""
        self.expansions[node] = Expansion(token, 1, 1, stand_in.total, ()), stand_in.encode()
        self.record(node, Expanded(token, stand_in.total))

    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]:
        """As a store does."""
        self.fetched += names
        return [self.outcomes.get(name) for name in names]

    def fetch_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        """As a store does."""
        found = map(self.outcomes.get, names)
        return [None if packed is None else status_of(packed) for packed in found]

    def fetch_expansion(self, node: str) -> tuple[Expansion, bytes] | None:
        """As a store does."""
        return self.expansions.get(node)

    def value(self, name: str) -> Any:
        """What a task stands for."""
        return gather(name, self.outcomes[name], self)
