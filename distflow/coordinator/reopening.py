"""A person's resume: set aside the outcomes to evaluate again, dependents before dependencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from distflow.chance import Chance
from distflow.coordinator.standing import CHUNK, read_graph, read_standing, read_statuses
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
    """A run as it was read: its graph, the plan of a reopening (empty if there was none), and the
    state of its tasks.
    """

    graph: Graph
    plan: list[PlanItem]
    standing: RunReading


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
    if reopen and head.info.status in OVER_RUNS:
        done = _read_over(store, graph)
        if done is not None:
            return done
    if reopen or head.info.status == RunStatus.REOPENING:
        plan, standing = reopen_run(store, epoch, graph, chance)
        return Reading(graph, plan, standing or read_standing(store, graph))
    return Reading(graph, [], _fresh(head, graph) if head.is_fresh else read_standing(store, graph))


def _read_over(store: RunStore, graph: Graph) -> Reading | None:
    """A run that has ended and that a resume does not change: it keeps its end. None if there is
    something to do.
    """
    standing = read_standing(store, graph)
    plan, _statuses = _read_plan(store, graph)
    # A decision made since then lets the run continue.
    unmoved = standing.info.status in OVER_RUNS and store.read_status() == standing.info.status
    if unmoved and changes_nothing(graph, plan, standing.info.status):
        # Skipped tasks are not evaluated again in this case.
        kept = [item for item in plan if item.action == "keep"]
        return Reading(graph, kept, standing)
    return None


def _fresh(head: RunHead, graph: Graph) -> RunReading:
    """The state of a run none of whose tasks can have begun: nothing need be read."""
    return RunReading("0-0", head.info, [None] * len(graph), {}, {})


def _read_plan(store: RunStore, graph: Graph) -> tuple[list[PlanItem], list[TaskStatus | None]]:
    """What a resume of the run would do now, see :func:`distflow.core.plan.plan_resume`; and the
    statuses that the plan is based on.
    """
    statuses = read_statuses(store, graph)
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
    return plan, statuses


def reopen_run(
    store: RunStore, epoch: int, graph: Graph, chance: Chance
) -> tuple[list[PlanItem], RunReading | None]:
    """Reopen a run that this epoch leads. Returns the plan, and the state of the tasks afterwards
    if it is known.

    A reopening that was cut off anywhere is completed by the next one.
    """
    store.begin_reopen(epoch, chance.new_token())
    before = store.last_event_id()
    plan, statuses = _read_plan(store, graph)
    reach("reopen:planned")
    items: Sequence[PlanItem] = [item for item in plan if item.progress is not None]
    try:
        _set_aside(store, epoch, graph, items)
        # An event after this id reports every later change of an outcome. An outcome that an
        # earlier event reported may have been set aside since.
        last_event = store.last_event_id()
        if last_event != before:
            statuses = read_statuses(store, graph)
        store.set_status(RunStatus.RUNNING, {RunStatus.REOPENING}, epoch=epoch, restart_clock=True)
    except WrongState:
        # It was cancelled in the same moment: the coordinator carries that out.
        return plan, None
    if last_event == before:
        for item in plan:
            if item.action == "again":
                statuses[item.task] = None
    standing = store.read_standing([])
    return plan, standing._replace(last_event=last_event, statuses=statuses)


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
