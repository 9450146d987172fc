"""How a run ends: what its tasks' outcomes mean for the whole."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.core.graph import Graph
from distflow.core.status import RunStatus, TaskStatus


def verdict_of(graph: Graph, statuses: Sequence[TaskStatus | None]) -> RunStatus:
    """How a run ends, given the outcomes of its tasks, none of which is ``unknown``."""
    for task, status in zip(graph.tasks, statuses, strict=True):
        if status == TaskStatus.FAILURE and not task.continue_on_error:
            return RunStatus.FAILURE
    # A function may return that it was cancelled.
    return RunStatus.CANCELLED if TaskStatus.CANCELLED in statuses else RunStatus.SUCCESS
