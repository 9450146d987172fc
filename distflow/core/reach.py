"""Reach: what a task rests on, and what rests on it, in a graph that may have grown."""

from __future__ import annotations

from collections.abc import Iterator

from distflow.core.graph import Graph


def find_dependents(graph: Graph, index: int) -> Iterator[int]:
    """What waits for a task: its dependents, and for a child also what gathers the children of the
    node that has added it, of the node that has added that one, and so on.
    """
    yield from graph.children[index]
    maker = graph.maker(index)
    while maker >= 0:
        yield from (each for each in graph.children[maker] if not graph.follows(each, maker))
        maker = graph.maker(maker)


def find_below(graph: Graph, index: int) -> Iterator[int]:
    """What comes right below a task: what waits for it, and what it has added."""
    yield from find_dependents(graph, index)
    yield from graph.expansion_of(index) or ()


def find_above(graph: Graph, index: int) -> Iterator[int]:
    """What a task rests on: its dependencies, and all that those have added which it gathers."""
    for parent in graph.parents[index]:
        yield parent
        if not graph.follows(index, parent):
            yield from find_made(graph, parent)


def find_made(graph: Graph, node: int) -> Iterator[int]:
    """What a node has added, and what that has added."""
    left = [node]
    while left:
        made = graph.expansion_of(left.pop()) or ()
        yield from made
        left += [each for each in made if graph.is_grown(each)]
