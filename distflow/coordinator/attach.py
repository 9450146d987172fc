"""A person's resume: set aside what is evaluated again, dependents before their dependencies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from distflow.core.graph import Graph
from distflow.core.model import TaskResult
from distflow.core.plan import PlanItem, changes_nothing, plan_resume
from distflow.core.readings import KnownGraph, RunHead, RunReading
from distflow.core.status import ACTIVE_RUNS, OVER_RUNS, REOPENED, RunStatus, TaskStatus
from distflow.errors import RunGone, RunNotFound, WrongState
from distflow.faults import reach
from distflow.ids import new_token
from distflow.ports.run_store import RunStore
from distflow.wire.codec import decode_result

#: Names that are read at a time.
_CHUNK = 1000


def read_graph(store: RunStore, head: RunHead | None = None) -> Graph:
    """The frozen graph of a run, of which ``head`` may have been read already: a resume needs none
    of the user's code.
    """
    tasks = list(head.tasks) if head else []
    if head is None or len(tasks) < head.info.total:
        for chunk in store.iter_tasks(start=1 if tasks else 0):
            tasks += chunk
    return Graph.compile(tasks)


class Reading(NamedTuple):
    """A run as it was read: its graph, what a reopening planned (empty where there was none), and
    where its tasks stand.
    """

    graph: Graph
    plan: list[PlanItem]
    standing: RunReading


def read_run(
    store: RunStore, epoch: int, head: RunHead, known: KnownGraph | None = None, *, reopen: bool
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
        plan, standing = reopen_run(store, epoch, graph)
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


def read_standing(store: RunStore, graph: Graph) -> RunReading:
    """Where the run and all its tasks stand: the statuses are those of the whole graph. What
    happens meanwhile is told by events after ``last_event``.
    """
    standing = store.read_standing([task.name for task in graph.tasks[:_CHUNK]])
    reach("attach:standing")
    rest = read_statuses(store, graph, first=_CHUNK)
    return standing._replace(statuses=standing.statuses + rest)


def _fresh(head: RunHead, graph: Graph) -> RunReading:
    """Where a run stands of whose tasks none can have begun: nothing need be read."""
    return RunReading("0-0", head.info, [None] * len(graph), {}, {})


def read_statuses(store: RunStore, graph: Graph, *, first: int = 0) -> list[TaskStatus | None]:
    """The outcome's status of every task from index ``first`` on, without its data."""
    statuses: list[TaskStatus | None] = []
    for start in range(first, len(graph), _CHUNK):
        names = [task.name for task in graph.tasks[start : start + _CHUNK]]
        statuses += store.read_statuses(names)
    return statuses


def _read_plan(store: RunStore, graph: Graph) -> tuple[list[PlanItem], list[TaskStatus | None]]:
    """What a resume of the run would do now, see :func:`distflow.core.plan.plan_resume`; and the
    outcomes' statuses that it rests on.
    """
    statuses = read_statuses(store, graph)
    again = [index for index, status in enumerate(statuses) if status in REOPENED]
    details: dict[int, TaskResult] = {}
    for start in range(0, len(again), _CHUNK):
        indices = again[start : start + _CHUNK]
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
    store: RunStore, epoch: int, graph: Graph
) -> tuple[list[PlanItem], RunReading | None]:
    """Reopen a run that this epoch leads, and return what was planned, and where its tasks stand
    then if that is known.

    A reopening that was cut off anywhere is ended by the next one.
    """
    store.begin_reopen(epoch, new_token())
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


def relist(store: RunStore) -> None:
    """Whoever ended the run was frozen then, and has taken it off the list of active runs just now:
    somebody may have resumed it meanwhile.
    """
    with suppress(RunGone, RunNotFound):
        info = store.read_info()
        if info.status in ACTIVE_RUNS:
            store.mark_active(info.version)


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
