"""Picture: the state of a run at one moment, for displays; immutable."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from distflow.core.graph import Graph
from distflow.core.plan import PlanItem
from distflow.core.run import RunInfo
from distflow.core.status import RUNNING, TaskStatus
from distflow.core.tally import Tally

_S = TaskStatus

#: The counts of a status document, in their order, between ``total`` and ``pending``.
COUNTED = (
    "success",
    "failure",
    "skipped",
    "cancelled",
    "unknown",
    "running",
    "queued",
    "waiting",
)


class Picture(NamedTuple):
    """The state of a run's tasks."""

    #: Tasks by outcome, plus ``running``, ``queued``, ``waiting`` and ``pending``.
    counts: Mapping[str, int]
    #: Running tasks, with the seconds since a worker claimed them.
    running: Mapping[str, float]
    #: Queues of the tasks that could run; None if nobody asked for them.
    queues: Collection[str] | None = None
    #: How far the children of growing nodes are, in the order of their expansions: of nodes with
    #: children that have not ended, and not of all where there are many.
    tallies: Sequence[Tally] = ()


class ResumePlan(NamedTuple):
    """What a resume will do with the tasks of a graph."""

    graph: Graph
    items: list[PlanItem]


def shown_counts(counts: Mapping[TaskStatus, int]) -> dict[str, int]:
    """Counts of tasks by the words that displays use for their status."""
    return {
        **{name: counts[TaskStatus(name)] for name in COUNTED if name != RUNNING},
        RUNNING: counts[_S.CLAIMED] + counts[_S.STARTED],
        "pending": counts[_S.PENDING] + counts[_S.READY],
    }


def info_counts(info: RunInfo) -> dict[str, int]:
    """The same counts for a run as read from its ``meta`` hash."""
    return {**{name: info.counts[name] for name in COUNTED}, "pending": info.pending}
