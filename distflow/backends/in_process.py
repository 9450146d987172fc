"""One run in this process, without a server: its store in memory, its tasks on threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from distflow.authoring import Workflow
from distflow.dispatch.inline import InlineDispatcher
from distflow.ports.run_store import RunStore
from distflow.store.memory.store import MemoryRunStore
from distflow_worker.context import RecordedResults, make_context


def new_store(run_id: str) -> RunStore:
    """The store of a run that exists in this process only."""
    return MemoryRunStore(run_id)


def run_threads(
    workflow: Workflow,
    store: RunStore,
    threads: int,
    *,
    context: Any = None,
    simulated: bool = False,
) -> InlineDispatcher:
    """Run threads for the tasks of a run, for the length of a block.

    Args:
        workflow: the workflow of the run.
        store: its store.
        threads: how many tasks run at once.
        context: given to tasks as ``ctx.context``; None calls the workflow's factory.
        simulated: call conditions, but no function.
    """
    return InlineDispatcher(
        store, threads, _context_of(workflow, store, context), simulated=simulated
    )


def _context_of(workflow: Workflow, store: RunStore, given: Any) -> Callable[[], Any]:
    """Returns the given context, or calls the workflow's factory, once."""
    if given is not None or workflow.context is None:
        return lambda: given
    results = RecordedResults(store)
    return _Once(partial(make_context, workflow.context, workflow.params, results))


class _Once:
    """Calls a context factory at the first use; one that raises is called again."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[Any] = []

    def __call__(self) -> Any:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
