"""A dry run: what would become of each task if every call succeeded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from distflow.authoring import Workflow
from distflow.backends.in_process import new_store, run_threads
from distflow.coordinator.executor import WorkflowExecutor
from distflow.core.graph import Graph
from distflow.core.model import TaskResult
from distflow.core.run import RunSpec, ServerFacts
from distflow.core.run_options import RunOptions
from distflow.core.status import TaskStatus
from distflow.events.notice import Listener, Notice
from distflow.ids import new_run_id
from distflow.ports.run_store import RunStore
from distflow.runs.run_writer import write_run
from distflow.runs.takeover import Takeover
from distflow.wire.codec import decode_result


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
    # Without options that would call more of the user's code, or wait.
    plain: dict[str, Any] = dict.fromkeys(("retry", "loop", "timeout", "verify"))
    inert = Graph.compile([task._replace(**plain) for task in graph.tasks])
    store = new_store(new_run_id())
    name = workflow.reference or workflow.name
    options = RunOptions(batch=False)
    spec = RunSpec(store.run_id, name, workflow.params, origin, options, ServerFacts("none"))
    write_run(store, spec, inert, taken)
    told = None if listener is None else partial(_tell, listener)
    # One after another is easier to follow.
    with run_threads(workflow, store, 1, context=context, simulated=True) as here:
        WorkflowExecutor(store, here, listener=told).lead()
    return read_all(store, graph)


def _tell(listener: Listener, notice: Notice) -> None:
    listener(notice._replace(simulated=True))


def read_all(store: RunStore, graph: Graph) -> dict[str, TaskResult]:
    """The results of all tasks of a run: see :func:`fill_results`."""
    names = [task.name for task in graph.tasks]
    packed = zip(names, store.read_results(names), strict=True)
    found = {name: decode_result(result) for name, result in packed if result is not None}
    return fill_results(graph, found)


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
        for above in graph.tasks[index].depends_on:
            unknown = above in results and results[above].status == TaskStatus.UNKNOWN
            cause = above if unknown else causes.get(above, "")
            if cause:
                causes.setdefault(name, cause)
        waits = f"it waits for {causes[name]!r}, which is unknown" if name in causes else "not run"
        filled[name] = TaskResult(TaskStatus.PENDING, message=waits)
    return filled
