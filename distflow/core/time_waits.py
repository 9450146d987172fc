"""TimeWaits: the tasks of a run that wait for a time, the next one first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class TimeWaits:
    """Tasks that wait for a time: a retry's backoff, a loop's interval. Each is a wait of kind
    ``time`` (see ``waits.py``), stored as two numbers, since there may be a million: the task's
    index, and when it is due, in ms on the caller's clock.
    """

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        #: (due in ms, index); entries may be stale.
        self._heap: list[tuple[int, int]] = []
        self._due: dict[int, int] = {}

    def __contains__(self, index: int) -> bool:
        """Whether the task waits for a time."""
        return index in self._due

    def items(self) -> dict[int, int]:
        """When each task is due, by index."""
        return dict(self._due)

    def add(self, index: int, due_ms: int) -> None:
        """The task waits until then; this replaces an earlier time."""
        self._due[index] = due_ms
        heapq.heappush(self._heap, (due_ms, index))

    def drop(self, index: int) -> None:
        """The task no longer waits for a time."""
        self._due.pop(index, None)

    def next_due(self) -> int | None:
        """When the next task is due; None if none waits."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now_ms: int) -> Iterator[int]:
        """Remove and return the tasks whose time has come, earliest first."""
        heap, due = self._heap, self._due
        while heap and heap[0][0] <= now_ms:
            due_ms, index = heapq.heappop(heap)
            if due.get(index) == due_ms:
                del due[index]
                yield index
