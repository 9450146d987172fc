"""Taking ready tasks one by one, as batches do."""

from __future__ import annotations

from distflow.core.state import TaskStateManager


def take_ready(state: TaskStateManager, queue: str, limit: int) -> list[int]:
    """At most ``limit`` ready tasks of a queue, the best first."""
    ready = state.ready(queue)
    taken: list[int] = []
    while len(taken) < limit and ready.peek() is not None:
        taken.append(ready.pop())
    return taken
