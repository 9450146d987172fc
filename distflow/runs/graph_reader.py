"""GraphReader: reads the graph of a run once, and later only the tasks that were added."""

from __future__ import annotations

import threading
from itertools import chain

from distflow.core.graph import Graph
from distflow.ports.run_store import RunStore


class GraphReader:
    """Reads the graph of a run and keeps it; usable on any thread.

    Chunks of a graph never change, and new ones are appended: no chunk is read twice.

    Args:
        store: that of the run.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._chunks = 0
        self._graph: Graph | None = None

    def read(self) -> Graph:
        """The graph as it is now. The next answer may be longer: take a length, and what is counted
        by it, from the same answer.
        """
        with self._lock:
            chunks = list(self._store.iter_tasks(start=self._chunks))
            if self._graph is None or chunks:
                known = self._graph.tasks if self._graph else ()
                self._graph = Graph.compile([*known, *chain.from_iterable(chunks)])
                self._chunks += len(chunks)
            return self._graph
