"""How a run ends: what its tasks' outcomes mean for the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distflow.core.dependencies import Dependencies
from distflow.core.graph import Graph
from distflow.core.status import FINAL, RunStatus, TaskStatus
from distflow.text import counted


def verdict_of(
    graph: Graph,
    statuses: Sequence[TaskStatus | None],
    is_tolerated: Callable[[int], bool] | None = None,
) -> RunStatus:
    """How a run ends, given the outcomes of its tasks, none of which is ``unknown``.

    Args:
        graph: the run's.
        statuses: of the outcomes, by index.
        is_tolerated: whether the failure of a task is tolerated; None works it out.
    """
    if len(statuses) != len(graph):
        raise ValueError(f"{len(statuses)} statuses of {counted(len(graph), 'task')}")
    if TaskStatus.FAILURE in statuses:
        is_tolerated = is_tolerated or find_tolerated(graph, statuses)
        for index, status in enumerate(statuses):
            if status == TaskStatus.FAILURE and not is_tolerated(index):
                return RunStatus.FAILURE
    # A function may return that it was cancelled.
    return RunStatus.CANCELLED if TaskStatus.CANCELLED in statuses else RunStatus.SUCCESS


def find_tolerated(graph: Graph, statuses: Sequence[TaskStatus | None]) -> Callable[[int], bool]:
    """Whether the failure of a task is tolerated, given all outcomes: by its ``continue_on_error``,
    or by the ``max_failures`` of the node that made it.
    """
    dependencies = Dependencies(graph, [status or TaskStatus.PENDING for status in statuses])
    if graph.grown_nodes():
        for index in graph.order:
            if index >= 0 and statuses[index] in FINAL:
                dependencies.settle(index)
    return dependencies.is_tolerated
