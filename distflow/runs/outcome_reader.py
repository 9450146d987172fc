"""The outcomes of a run, also while it runs."""

from __future__ import annotations

from distflow.core.graph import Graph
from distflow.ports.run_store import RunStore

#: Names whose results are read at a time.
_CHUNK = 1000


def read_outcomes(store: RunStore, graph: Graph) -> dict[str, bytes]:
    """The encoded outcomes so far, in the graph's order.

    They are read dependents first, so that even in a running run each outcome comes with those that
    it rests on.
    """
    packed: dict[str, bytes] = {}
    names = [graph.tasks[index].name for index in reversed(graph.order)]
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        found = store.read_results(chunk)
        packed.update(
            (name, value) for name, value in zip(chunk, found, strict=True) if value is not None
        )
    ordered = (graph.tasks[index].name for index in graph.reading_order())
    return {name: packed[name] for name in ordered if name in packed}
