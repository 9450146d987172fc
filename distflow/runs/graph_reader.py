"""GraphReader: reads the graph of a run once, and later only what was added."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from itertools import chain, islice

from distflow.core.expansion import Expansion
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.errors import LookAgain
from distflow.ports.run_store import RunStore

#: How often a graph is read anew because an older Redis answers meanwhile.
_LOOKS = 5


class GraphReader:
    """Reads the graph of a run and keeps it; usable on any thread.

    Chunks and expansions never change, and new ones are appended: none is read twice. Where one
    that is known is gone, an older Redis answers, and everything is read anew.

    Args:
        store: that of the run.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._chunks = 0
        self._graph: Graph | None = None
        #: The expansions that are in the graph.
        self._records: dict[str, Expansion] = {}

    def read(self) -> Graph:
        """The graph as it is now; it does not change. The next answer may be longer: take a length,
        and what is counted by it, from the same answer.
        """
        with self._lock:
            for _look in range(_LOOKS):
                try:
                    return self._read()
                except LookAgain:
                    self._forget()
            return self._read()

    def _read(self) -> Graph:
        # Records first: what they rest on is in the base graph.
        records = self._store.read_expansions()
        if dict(islice(records.items(), len(self._records))) != self._records:
            self._forget()
        graph = self._read_base()
        fresh = dict(islice(records.items(), len(self._records), None))
        if fresh:
            graph = _grow(self._store, graph, fresh)
        self._graph, self._records = graph, records
        return graph

    def _read_base(self) -> Graph:
        chunks = list(self._store.iter_tasks(start=self._chunks))
        if self._graph is not None and not chunks:
            return self._graph
        if self._records:
            # A run that has expansions is whole: this is another one.
            raise LookAgain
        known = self._graph.tasks if self._graph else ()
        graph = Graph.compile([*known, *chain.from_iterable(chunks)])
        self._chunks += len(chunks)
        self._graph = graph
        return graph

    def _forget(self) -> None:
        self._graph, self._chunks, self._records = None, 0, {}


def _grow(store: RunStore, base: Graph, records: Mapping[str, Expansion]) -> Graph:
    """The graph with these expansions as well."""
    # Whoever has the other one may be at work on it.
    graph = base.copy()
    for node, record in records.items():
        if node not in graph.index:
            raise LookAgain(f"run {store.run_id}: the expansion of {node!r} has no node")
        for tasks in read_chunks(store, record):
            graph.grow(graph.index[node], tasks)
    return graph


def read_chunks(store: RunStore, record: Expansion) -> Iterator[list[Task]]:
    """The tasks of an expansion, a chunk at a time.

    Raises:
        LookAgain: it is not recorded any more.
    """
    for number in range(record.chunks):
        yield store.read_chunk(record.token, number)


def iter_graph(store: RunStore) -> Iterator[list[Task]]:
    """All tasks of a run as they are now, a chunk at a time: first those that it was created with,
    then those of its expansions, in their order.
    """
    yield from store.iter_tasks()
    for record in store.read_expansions().values():
        yield from read_chunks(store, record)
