"""Finds the tasks of a run: one by its name, or all with their status, in a graph of any size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from distflow.authoring.imports import did_you_mean
from distflow.core.expansion import is_below
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.run import TaskCut
from distflow.core.status import TaskStatus
from distflow.errors import TaskNotFound
from distflow.ports.run_store import RunStore
from distflow.runs.graph_reader import iter_graph, read_chunks
from distflow.wire.codec import status_of

#: A larger graph is not searched for similar names.
_GUESSED_TASKS = 20_000

#: Names that are read at a time.
_CHUNK = 1000


def iter_cuts(store: RunStore) -> Iterator[tuple[Task, TaskCut]]:
    """Every task with what the store has of it: in the graph's order, those of expansions last."""
    for tasks in _chunks(store):
        yield from zip(tasks, store.read_cut([task.name for task in tasks]), strict=True)


def live_status(cut: TaskCut, now: float) -> TaskStatus:
    """The status of a task: ``pending`` until a worker claims it. ``now`` is Unix seconds."""
    if cut.packed is not None:
        return status_of(cut.packed)
    if cut.claim is not None:
        return TaskStatus.STARTED if cut.claim.started else TaskStatus.CLAIMED
    if cut.progress is not None and cut.progress.not_before > now * 1000:
        return TaskStatus.WAITING
    return TaskStatus.PENDING


def live_statuses(store: RunStore, graph: Graph, now: float) -> dict[str, TaskStatus]:
    """The status of every task, without reading what the tasks returned."""
    # The claims are read first: a task that ends in between is found among the outcomes.
    claims, progress = store.read_claims(), store.read_progress()
    statuses: dict[str, TaskStatus] = {}
    for start in range(0, len(graph), _CHUNK):
        names = [task.name for task in graph.tasks[start : start + _CHUNK]]
        for name, status in zip(names, store.read_statuses(names), strict=True):
            cut = TaskCut(None, claims.get(name), progress.get(name))
            statuses[name] = status or live_status(cut, now)
    return statuses


def find_task(store: RunStore, name: str) -> Task:
    """A task of a run by its name, found without compiling the graph. Of its expansions only that
    one is read that may have the task.

    Raises:
        TaskNotFound: the run has no such task; the message has the closest name.
    """
    names: list[str] = []
    for tasks in chain(store.iter_tasks(), _read_made(store, name)):
        for task in tasks:
            if task.name == name:
                return task
        names += [task.name for task in tasks]
    hint = did_you_mean(name, names) if len(names) <= _GUESSED_TASKS else ""
    raise TaskNotFound(
        f"run {store.run_id} has no task {name!r}"
        + (hint or f"; see `distflow status {store.run_id} --tasks`")
    )


def _read_made(store: RunStore, name: str) -> Iterator[list[Task]]:
    """What the innermost node has added to whose children this name belongs."""
    records = store.read_expansions()
    makers = [node for node in records if is_below(name, node)]
    if makers:
        yield from read_chunks(store, records[max(makers, key=len)])


def _chunks(store: RunStore) -> Iterator[list[Task]]:
    for tasks in iter_graph(store):
        for start in range(0, len(tasks), _CHUNK):
            yield tasks[start : start + _CHUNK]
