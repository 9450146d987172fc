"""A run may have more tasks at the next look: whoever shows it counts what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from distflow.chance import SYSTEM_CHANCE
from distflow.cli.ui.progress import View
from distflow.coordinator.reopening import read_run
from distflow.core.graph import Graph
from distflow.core.picture import info_counts
from distflow.core.readings import RunHead
from distflow.errors import DistflowError
from distflow.runs.graph_reader import GraphReader
from distflow.runs.lookup import iter_cuts, live_statuses
from distflow.runs.transfer import export_run, read_snapshot
from tests.support.growing import GrowingStore


def names_of(graph: Graph) -> list[str]:
    """Its tasks."""
    return [task.name for task in graph.tasks]


def test_a_graph_is_read_on_from_where_it_was() -> None:
    """What is there already is not read again, and a graph that did not grow is the same one."""
    store = GrowingStore("a", "b")
    reader = GraphReader(store)
    first = reader.read()
    assert (names_of(first), reader.read() is first) == (["a", "b"], True)
    store.server.runs["run-1"].graph[0] = []
    store.grow("c")
    store.grow("d", "e")
    assert names_of(reader.read()) == ["a", "b", "c", "d", "e"]
    assert names_of(first) == ["a", "b"]


def test_a_display_counts_what_it_is_given() -> None:
    """The total is that of the counts, whenever those were read."""
    store = GrowingStore("a", "b")
    views = [View(info_counts(store.read_info()), {})]
    store.grow("c")
    views.append(View(info_counts(store.read_info()), {}))
    assert [(view.done, view.total) for view in views] == [(0, 2), (0, 3)]


def test_statuses_are_those_of_the_graph_that_is_drawn() -> None:
    """A task that came since has a claim already, and is none of that graph."""
    store = GrowingStore("a")
    graph = GraphReader(store).read()
    store.grow("b")
    epoch = store.acquire_lease("anna", 60.0)
    store.begin_batch(epoch, "b1", "w1", "job-1")
    assert list(live_statuses(store, graph, 0.0)) == ["a"]
    store.coming = ["c"]
    assert [task.name for task, _cut in iter_cuts(store)] == ["a", "b", "c"]


def test_an_export_of_a_run_that_grows(tmp_path: Path) -> None:
    """What came after the run was looked at first is no damage, and is in the file."""
    store = GrowingStore("a")
    store.coming = ["b"]
    assert export_run(store, tmp_path / "file").tasks == 2
    store.coming = ["c"]
    assert len(read_snapshot(store)) == 0
    store.server.runs["run-1"].total = 9
    with pytest.raises(DistflowError, match="3 tasks of a graph of 9"):
        export_run(store, tmp_path / "other")


def test_a_run_that_grows_while_it_is_attached() -> None:
    """The statuses are those of the graph that was read, also where its total was read before."""
    store = GrowingStore("a")
    store.coming = ["b"]
    epoch = store.acquire_lease("anna", 60.0)
    head = RunHead(store.read_info(), [], 0, None)
    assert head.is_fresh
    found = read_run(store, epoch, head, reopen=False, chance=SYSTEM_CHANCE)
    assert names_of(found.standing.graph) == ["a", "b"]
    assert found.standing.reading.statuses == [None, None]
