"""The outcomes of a run, also while it runs."""

from __future__ import annotations

from distflow.core.graph import Graph
from distflow.ports.run_store import RunStore
from distflow.snapshot import Snapshot
from distflow.snapshot.records import SavedExpansion

#: Names whose results are read at a time.
_CHUNK = 1000

#: Expansions whose stand-ins are read at a time: some hold values of the user's.
_CHUNK_STAND_INS = 100


def read_outcomes(store: RunStore, graph: Graph) -> Snapshot:
    """The outcomes so far, in the graph's order. Those of nodes that have expanded have the value
    that they stand for, once all of their children have ended.

    They are read dependents first, so that even in a running run each outcome comes with those that
    it rests on.
    """
    packed: dict[str, bytes] = {}
    names = [graph.tasks[index].name for index in reversed(graph.order) if index >= 0]
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        found = store.read_results(chunk)
        packed.update(
            (name, value) for name, value in zip(chunk, found, strict=True) if value is not None
        )
    ordered = (graph.tasks[index].name for index in graph.reading_order())
    outcomes = {name: packed[name] for name in ordered if name in packed}
    grown = graph.grown_nodes()
    expansions = _read_expansions(store) if grown else {}
    return Snapshot.from_packed(outcomes, expansions=expansions)


def _read_expansions(store: RunStore) -> dict[str, SavedExpansion]:
    """The expansions of a run, without their chunks."""
    records = list(store.read_expansions().items())
    found: dict[str, SavedExpansion] = {}
    for start in range(0, len(records), _CHUNK_STAND_INS):
        chunk = records[start : start + _CHUNK_STAND_INS]
        stand_ins = store.read_stand_ins([record.token for _node, record in chunk])
        for (node, record), stand_in in zip(chunk, stand_ins, strict=True):
            if stand_in is not None:
                found[node] = SavedExpansion(node, record, stand_in, ())
    return found
