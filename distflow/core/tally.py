"""Tally: how far the children of a growing node are, in one line whatever their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from distflow.core.dependencies import Dependencies
from distflow.core.graph import Graph
from distflow.core.status import FINAL, TaskStatus


class Tally(NamedTuple):
    """A growing node that has expanded, and how many of its direct children have ended.

    ``kind`` is ``map`` or ``plan``. A child that has expanded itself is ``done`` when all of its
    own children are. ``failed`` counts failures, tolerated ones too.
    """

    node: str
    kind: str
    children: int
    done: int
    failed: int

    @property
    def words(self) -> str:
        """``37/100 done, 2 failed``."""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done}/{self.children} done{failed}"


def tally_graph(graph: Graph, statuses: Mapping[str, TaskStatus]) -> list[Tally]:
    """The tally of every grown node of a graph, in the order of their expansions.

    Args:
        graph: the run's.
        statuses: by name; a task that it lacks has not ended.
    """
    found = {}
    #: Grown nodes with a child that has not ended. Nested expansions come after the outer ones.
    going: set[int] = set()
    for node, made in reversed([*graph.grown_nodes().items()]):
        names = [graph.tasks[index].name for index in made]
        states = [statuses.get(name) for name in names]
        ended = count_ended(states, [index in going for index in made])
        if ended < len(made):
            going.add(node)
        failed = states.count(TaskStatus.FAILURE)
        found[node] = Tally(graph.tasks[node].name, kind_of(graph, node), len(made), ended, failed)
    return [found[node] for node in graph.grown_nodes()]


#: How many tallies a display shows.
SHOWN_TALLIES = 6


def going_tallies(graph: Graph, dependencies: Dependencies) -> list[Tally]:
    """The first few nodes with children that have not ended, as whoever leads the run counts."""
    found: list[Tally] = []
    for node, made in graph.grown_nodes().items():
        ended = dependencies.ended_children(node)
        if ended < len(made):
            failed = dependencies.failed_children(node)
            name = graph.tasks[node].name
            found.append(Tally(name, kind_of(graph, node), len(made), ended, failed))
            if len(found) == SHOWN_TALLIES:
                break
    return found


def count_ended(statuses: Sequence[TaskStatus | None], going: Sequence[bool]) -> int:
    """How many children have ended; those that are ``going`` have children that have not."""
    return sum(status in FINAL and not still for status, still in zip(statuses, going, strict=True))


def kind_of(graph: Graph, node: int) -> str:
    """What kind of growing node a task is: empty for one that runs a function."""
    grow = graph.tasks[node].grow
    return "" if grow is None else grow.kind
