"""A run whose graph gets more tasks between two looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distflow.core.model import Task
from distflow.store.memory.store import MemoryRunStore
from tests.support.stores import make_spec


class GrowingStore(MemoryRunStore):
    """A run that nobody leads, of these tasks to begin with."""

    def __init__(self, *names: str) -> None:
        super().__init__("run-1")
        #: The chunk that comes just before the graph is read next.
        self.coming: Sequence[str] = ()
        self.create_run(make_spec(), "creation", [Task(name, "m:f") for name in names])

    def grow(self, *names: str) -> None:
        """Write a chunk of further tasks."""
        run = self.server.runs[self.run_id]
        with self.server.changed:
            run.graph[len(run.graph)] = [Task(name, "m:f") for name in names]
            run.total += len(names)

    def iter_tasks(self, start: int = 0) -> Iterator[list[Task]]:
        """The graph, with what comes just now."""
        if self.coming:
            self.grow(*self.coming)
            self.coming = ()
        yield from super().iter_tasks(start)
