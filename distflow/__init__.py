"""distflow: workflows on plain RQ workers, and what is done is never done again.

The names below are found at their first use: work horses import this package for every job, and
must not pay for what only a submitting host needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distflow.authoring import TaskRef, Workflow, plan, task, workflow
    from distflow.core.model import Loop, Metrics, Retry, TaskResult
    from distflow.core.status import RunStatus, TaskStatus
    from distflow.errors import DistflowError, GiveUp, NotDone, RetryAfter
    from distflow.runs.client import Client, connect
    from distflow.runs.run import Run
    from distflow.runs.runner import TaskRunner, TaskRunnerBuilder
    from distflow.snapshot import Snapshot
    from distflow.wire.extensions import register_type
    from distflow_worker.context import TaskContext

__version__ = "0.1.0"

_HOMES = {
    "Client": "distflow.runs.client",
    "DistflowError": "distflow.errors",
    "GiveUp": "distflow.errors",
    "Loop": "distflow.core.model",
    "Metrics": "distflow.core.model",
    "NotDone": "distflow.errors",
    "Retry": "distflow.core.model",
    "RetryAfter": "distflow.errors",
    "Run": "distflow.runs.run",
    "RunStatus": "distflow.core.status",
    "Snapshot": "distflow.snapshot",
    "TaskContext": "distflow_worker.context",
    "TaskRef": "distflow.authoring",
    "TaskResult": "distflow.core.model",
    "TaskRunner": "distflow.runs.runner",
    "TaskRunnerBuilder": "distflow.runs.runner",
    "TaskStatus": "distflow.core.status",
    "Workflow": "distflow.authoring",
    "connect": "distflow.runs.client",
    "plan": "distflow.authoring",
    "register_type": "distflow.wire.extensions",
    "task": "distflow.authoring",
    "workflow": "distflow.authoring",
}

__all__ = [
    "Client",
    "DistflowError",
    "GiveUp",
    "Loop",
    "Metrics",
    "NotDone",
    "Retry",
    "RetryAfter",
    "Run",
    "RunStatus",
    "Snapshot",
    "TaskContext",
    "TaskRef",
    "TaskResult",
    "TaskRunner",
    "TaskRunnerBuilder",
    "TaskStatus",
    "Workflow",
    "connect",
    "plan",
    "register_type",
    "task",
    "workflow",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'distflow' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
