"""Reads the state of a run and all of its tasks."""

from __future__ import annotations

from distflow.core.graph import Graph
from distflow.core.readings import RunHead, RunReading
from distflow.core.status import TaskStatus
from distflow.faults import reach
from distflow.ports.run_store import RunStore

#: How many tasks are read at a time.
CHUNK = 1000


def read_graph(store: RunStore, head: RunHead | None = None) -> Graph:
    """The frozen graph of a run, of which ``head`` may have been read already. It comes from the
    store: a resume needs none of the user's code.
    """
    tasks = list(head.tasks) if head else []
    if head is None or len(tasks) < head.info.total:
        for chunk in store.iter_tasks(start=1 if tasks else 0):
            tasks += chunk
    return Graph.compile(tasks)


def read_standing(store: RunStore, graph: Graph) -> RunReading:
    """The state of the run and of all its tasks, with the statuses of the whole graph. Events after
    ``last_event`` report what happens meanwhile.
    """
    standing = store.read_standing([task.name for task in graph.tasks[:CHUNK]])
    reach("attach:standing")
    rest = read_statuses(store, graph, first=CHUNK)
    return standing._replace(statuses=standing.statuses + rest)


def read_statuses(store: RunStore, graph: Graph, *, first: int = 0) -> list[TaskStatus | None]:
    """The outcome's status of every task from index ``first`` on, without its data."""
    statuses: list[TaskStatus | None] = []
    for start in range(first, len(graph), CHUNK):
        names = [task.name for task in graph.tasks[start : start + CHUNK]]
        statuses += store.read_statuses(names)
    return statuses
