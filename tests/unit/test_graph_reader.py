"""The graph of a run that grows, as those who do not lead it read it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distflow.core.model import Task
from distflow.errors import LookAgain, TaskNotFound
from distflow.runs.graph_reader import GraphReader, iter_graph
from distflow.runs.lookup import find_task, iter_cuts
from distflow.store.memory.store import MemoryRunStore
from tests.support.grown import PIPELINE, elements, expand, grown_run, settle
from tests.support.stores import make_spec


class Reads(MemoryRunStore):
    """Notes which chunks are read."""

    def __init__(self) -> None:
        super().__init__("run-1")
        self.create_run(replace(make_spec(), version=2), "made", PIPELINE)
        self.chunks: list[tuple[str, int]] = []

    def read_chunk(self, token: str, number: int) -> list[Task]:
        self.chunks.append((token, number))
        return super().read_chunk(token, number)


def test_expansions_are_read_once() -> None:
    """Each chunk of each expansion, as they come; what was handed out does not change."""
    store = Reads()
    reader = GraphReader(store)
    assert len(reader.read()) == 4
    settle(store, "files", data=[0, 1, 2])
    expand(store, "clean", elements(PIPELINE[1], 3), chunk=2)
    first = reader.read()
    assert [task.name for task in first.tasks[4:]] == ["clean[0]", "clean[1]", "clean[2]"]
    assert first.expansion_of(1) == range(4, 7)
    expand(store, "sizes", elements(PIPELINE[2], 3, after="clean"), chunk=2)
    second = reader.read()
    assert (len(first), len(second), first.expansion_of(2)) == (7, 10, None)
    assert [first.tasks[child].name for child in first.children[4]] == []
    assert [second.tasks[child].name for child in second.children[4]] == ["sizes[0]"]
    assert reader.read() is second
    assert store.chunks == [("t-clean", 0), ("t-clean", 1), ("t-sizes", 0), ("t-sizes", 1)]
    assert [second.tasks[i].name for i in second.order if i >= 0][-1] == "report"


def test_an_older_redis_answers() -> None:
    """Where a known expansion is gone or is another one, everything is read anew."""
    store = Reads()
    reader = GraphReader(store)
    grown_run(store)
    assert len(reader.read()) == 10
    expansions = store.server.runs["run-1"].expansions
    expansions.records.clear()
    assert len(reader.read()) == 4
    store.server.runs["run-1"].total = 4
    expand(store, "clean", elements(PIPELINE[1], 1))
    assert [task.name for task in reader.read().tasks[4:]] == ["clean[0]"]


def test_a_chunk_that_stays_away_is_an_error() -> None:
    """Not a graph that lacks tasks."""
    store = Reads()
    grown_run(store)
    del store.server.runs["run-1"].expansions.chunks["t-sizes"]
    with pytest.raises(LookAgain, match="t-sizes"):
        GraphReader(store).read()


def test_a_child_is_found_by_its_name() -> None:
    """Only the expansion is read that may have it."""
    store = Reads()
    grown_run(store)
    assert find_task(store, "sizes[2]") == elements(PIPELINE[2], 3, after="clean")[2]
    assert store.chunks == [("t-sizes", 0), ("t-sizes", 1)]
    with pytest.raises(TaskNotFound, match=r"did you mean 'clean\[2\]'"):
        find_task(store, "clean[3]")


def test_whoever_visits_all_tasks_visits_the_children() -> None:
    """After the tasks that the run was created with."""
    store = Reads()
    grown_run(store, 2)
    names = [task.name for tasks in iter_graph(store) for task in tasks]
    assert names[4:] == ["clean[0]", "clean[1]", "sizes[0]", "sizes[1]"]
    assert [task.name for task, _cut in iter_cuts(store)] == names
