"""A person's resume: set aside what is evaluated again, dependents before their dependencies."""

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
    """A run as it was read: its graph, what a reopening planned (empty where there was none), and
    where its tasks stand.
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
    """Read a run that this epoch leads, but what is ``known`` of it; and reopen it if that is
    wanted, or was cut off: whoever leads it next ends that.
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
    """A run that has ended, where a resume changes nothing of it: it keeps its end. None where
    there is something to do.
    """
    standing = read_standing(store, graph)
    plan, _statuses = _read_plan(store, graph)
    # A decision in the meantime lets the run go on.
    unmoved = standing.info.status in OVER_RUNS and store.read_status() == standing.info.status
    if unmoved and changes_nothing(graph, plan, standing.info.status):
        # What was skipped is not evaluated again after all.
        kept = [item for item in plan if item.action == "keep"]
        return Reading(graph, kept, standing)
    return None


def _fresh(head: RunHead, graph: Graph) -> RunReading:
    """Where a run stands of whose tasks none can have begun: nothing need be read."""
    return RunReading("0-0", head.info, [None] * len(graph), {}, {})


def _read_plan(store: RunStore, graph: Graph) -> tuple[list[PlanItem], list[TaskStatus | None]]:
    """What a resume of the run would do now, see :func:`distflow.core.plan.plan_resume`; and the
    outcomes' statuses that it rests on.
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
    """Reopen a run that this epoch leads, and return what was planned, and where its tasks stand
    then if that is known.

    A reopening that was cut off anywhere is ended by the next one.
    """
    store.begin_reopen(epoch, chance.new_token())
    before = store.last_event_id()
    plan, statuses = _read_plan(store, graph)
    reach("reopen:planned")
    items: Sequence[PlanItem] = [item for item in plan if item.progress is not None]
    try:
        _set_aside(store, epoch, graph, items)
        # Whatever changes an outcome after this is told by an event. What one before this told may
        # have been set aside since.
        last_event = store.last_event_id()
        if last_event != before:
            statuses = read_statuses(store, graph)
        store.set_status(RunStatus.RUNNING, {RunStatus.REOPENING}, epoch=epoch, restart_clock=True)
    except WrongState:
        # It was cancelled at this very moment: the coordinator does that.
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
