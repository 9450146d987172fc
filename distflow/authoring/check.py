"""The last check before a submit: can every function of a workflow be imported?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distflow.authoring.functions import (
    Signature,
    bind_arguments,
    check_accepts,
    import_function,
    read_signature,
)
from distflow.authoring.workflows import Workflow
from distflow.core.model import Task
from distflow.errors import WorkflowInvalid


def check_importable(workflow: Workflow) -> None:
    """Import every function that the workflow names, and check how it will be called.

    Raises:
        WorkflowInvalid: names the task, the function that fails, why, and how to mend it.
    """
    if workflow.context is not None:
        owner = f"workflow {workflow.name!r}: context"
        check_accepts(import_function(workflow.context, owner), (1, 2), owner)
    signatures: dict[str, Signature | None] = {}
    seen: set[tuple[str, int]] = set()

    def check_hook(path: str, count: int, owner: str) -> None:
        if (path, count) not in seen:
            seen.add((path, count))
            check_accepts(import_function(path, owner), (count,), owner)

    for task in workflow.tasks:
        owner = f"task {task.name!r}"
        if task.function not in signatures:
            function: Callable[..., Any] = import_function(task.function, owner)
            signatures[task.function] = read_signature(function, owner)
        signature = signatures[task.function]
        if signature is not None:
            _check_call(task, signature, owner)
        if task.condition is not None:
            check_hook(task.condition, 1, f"{owner}: condition")
        if task.verify is not None:
            check_hook(task.verify, 2, f"{owner}: verify")
        if task.loop is not None:
            check_hook(task.loop.until, 2, f"{owner}: Loop.until")


def _check_call(task: Task, signature: Signature, owner: str) -> None:
    args, _ = bind_arguments(signature, task.args, task.kwargs, owner)
    if len(args) < len(task.args):
        raise WorkflowInvalid(
            f"{owner}: {task.function!r} takes 'ctx' before other arguments: pass those after it "
            "by name, or make ctx keyword-only"
        )
