"""ReadyQueue: the tasks of one queue that may run now, best first."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import islice

from distflow.core.status import TaskStatus

#: The low bits of a key that hold the task's index; the priority is above them.
_INDEX_BITS = 40
_INDEX_MASK = (1 << _INDEX_BITS) - 1


def sort_key(priority: int, index: int) -> int:
    """A key that sorts tasks by higher priority, then by order of definition. One number takes half
    the memory of a pair, and there may be a million.
    """
    return (-priority << _INDEX_BITS) + index


def index_of(key: int) -> int:
    """The task's index from a key."""
    return key & _INDEX_MASK


class ReadyQueue:
    """A heap with stale entries: a task that is no longer ready is skipped.

    Args:
        statuses: of the run's tasks, by index.
    """

    __slots__ = ("_heap", "_listed", "_statuses")

    def __init__(self, statuses: Sequence[TaskStatus]) -> None:
        self._statuses = statuses
        self._heap: list[int] = []
        #: The tasks that have an entry; each has one at most.
        self._listed: set[int] = set()

    def add(self, key: int) -> None:
        """Add a task that has become ready."""
        if key not in self._listed:
            self._listed.add(key)
            heapq.heappush(self._heap, key)

    def peek(self) -> int | None:
        """The key of the best task; None if there is none."""
        heap = self._heap
        while heap:
            if self._statuses[heap[0] & _INDEX_MASK] == TaskStatus.READY:
                return heap[0]
            self._listed.discard(heapq.heappop(heap))
        return None

    def pop(self) -> int:
        """Remove the best task and return its index."""
        key = heapq.heappop(self._heap)
        self._listed.discard(key)
        return key & _INDEX_MASK

    def __len__(self) -> int:
        """Roughly how many tasks there are: stale entries count."""
        return len(self._heap)

    def sample(self, size: int) -> list[int]:
        """The indices of some ready tasks."""
        return [key & _INDEX_MASK for key in islice(self._heap, size)]
