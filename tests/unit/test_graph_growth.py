"""A graph and its state that grow, against the same made anew."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distflow.core.graph import Graph
from distflow.core.model import Grow, Task
from distflow.core.run import Claim
from distflow.core.state import Skip, TaskStateManager
from distflow.core.status import BAD, FINAL, RunStatus, TaskStatus
from distflow.errors import Damaged
from tests.support.growth import GrowingGraph, Reference

S = TaskStatus
HELD = Claim(1, 1, "token", "batch", claimed=1, started=0, base=0, lost=0)
ENDS = [S.SUCCESS] * 8 + [S.FAILURE] * 3 + [S.SKIPPED, S.CANCELLED, S.UNKNOWN]


def shape(graph: Graph) -> tuple[object, ...]:
    """All that two equal graphs share."""
    children = [tuple(each) for each in graph.children]
    makers = [graph.maker(index) for index in range(len(graph))]
    return graph.tasks, graph.index, graph.parents, children, makers, dict(graph.grown_nodes())


def check_order(graph: Graph) -> None:
    """Dependencies before dependents, and a join between the children of a node and what waits for
    them.
    """
    place = {vertex: at for at, vertex in enumerate(graph.order)}
    assert sorted(place) == sorted([*range(len(graph)), *(~node for node in graph.grown_nodes())])
    for index, parents in enumerate(graph.parents):
        for parent in parents:
            joins = graph.is_grown(parent) and not graph.follows(index, parent)
            assert place[~parent if joins else parent] < place[index]
    for node, made in graph.grown_nodes().items():
        for child in made:
            assert place[node] < place[child] < place[~node]
            assert not graph.is_grown(child) or place[~child] < place[~node]
    read = {index: at for at, index in enumerate(graph.reading_order())}
    assert sorted(read) == list(range(len(graph)))
    assert all(read[p] < read[i] for i, above in enumerate(graph.parents) for p in above)


class GrowingRun:
    """A run as its coordinator sees it. The reference is not told what was skipped."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.source = GrowingGraph(rng, rng.randint(1, 7))
        self.graph = self.source.compile()
        #: What workers reported, and what the coordinator wrote itself.
        self.outcomes: dict[int, TaskStatus] = {}
        self.skips: dict[int, TaskStatus] = {}
        self.claims: set[int] = set()
        self.state = TaskStateManager(self.graph, {}, {}, {}, 0)

    def step(self) -> bool:
        """One task is claimed or ends; whether one could."""
        ready = [i for i, status in enumerate(self.state.statuses) if status == S.READY]
        unknown = [i for i, status in self.outcomes.items() if status == S.UNKNOWN]
        moves = [*ready, *self.claims, *unknown]
        if not moves:
            return False
        index = self.rng.choice(moves)
        if index in ready:
            self.claims.add(index)
            self.state.on_claimed(index)
        else:
            self._finish(index)
        self._write_skips()
        return True

    def _finish(self, index: int) -> None:
        self.claims.discard(index)
        end = self.rng.choice(ENDS)
        grow = self.graph.tasks[index].grow
        if grow is not None and end == S.UNKNOWN:
            end = S.FAILURE
        if grow is not None and end == S.SUCCESS and self.rng.random() < 0.9:
            for chunk in self.source.expand(self.graph, index):
                self.state.grow(index, self.graph.grow(index, chunk))
        self.outcomes[index] = end
        self.state.on_finished(index, end)

    def _write_skips(self) -> None:
        for skip in self._take_skips(self.state):
            self.skips[skip.task] = S.SKIPPED

    def _take_skips(self, state: TaskStateManager) -> list[Skip]:
        """The first cause of each is what a worker reported, whatever was skipped between."""
        skips = state.take_skips()
        if skips:
            names = {index: task.name for index, task in enumerate(self.graph.tasks)}
            bad = [(names[index], end) for index, end in self.outcomes.items() if end in BAD]
            assert {s.message for s in skips} <= {f"not run: {n!r} ended as {e}" for n, e in bad}
        return skips

    def check(self) -> None:
        """It is as one that is made anew, and as the reference says."""
        assert shape(self.source.compile()) == shape(self.graph)
        found = Reference(self.graph, self.outcomes, self.claims)
        assert self.state.statuses == found.statuses()
        names = [task.name for task in self.graph.tasks]
        # The coordinator before may have died before it wrote all that it skipped.
        written = {i: status for i, status in self.skips.items() if self.rng.random() < 0.5}
        again = TaskStateManager(
            self.source.compile(),
            {names[index]: status for index, status in (self.outcomes | written).items()},
            {names[index]: HELD for index in self.claims},
            {},
            0,
        )
        self._take_skips(again)
        assert again.statuses == self.state.statuses
        assert again.counts == self.state.counts
        assert again.dependencies.unmet == self.state.dependencies.unmet


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_growing_is_compiling_anew(seed: int) -> None:
    """At every moment: the graph, its orders, and the status of every task. Chances come from a
    seed, since the numbers that Hypothesis draws are mostly small.
    """
    run = GrowingRun(random.Random(seed))
    while run.step():
        run.check()
    check_order(run.graph)
    ended = run.outcomes | run.skips
    assert all(ended[index] in FINAL for index in range(len(run.graph)))
    bad = Reference(run.graph, run.outcomes, set())
    failed = [i for i, status in run.outcomes.items() if status == S.FAILURE]
    succeeded = all(bad.has_failed_well(index) for index in failed)
    verdict = run.state.verdict(cancelled=False)
    assert (verdict == RunStatus.FAILURE) == (not succeeded)


def node(name: str, *depends_on: str, **grow: object) -> Task:
    """A map node."""
    fields: dict[str, object] = {"kind": "map", "child": Task("", "m:f"), **grow}
    return Task(name, "distflow:map", depends_on=depends_on, grow=Grow(**fields))  # type: ignore[arg-type]


def grown(graph: Graph, state: TaskStateManager, name: str, tasks: list[Task]) -> None:
    """A node succeeds with these children."""
    index = graph.index[name]
    state.grow(index, graph.grow(index, tasks))
    state.on_finished(index, S.SUCCESS)


def children(name: str, count: int, *, of: str = "") -> list[Task]:
    """The children of a map node; with ``of``, each after that node's child of the same number."""
    return [
        Task(f"{name}[{i}]", "m:f", depends_on=(f"{of}[{i}]",) if of else ()) for i in range(count)
    ]


def test_a_join_waits_for_all_children() -> None:
    """What gathers starts when the last child is final, and not before."""
    graph = Graph.compile([node("rows"), Task("total", "m:f", depends_on=("rows",))])
    state = TaskStateManager(graph, {}, {}, {}, 0)
    grown(graph, state, "rows", children("rows", 3))
    for name in ("rows[1]", "rows[0]", "rows[2]"):
        assert state.statuses[graph.index["total"]] == S.PENDING
        state.on_finished(graph.index[name], S.SUCCESS)
    assert state.statuses[graph.index["total"]] == S.READY
    assert state.travels_alone(graph.index["total"])


def test_no_elements() -> None:
    """The join is there at once."""
    graph = Graph.compile([node("rows"), Task("total", "m:f", depends_on=("rows",))])
    state = TaskStateManager(graph, {}, {}, {}, 0)
    grown(graph, state, "rows", [])
    assert state.statuses[graph.index["total"]] == S.READY


def test_element_by_element() -> None:
    """A child that follows one element does not wait for the others."""
    graph = Graph.compile([node("rows"), node("sizes", "rows", shapes=("rows",))])
    state = TaskStateManager(graph, {}, {}, {}, 0)
    grown(graph, state, "rows", children("rows", 3))
    assert state.statuses[graph.index["sizes"]] == S.READY
    state.on_finished(graph.index["rows[1]"], S.SUCCESS)
    grown(graph, state, "sizes", children("sizes", 3, of="rows"))
    assert state.statuses[graph.index["sizes[1]"]] == S.READY
    assert state.statuses[graph.index["sizes[2]"]] == S.PENDING
    assert not state.travels_alone(graph.index["sizes[1]"])


@pytest.mark.parametrize(
    ("most", "failures", "goes_on"),
    [(1, 1, True), (1, 2, False), (0, 1, False), (0.5, 1, True), (0.7, 2, True), (0.5, 2, False)],
)
def test_failures_that_are_tolerated(most: float, failures: int, goes_on: bool) -> None:
    """They are judged when all children have ended; what follows one of them waits until then."""
    graph = Graph.compile(
        [
            node("rows", max_failures=most),
            node("sizes", "rows", shapes=("rows",)),
            Task("total", "m:f", depends_on=("rows",)),
        ]
    )
    state = TaskStateManager(graph, {}, {}, {}, 0)
    grown(graph, state, "rows", children("rows", 3))
    grown(graph, state, "sizes", children("sizes", 3, of="rows"))
    for number in range(failures):
        state.on_finished(graph.index[f"rows[{number}]"], S.FAILURE)
    assert state.statuses[graph.index["sizes[0]"]] == S.PENDING
    for number in range(failures, 3):
        state.on_finished(graph.index[f"rows[{number}]"], S.SUCCESS)
    wanted = S.READY if goes_on else S.SKIPPED
    assert state.statuses[graph.index["sizes[0]"]] == wanted
    assert state.statuses[graph.index["total"]] == wanted
    tolerated = [graph.index[f"rows[{number}]"] for number in range(failures)]
    assert state.dependencies.take_tolerated() == (tolerated if goes_on else [])


def test_a_chunk_that_does_not_fit() -> None:
    """A name that exists, a dependency that does not, or an expansion that was interrupted."""
    graph = Graph.compile([node("a"), node("b")])
    with pytest.raises(Damaged, match="two tasks are named 'b'"):
        graph.grow(0, [Task("b", "m:f")])
    graph = Graph.compile([node("a"), node("b")])
    with pytest.raises(Damaged, match="depends on 'gone'"):
        graph.grow(0, [Task("a[0]", "m:f", depends_on=("gone",))])
    graph = Graph.compile([node("a"), node("b")])
    graph.grow(0, children("a", 1))
    graph.grow(1, children("b", 1))
    with pytest.raises(Damaged, match="not in one piece"):
        graph.grow(0, [Task("a[1]", "m:f")])
