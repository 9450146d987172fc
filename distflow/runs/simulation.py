"""A dry run: what would become of each task if every call succeeded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from distflow.authoring import Workflow
from distflow.backends.in_process import new_store, run_threads
from distflow.coordinator.executor import WorkflowExecutor
from distflow.core.graph import Graph
from distflow.core.model import Task, TaskResult, users_part
from distflow.core.reach import find_above
from distflow.core.run import RunSpec, ServerFacts
from distflow.core.run_options import RunOptions
from distflow.core.status import TaskStatus
from distflow.events.notice import Listener, Notice
from distflow.ids import new_run_id
from distflow.ports.run_store import RunStore
from distflow.runs.graph_reader import GraphReader
from distflow.runs.outcome_reader import read_outcomes
from distflow.runs.run_writer import write_run
from distflow.runs.takeover import Takeover
from distflow.snapshot.records import SavedExpansion
from distflow.wire.codec import encode_task, pack
from distflow.wire.tasks import decode_tasks


def simulate(
    workflow: Workflow,
    graph: Graph,
    taken: Takeover,
    origin: str,
    *,
    listener: Listener | None = None,
    context: Any = None,
) -> dict[str, TaskResult]:
    """Walk through a workflow, one task after another: only conditions are called.

    Args:
        workflow: the workflow.
        graph: the same, compiled.
        taken: what is known to be done.
        origin: from which the keys of its tasks are derived.
        listener: called with what would happen, marked as simulated.
        context: given to conditions as ``ctx.context``; None calls the workflow's factory.

    Returns:
        A result for every task: see :meth:`distflow.TaskRunner.execute`.
    """
    grown = {saved.node for saved in taken.expansions}
    inert = Graph.compile([_make_inert(task, grown) for task in graph.tasks])
    taken = taken._replace(expansions=[_make_inert_all(saved, grown) for saved in taken.expansions])
    store = new_store(new_run_id())
    name = workflow.reference or workflow.name
    options = RunOptions(batch=False)
    spec = RunSpec(store.run_id, name, workflow.params, origin, options, ServerFacts("none"))
    write_run(store, spec, inert, taken)
    told = None if listener is None else partial(_tell, listener)
    # One after another is easier to follow.
    with run_threads(workflow, store, 1, context=context, simulated=True) as here:
        WorkflowExecutor(store, here, listener=told).lead()
    return read_all(store, GraphReader(store).read() if taken.expansions else graph)


def _make_inert(task: Task, grown: Collection[str]) -> Task:
    """A task without options that would call more of the user's code, or wait; and one that adds
    nothing, unless it is among those that have: nobody knows what it would add.
    """
    plain: dict[str, Any] = dict.fromkeys(("retry", "loop", "timeout", "verify"))
    if task.grow is not None and task.name not in grown:
        # Workers take the function of a map for what it is.
        plain |= {"grow": None, "function": users_part(task).function}
    return task._replace(**plain)


def _make_inert_all(saved: SavedExpansion, grown: Collection[str]) -> SavedExpansion:
    """The same of all tasks of an expansion."""
    chunks = [
        (pack([encode_task(_make_inert(task, grown)) for task in decode_tasks(packed)]), prints)
        for packed, prints in saved.chunks
    ]
    return saved._replace(chunks=chunks)


def _tell(listener: Listener, notice: Notice) -> None:
    listener(notice._replace(simulated=True))


def read_all(store: RunStore, graph: Graph) -> dict[str, TaskResult]:
    """The results of all tasks of a run: see :func:`fill_results`."""
    return fill_results(graph, read_outcomes(store, graph))


def fill_results(graph: Graph, results: Mapping[str, TaskResult]) -> dict[str, TaskResult]:
    """The results of all tasks, in the order of the graph; tasks without one are pending."""
    filled: dict[str, TaskResult] = {}
    #: Task without an outcome -> the unknown task that it waits for, if any.
    causes: dict[str, str] = {}
    for index in graph.reading_order():
        name = graph.tasks[index].name
        if name in results:
            filled[name] = results[name]
            continue
        for above in (graph.tasks[each].name for each in find_above(graph, index)):
            unknown = above in results and results[above].status == TaskStatus.UNKNOWN
            cause = above if unknown else causes.get(above, "")
            if cause:
                causes.setdefault(name, cause)
        waits = f"it waits for {causes[name]!r}, which is unknown" if name in causes else "not run"
        filled[name] = TaskResult(TaskStatus.PENDING, message=waits)
    return filled
