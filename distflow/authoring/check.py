"""The last check before a submit: is it a DAG, and can every function of it be imported?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from distflow.authoring.functions import (
    Signature,
    bind_arguments,
    check_accepts,
    import_function,
    read_signature,
)
from distflow.authoring.maps import check_parameters
from distflow.authoring.workflows import Workflow, is_plan
from distflow.core.graph import Graph
from distflow.core.model import Task, users_part
from distflow.errors import Problem, WorkflowInvalid


def check_workflow(workflow: Workflow) -> Graph:
    """Check everything about a workflow, and return its graph: see :func:`check_importable`.

    Raises:
        WorkflowInvalid: lists everything that is wrong.
    """
    problems: list[Problem] = []
    graph: Graph | None = None
    try:
        graph = workflow.compile()
    except WorkflowInvalid as error:
        problems += error.problems
    try:
        check_importable(workflow)
    except WorkflowInvalid as error:
        problems += error.problems
    if graph is None or problems:
        raise WorkflowInvalid(problems=problems)
    return graph


def check_importable(workflow: Workflow) -> None:
    """Import every function that the workflow names, and check how it will be called.

    Raises:
        WorkflowInvalid: names each task and function that fails, why, and how to fix it. A function
            that many tasks share is named once.
    """
    _ImportCheck().run(workflow)


class _Imported(NamedTuple):
    """What is known about a function."""

    signature: Signature | None
    is_plan: bool


class _ImportCheck:
    """Collects what is wrong."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._functions: dict[str, _Imported | None] = {}
        self._seen: set[tuple[str, int]] = set()

    def run(self, workflow: Workflow) -> None:
        """Check everything, and raise what was found."""
        if workflow.context is not None:
            owner = f"workflow {workflow.name!r}: context"
            with self._noting("not_importable", ""):
                check_accepts(import_function(workflow.context, owner), (1, 2), owner)
        for task in workflow.tasks:
            self._check_task(task)
        if self._problems:
            raise WorkflowInvalid(problems=self._problems)

    def _check_task(self, task: Task) -> None:
        owner = f"task {task.name!r}"
        grow = task.grow
        if grow is None or grow.child is None:
            self._check_function(task, owner)
            return
        child = users_part(task)._replace(args=task.args, condition=task.condition)
        self._check_function(child, owner, mapped=True)
        if grow.key is not None and ":" in grow.key:
            self._check_hook(task.name, grow.key, 1, f"{owner}: key")

    def _check_function(self, task: Task, owner: str, *, mapped: bool = False) -> None:
        if task.function not in self._functions:
            self._functions[task.function] = None
            with self._noting("not_importable", task.name):
                function = import_function(task.function, owner)
                found = _Imported(read_signature(function, owner), is_plan(function))
                self._functions[task.function] = found
        imported = self._functions[task.function]
        if imported is not None:
            with self._noting("wrong_call", task.name):
                _check_call(task, imported, owner, mapped=mapped)
        self._check_hook(task.name, task.condition, 1, f"{owner}: condition")
        self._check_hook(task.name, task.verify, 2, f"{owner}: verify")
        if task.loop is not None:
            self._check_hook(task.name, task.loop.until, 2, f"{owner}: Loop.until")

    def _check_hook(self, task: str, path: str | None, count: int, owner: str) -> None:
        if path is None or (path, count) in self._seen:
            return
        self._seen.add((path, count))
        with self._noting("not_importable", task):
            function = import_function(path, owner)
            with self._noting("wrong_call", task):
                check_accepts(function, (count,), owner)

    @contextmanager
    def _noting(self, kind: str, task: str) -> Iterator[None]:
        try:
            yield
        except WorkflowInvalid as error:
            self._problems.append(Problem(kind, task, str(error)))


def _check_call(task: Task, imported: _Imported, owner: str, *, mapped: bool) -> None:
    if imported.is_plan and task.grow is None:
        raise WorkflowInvalid(
            f"{owner}: {task.function!r} is a @plan: give it as the function itself, not as text, "
            "so that its tasks join the run"
        )
    if imported.signature is None:
        return
    if mapped:
        count = len(task.args)
        check_parameters(imported.signature, count, task.kwargs, task.function, owner)
        return
    args, _ = bind_arguments(imported.signature, task.args, task.kwargs, owner)
    if len(args) < len(task.args):
        raise WorkflowInvalid(
            f"{owner}: {task.function!r} takes 'ctx' before other arguments: pass those after it "
            "by name, or make ctx keyword-only"
        )
