"""A person's resume: set aside the outcomes to evaluate again, dependents before dependencies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from distflow.chance import Chance
from distflow.coordinator.growth import GraphGrowth, Standing, follow_growth, read_grown
from distflow.coordinator.standing import CHUNK, read_graph, read_statuses
from distflow.core.graph import Graph
from distflow.core.model import TaskResult
from distflow.core.plan import PlanItem, changes_nothing, plan_resume
from distflow.core.readings import KnownGraph, RunHead, RunReading
from distflow.core.status import OVER_RUNS, REOPENED, RunStatus, TaskStatus
from distflow.errors import WrongState
from distflow.faults import reach
from distflow.ports.run_store import RunStore
from distflow.wire.codec import decode_result


class Reading(NamedTuple):
    """A run as it was read, and the plan of a reopening (empty if there was none)."""

    plan: list[PlanItem]
    standing: Standing


def read_run(
    store: RunStore,
    epoch: int,
    head: RunHead,
    known: KnownGraph | None = None,
    *,
    reopen: bool,
    chance: Chance,
) -> Reading:
    """Read a run that this epoch leads, except for what is ``known`` already. Reopen it if asked
    to, or if a reopening was cut off: the next coordinator completes it.
    """
    graph = known.graph if known and known.is_of(head) else read_graph(store, head)
    growth = GraphGrowth(store, graph)
    if reopen and head.info.status in OVER_RUNS:
        done = _read_over(store, growth)
        if done is not None:
            return done
    if reopen or head.info.status == RunStatus.REOPENING:
        return reopen_run(store, epoch, growth, chance)
    if head.is_fresh:
        return Reading([], Standing(growth, _fresh(head, graph)))
    return Reading([], read_grown(store, growth))


def _read_over(store: RunStore, growth: GraphGrowth) -> Reading | None:
    """A run that has ended and that a resume does not change: it keeps its end. None if there is
    something to do.
    """
    standing = read_grown(store, growth)
    ended = standing.reading.info.status
    found = _read_plan(store, standing.growth)
    # A decision made since then lets the run continue.
    unmoved = ended in OVER_RUNS and store.read_status() == ended
    if unmoved and changes_nothing(found.growth.graph, found.plan, ended):
        # Skipped tasks are not evaluated again in this case.
        kept = [item for item in found.plan if item.action == "keep"]
        return Reading(kept, standing)
    return None


def _fresh(head: RunHead, graph: Graph) -> RunReading:
    """The state of a run none of whose tasks can have begun: nothing need be read."""
    return RunReading("0-0", head.info, [None] * len(graph), {}, {})


class _Planned(NamedTuple):
    """What a resume of a run would do, and the graph and statuses that this is based on."""

    growth: GraphGrowth
    plan: list[PlanItem]
    statuses: list[TaskStatus | None]


def _read_plan(store: RunStore, growth: GraphGrowth) -> _Planned:
    """What a resume of the run would do now, see :func:`distflow.core.plan.plan_resume`."""
    growth, statuses = _read_statuses(store, growth)
    graph = growth.graph
    again = [index for index, status in enumerate(statuses) if status in REOPENED]
    details: dict[int, TaskResult] = {}
    for start in range(0, len(again), CHUNK):
        indices = again[start : start + CHUNK]
        found = store.read_results([graph.tasks[index].name for index in indices])
        for index, packed in zip(indices, found, strict=True):
            if packed is None:
                statuses[index] = None
            else:
                details[index] = decode_result(packed, opaque=True, task=graph.tasks[index].name)
                statuses[index] = details[index].status
    plan = plan_resume(graph, statuses, details, store.read_claims(), store.read_progress())
    return _Planned(growth, plan, statuses)


def _read_statuses(
    store: RunStore, growth: GraphGrowth
) -> tuple[GraphGrowth, list[TaskStatus | None]]:
    return follow_growth(store, growth, partial(read_statuses, store))


def reopen_run(store: RunStore, epoch: int, growth: GraphGrowth, chance: Chance) -> Reading:
    """Reopen a run that this epoch leads.

    A reopening that was cut off anywhere is completed by the next one.
    """
    store.begin_reopen(epoch, chance.new_token())
    before = store.last_event_id()
    growth, plan, statuses = _read_plan(store, growth)
    reach("reopen:planned")
    items: Sequence[PlanItem] = [item for item in plan if item.progress is not None]
    try:
        _set_aside(store, epoch, growth.graph, items)
        # An event after this id reports every later change of an outcome. An outcome that an
        # earlier event reported may have been set aside since.
        last_event = store.last_event_id()
        if last_event != before:
            # A node that a worker had may have expanded.
            growth, statuses = _read_statuses(store, growth)
        store.set_status(RunStatus.RUNNING, {RunStatus.REOPENING}, epoch=epoch, restart_clock=True)
    except WrongState:
        # It was cancelled in the same moment: the coordinator carries that out.
        return Reading(plan, read_grown(store, growth))
    if last_event == before:
        for item in plan:
            if item.action == "again":
                statuses[item.task] = None
    reading = store.read_standing([])._replace(last_event=last_event, statuses=statuses)
    return Reading(plan, Standing(growth, reading))


def _set_aside(store: RunStore, epoch: int, graph: Graph, items: Sequence[PlanItem]) -> None:
    store.reopen_tasks(
        epoch,
        [
            (
                graph.tasks[item.task].name,
                item.seen,
                item.progress,
                graph.tasks[item.task].effects == "at_most_once",
            )
            for item in items
            if item.progress is not None
        ],
    )
