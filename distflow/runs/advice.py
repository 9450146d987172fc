"""What a person should know about a run's Redis before the run continues."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.core.model import Task, users_part
from distflow.core.run import SAFE_DURABILITIES, UNKNOWN, ServerFacts
from distflow.core.status import TaskStatus
from distflow.ports.run_store import RunStore
from distflow.runs.graph_reader import iter_graph

#: Statuses of an at-most-once task that may still start.
_MAY_START = (None, TaskStatus.SKIPPED, TaskStatus.CANCELLED)


def durability_warnings(
    store: RunStore, server: ServerFacts | None = None, tasks: Sequence[Task] | None = None
) -> list[str]:
    """Warn, one line each, if Redis hides its settings, and if a crash of Redis may lose the fact
    that an at-most-once task has started.

    Args:
        store: the run.
        server: what the run has recorded about its server; None reads it.
        tasks: those of its graph; None reads them.
    """
    if server is None:
        server = store.read_info().server
    warnings: list[str] = []
    if server.maxmemory_policy == UNKNOWN:
        warnings.append(
            "this Redis hides its settings (CONFIG is refused): make sure that its "
            "maxmemory-policy is noeviction"
        )
    once = [] if server.durability in SAFE_DURABILITIES else _may_start_once(store, tasks)
    if once:
        more = f" and {len(once) - 1} more" if len(once) > 1 else ""
        warnings.append(
            f"{once[0]}{more} must run at most once, but this Redis (durability: "
            f"{server.durability}) may forget a start when it crashes: set appendonly yes and "
            "appendfsync always, or submit with --durability waitaof"
        )
    return warnings


def _may_start_once(store: RunStore, tasks: Sequence[Task] | None) -> list[str]:
    chunks = iter_graph(store) if tasks is None else [tasks]
    # A mapped task is named before its children are known.
    named = [
        task.name
        for chunk in chunks
        for task in chunk
        if users_part(task).effects == "at_most_once"
    ]
    statuses = store.read_statuses(named) if named else []
    return [name for name, status in zip(named, statuses, strict=True) if status in _MAY_START]
