"""What a person should know of a run's Redis before the run goes on."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.core.model import Task
from distflow.core.run import SAFE_DURABILITIES, UNKNOWN, ServerFacts
from distflow.core.status import TaskStatus
from distflow.ports.run_store import RunStore

#: Where an at-most-once task stands that may yet start.
_MAY_START = (None, TaskStatus.SKIPPED, TaskStatus.CANCELLED)


def durability_warnings(
    store: RunStore, server: ServerFacts | None = None, tasks: Sequence[Task] | None = None
) -> list[str]:
    """Where Redis does not tell its settings, and where a crash of it may forget that an
    at-most-once task has started: one line each.

    Args:
        store: the run.
        server: what the run has recorded of its server; None reads it.
        tasks: of its graph; None reads them.
    """
    if server is None:
        server = store.read_info().server
    warnings: list[str] = []
    if server.maxmemory_policy == UNKNOWN:
        warnings.append(
            "this Redis does not tell its settings (CONFIG is refused): see that its "
            "maxmemory-policy is noeviction"
        )
    once = [] if server.durability in SAFE_DURABILITIES else _may_start_once(store, tasks)
    if once:
        more = f" and {len(once) - 1} more" if len(once) > 1 else ""
        warnings.append(
            f"{once[0]}{more} must run at most once, and this Redis (durability: "
            f"{server.durability}) may forget a start when it crashes: set appendonly yes and "
            "appendfsync always, or submit with --durability waitaof"
        )
    return warnings


def _may_start_once(store: RunStore, tasks: Sequence[Task] | None) -> list[str]:
    chunks = store.iter_tasks() if tasks is None else [tasks]
    named = [task.name for chunk in chunks for task in chunk if task.effects == "at_most_once"]
    statuses = store.read_statuses(named) if named else []
    return [name for name, status in zip(named, statuses, strict=True) if status in _MAY_START]
