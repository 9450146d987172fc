"""Drawings of a graph that has grown: the children of a node are one box."""

from __future__ import annotations

import random

import pytest

from distflow.core.graph import Graph
from distflow.core.model import Grow, Ref, Task
from distflow.core.render import to_dot, to_mermaid, to_text
from distflow.core.state import TaskStateManager
from distflow.core.status import FINAL, TaskStatus
from distflow.core.tally import SHOWN_TALLIES, Tally, going_tallies, tally_graph
from distflow.wire.fingerprint import fingerprint
from tests.support.growth import GrowingGraph, Reference

S = TaskStatus
CHILD = Task("", "m:clean", kwargs={"strict": True})


def pipeline() -> Graph:
    """A list, mapped twice element by element, then joined."""
    return Graph.compile(
        [
            Task("files", "m:list"),
            Task("clean", "distflow:map", (Ref("files"),), {}, ("files",), grow=Grow("map", CHILD)),
            Task(
                "sizes",
                "distflow:map",
                depends_on=("clean",),
                grow=Grow("map", CHILD, None, None, ("clean",)),
            ),
            Task("report", "m:report", depends_on=("sizes", "clean")),
        ]
    )


def grown() -> tuple[Graph, dict[str, TaskStatus]]:
    """The same with three elements, one of which has failed."""
    graph = pipeline()
    graph.grow(1, [CHILD._replace(name=f"clean[{n}]") for n in range(3)])
    graph.grow(
        2, [CHILD._replace(name=f"sizes[{n}]", depends_on=(f"clean[{n}]",)) for n in range(3)]
    )
    done = dict.fromkeys(("files", "clean", "clean[0]", "sizes"), S.SUCCESS)
    return graph, {**done, "clean[1]": S.FAILURE, "clean[2]": S.STARTED}


def test_a_growing_node_says_what_it_is() -> None:
    """Before it has expanded, its box has its kind."""
    assert to_text(pipeline()).splitlines() == [
        "files",
        "clean: map, after files",
        "sizes: map, after clean",
        "report: after sizes, clean",
    ]
    assert 'n1["clean<br/>map"]' in to_mermaid(pipeline())
    assert 'n2 [label="sizes\\nmap"];' in to_dot(pipeline())


def test_children_are_one_box() -> None:
    """With their number and how far they are; what waits for all of them hangs on that box, and
    what follows them element by element on the node.
    """
    graph, statuses = grown()
    assert to_text(graph, statuses).splitlines() == [
        "files: success",
        "clean: map, success, after files",
        "  3 children of clean: 2/3 done, 1 failed",
        "sizes: map, success, after clean",
        "  3 children of sizes: 0/3 done",
        "report: after sizes, clean",
    ]
    mermaid = to_mermaid(graph, statuses).splitlines()
    assert '    c1[["3 children of clean<br/>2/3 done, 1 failed"]]' in mermaid
    assert [line.strip() for line in mermaid if "-->" in line] == [
        *("n0 --> n1", "n1 --> c1", "n1 --> n2", "c1 --> c2", "n2 --> c2"),
        *("c2 --> n3", "c1 --> n3"),
    ]
    assert "    class c1 failure" in mermaid
    dot = to_dot(graph, statuses)
    assert 'c1 [label="3 children of clean\\n2/3 done, 1 failed", shape=box3d, style=filled' in dot
    assert "clean[1]" not in dot + to_mermaid(graph, statuses)


def test_children_that_all_succeeded_are_green() -> None:
    """A box of children has a colour once that is certain."""
    graph, statuses = grown()
    assert "c2" not in to_mermaid(graph, statuses).partition("classDef")[2]
    done = dict.fromkeys((task.name for task in graph.tasks), S.SUCCESS)
    assert "class n0,n1,c1,n2,c2,n3 success" in to_mermaid(graph, done)
    assert "class c1 success" not in to_mermaid(graph, {**done, "clean[0]": S.SKIPPED})
    # Without any status there are no counts.
    assert 'c1[["3 children of clean"]]' in to_mermaid(graph)


@pytest.mark.parametrize("seed", range(30))
def test_tallies_of_random_graphs(seed: int) -> None:
    """A child has ended when it has joined, however deep it is nested."""
    rng = random.Random(seed)
    source = GrowingGraph(rng, rng.randint(2, 6))
    graph = source.compile()
    outcomes: dict[int, TaskStatus] = {}
    # The list grows while it is iterated.
    for index, task in enumerate(graph.tasks):
        if rng.random() < 0.8:
            outcomes[index] = rng.choice([S.SUCCESS, S.SUCCESS, S.FAILURE])
        if task.grow is not None and outcomes.get(index) == S.SUCCESS:
            for chunk in source.expand(graph, index):
                graph.grow(index, chunk)
    reference = Reference(graph, outcomes, set())
    statuses = {graph.tasks[i].name: s for i, s in reference.outcomes.items()}

    def has_ended(index: int) -> bool:
        made = graph.expansion_of(index)
        return reference.outcomes.get(index) in FINAL and all(map(has_ended, made or ()))

    expected = []
    for node, made in graph.grown_nodes().items():
        failed = sum(reference.outcomes.get(index) == S.FAILURE for index in made)
        task = graph.tasks[node]
        assert task.grow is not None
        done = sum(map(has_ended, made))
        expected.append(Tally(task.name, task.grow.kind, len(made), done, failed))
    assert tally_graph(graph, statuses) == expected
    # Whoever leads the run counts as tasks end.
    state = TaskStateManager(graph, statuses, {}, {}, 0)
    going = [tally for tally in expected if tally.done < tally.children]
    assert going_tallies(graph, state.dependencies) == going[:SHOWN_TALLIES]


@pytest.mark.parametrize(
    "grow",
    [
        None,
        Grow("plan"),
        Grow("map", CHILD._replace(function="m:other")),
        Grow("map", CHILD._replace(kwargs={"strict": False})),
        Grow("map", CHILD._replace(grow=Grow("plan"))),
        Grow("map", CHILD, key="name"),
        Grow("map", CHILD, shapes=("files",)),
    ],
)
def test_a_fingerprint_sees_what_a_node_makes(grow: Grow | None) -> None:
    """A node that would make other children is another node."""
    node = Task("clean", "distflow:map", (Ref("files"),), grow=Grow("map", CHILD))
    assert fingerprint(node._replace(grow=grow)) != fingerprint(node)


def test_a_fingerprint_overlooks_how_children_run() -> None:
    """Retries and limits of the children are policy."""
    node = Task("clean", "distflow:map", (Ref("files"),), grow=Grow("map", CHILD))
    child = CHILD._replace(timeout=3.0, queue="gpu", continue_on_error=True)
    assert fingerprint(node._replace(grow=Grow("map", child, None, 0.5))) == fingerprint(node)
