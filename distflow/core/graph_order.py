"""Orders of a graph that has grown: dependencies before their dependents, with joins.

The join of a grown node is a vertex of its own, ``~node``: it comes after all of its children, and
whatever waits for them comes after it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Protocol

from distflow.core.model import Task


class Grown(Protocol):
    """What an order needs to know of a graph."""

    tasks: list[Task]
    children: list[Sequence[int]]

    def grown_nodes(self) -> Mapping[int, range]:
        """See :meth:`distflow.core.graph.Graph.grown_nodes`."""

    def maker(self, index: int) -> int:
        """See :meth:`distflow.core.graph.Graph.maker`."""

    def follows(self, index: int, node: int) -> bool:
        """See :meth:`distflow.core.graph.Graph.follows`."""


def order_grown(graph: Grown) -> array[int]:
    """Every index and every join once, dependencies before their dependents."""
    open_before = _count_before(graph)
    order = array("l", [vertex for vertex, count in open_before.items() if not count])
    # The order is also the work queue: it grows while it is iterated.
    for done in order:
        for after in _after(graph, done):
            open_before[after] -= 1
            if not open_before[after]:
                order.append(after)
    return order


def read_grown(graph: Grown) -> list[int]:
    """Every index once, in the order of definition where dependencies allow it; the children of a
    node after the node.
    """
    open_before = _count_before(graph)

    def place(vertex: int) -> tuple[int, int]:
        """Where it stands in the definition: children beside the outermost node that made them."""
        root = index = vertex if vertex >= 0 else ~vertex
        while (maker := graph.maker(root)) >= 0:
            root = maker
        return root, index

    ready = [(*place(vertex), vertex) for vertex, count in open_before.items() if not count]
    ready.sort()
    order = []
    while ready:
        vertex = heappop(ready)[-1]
        if vertex >= 0:
            order.append(vertex)
        for after in _after(graph, vertex):
            open_before[after] -= 1
            if not open_before[after]:
                heappush(ready, (*place(after), after))
    return order


def _count_before(graph: Grown) -> dict[int, int]:
    """How many edges lead to each vertex."""
    joins = [~node for node in graph.grown_nodes()]
    counts = dict.fromkeys([*range(len(graph.tasks)), *joins], 0)
    for vertex in list(counts):
        for after in _after(graph, vertex):
            counts[after] += 1
    return counts


def _after(graph: Grown, vertex: int) -> Iterator[int]:
    """What comes right after a vertex."""
    grown = graph.grown_nodes()
    if vertex < 0:
        node = ~vertex
        yield from (each for each in graph.children[node] if not graph.follows(each, node))
        yield from _after_judgement(graph, node)
        yield from _join_above(graph, node)
    elif vertex in grown:
        expansion = grown[vertex]
        yield from (each for each in graph.children[vertex] if graph.follows(each, vertex))
        yield from expansion
        # Without children, nothing else leads to the join.
        yield ~vertex
    else:
        yield from graph.children[vertex]
        yield from _join_above(graph, vertex)


def _join_above(graph: Grown, index: int) -> Iterable[int]:
    maker = graph.maker(index)
    return () if maker < 0 else (~maker,)


def _after_judgement(graph: Grown, node: int) -> Iterator[int]:
    """Whatever follows the children of a node with ``max_failures``: whether a failure among them
    is tolerated is known when all of them have ended.
    """
    grow = graph.tasks[node].grow
    if grow is not None and grow.max_failures is not None:
        for child in graph.grown_nodes()[node]:
            yield from graph.children[child]
