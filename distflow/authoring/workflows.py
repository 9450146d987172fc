"""Workflow: a DAG that is being built, from which the graph is compiled."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn, Self, Unpack

from distflow.authoring.functions import (
    Signature,
    bind_arguments,
    check_accepts,
    function_path,
    read_signature,
)
from distflow.authoring.option_checks import AddOptions, check_name, check_options
from distflow.authoring.refs import TaskRef, freeze_refs
from distflow.core.graph import Graph
from distflow.core.model import Loop, Ref, Task
from distflow.core.options import HOOKS, PLAIN_OPTIONS
from distflow.core.render import to_dot, to_mermaid
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput, NotEncodable, WorkflowInvalid
from distflow.given import check_mapping
from distflow.text import counted
from distflow.wire import codec


class Workflow:
    """A DAG of tasks, written with ``@workflow`` or task by task with :meth:`add`.

    Args:
        name: of the workflow, for people.
        context: a module-level function, or its ``"pkg.module:name"``, that each worker process
            calls once per run, as ``factory(params)`` or ``factory(params, snapshot)``.

    Raises:
        WorkflowInvalid: the name is empty, or workers could not import the context.
    """

    def __init__(self, name: str, context: Callable[..., Any] | str | None = None) -> None:
        check_name(name, "workflow")
        #: Its name, for people.
        self.name = name
        owner = f"workflow {name!r}: context"
        #: ``"pkg.module:factory"``, or None.
        self.context = None if context is None else function_path(context, owner)
        if callable(context):
            check_accepts(context, (1, 2), owner)
        #: The parameters it was built with, defaults applied: ``ctx.params`` of its tasks.
        self.params: dict[str, Any] = {}
        #: The ``"module:name"`` where it was found; None for one that was built ad hoc.
        self.reference: str | None = None
        self._built = False
        self._tasks: dict[str, Task] = {}
        self._later: dict[str, dict[str, None]] = {}
        self._signatures: dict[str, Signature | None] = {}
        self._next_suffix: dict[str, int] = {}

    def add(
        self,
        name: str | None,
        function: Callable[..., Any] | str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = MappingProxyType({}),
        **options: Unpack[AddOptions],
    ) -> TaskRef:
        """Add a task.

        Args:
            name: unique in the workflow; None takes the function's name, then ``name_2``, ….
            function: a module-level function, or its ``"pkg.module:name"``.
            args: its positional arguments; a TaskRef anywhere in lists, tuples and dicts is a
                dependency, and stands for its data.
            kwargs: its arguments by name, likewise.
            options: those of ``@task``; they override the options in the function's decorator.

        Raises:
            WorkflowInvalid: names the task and what is wrong with it.
        """
        chosen: dict[str, Any] = {**getattr(function, "task_options", {}), **options}
        if name is None:
            name = chosen.get("name")
        else:
            check_name(name, "task")
        owner = f"task {name!r}" if name else f"task {_short_name(function)!r}"
        check_options(chosen, owner)
        path = function_path(function, owner)
        if name is None:
            name = self._free_name(path.rpartition(":")[2])
            owner = f"task {name!r}"
        elif name in self._tasks:
            raise WorkflowInvalid(
                f"{owner}: workflow {self.name!r} has a task of this name already; "
                "give one of them another name"
            )
        depends_on: dict[str, None] = {}

        def note(ref: TaskRef | Ref) -> str:
            dependency = self._name_of(ref, owner)
            depends_on[dependency] = None
            return dependency

        if not isinstance(args, list | tuple):
            raise WorkflowInvalid(f"{owner}: args must be a list or tuple, not {args!r:.60}")
        check_mapping(f"{owner}: kwargs", kwargs, "arguments by name")
        frozen_args = [freeze_refs(value, note) for value in args]
        frozen_kwargs = {key: freeze_refs(value, note) for key, value in kwargs.items()}
        for dependency in self._names_of(chosen.get("depends_on", ()), owner):
            depends_on[dependency] = None
        bound = self._bind(function, path, frozen_args, frozen_kwargs, owner)
        _check_encodable(*bound, owner)
        self._tasks[name] = Task(
            name=name,
            function=path,
            args=bound[0],
            kwargs=bound[1] or Task._field_defaults["kwargs"],
            depends_on=tuple(depends_on),
            retry=chosen.get("retry"),
            loop=_freeze_loop(chosen.get("loop"), owner),
            **_freeze_options(chosen, owner),
        )
        return TaskRef(name, self)

    def order_after(self, task: str, dependencies: Iterable[TaskRef | str]) -> None:
        """Make ``task`` wait for ``dependencies``: what :meth:`TaskRef.after` does."""
        later = self._later.setdefault(task, {})
        later.update(dict.fromkeys(self._names_of(dependencies, f"task {task!r}: after")))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in the order in which they were added."""
        for name, later in self._later.items():
            task = self._tasks[name]
            merged = tuple(dict.fromkeys((*task.depends_on, *later)))
            self._tasks[name] = task._replace(depends_on=merged)
        self._later.clear()
        return tuple(self._tasks.values())

    def build(self, params: Mapping[str, Any] | None = None) -> Self:
        """This workflow with ``params`` as the parameters of its run.

        Raises:
            InvalidInput: it was built from a workflow function, so it has its parameters already,
                or a parameter cannot be encoded.
        """
        if not params:
            return self
        if self._built:
            raise InvalidInput(
                f"workflow {self.name!r} was built with its parameters already: give them to "
                "the call that builds it, or give the workflow function itself"
            )
        return self.evolve(params, self.reference)

    def evolve(
        self, params: Mapping[str, Any], reference: str | None, *, built: bool = False
    ) -> Self:
        """A copy with other parameters and another reference.

        Args:
            params: of the run.
            reference: ``"module:name"``, or None.
            built: whether the parameters shaped the tasks, and so cannot be replaced.

        Raises:
            InvalidInput: a parameter cannot be encoded.
        """
        check_params(params, f"workflow {self.name!r}")
        evolved = copy.copy(self)
        vars(evolved).update(
            params=dict(params),
            reference=reference,
            _built=built,
            _tasks={task.name: task for task in self.tasks},
            _later={},
        )
        return evolved

    def with_context(self, context: Callable[..., Any] | str) -> Self:
        """A copy with another context factory: see the class.

        Raises:
            WorkflowInvalid: workers could not import it.
        """
        evolved = self.evolve(self.params, self.reference, built=self._built)
        evolved.context = Workflow(self.name, context).context
        return evolved

    def compile(self) -> Graph:
        """The validated graph.

        Raises:
            WorkflowInvalid: a dependency is missing, or there is a cycle.
        """
        return Graph.compile(self.tasks)

    def validate(self) -> None:
        """Check the whole workflow; functions given as text are imported by `check_importable`.

        Raises:
            WorkflowInvalid: a dependency is missing, or there is a cycle.
        """
        self.compile()

    def to_mermaid(self, statuses: Mapping[str, TaskStatus] | None = None) -> str:
        """The workflow as a Mermaid flowchart, coloured by ``statuses`` where given."""
        return to_mermaid(self.compile(), _check_statuses(statuses))

    def to_dot(self, statuses: Mapping[str, TaskStatus] | None = None) -> str:
        """The workflow as a Graphviz digraph, coloured by ``statuses`` where given."""
        return to_dot(self.compile(), _check_statuses(statuses))

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r} of {counted(len(self._tasks), 'task')}>"

    def _free_name(self, base: str) -> str:
        name = base
        suffix = self._next_suffix.get(base, 2)
        while name in self._tasks:
            name = f"{base}_{suffix}"
            suffix += 1
        self._next_suffix[base] = suffix
        return name

    def _name_of(self, ref: TaskRef | Ref, owner: str) -> str:
        if isinstance(ref, Ref):
            return ref.task
        if ref.owner is not self:
            raise WorkflowInvalid(
                f"{owner}: {ref.name!r} is a task of another workflow or another build "
                f"({ref.owner.name!r}); its result cannot be used in {self.name!r}"
            )
        return ref.name

    def _names_of(self, dependencies: object, owner: str) -> Iterable[str]:
        if isinstance(dependencies, str | TaskRef):
            dependencies = (dependencies,)
        if not isinstance(dependencies, Iterable):
            _refuse_dependency(dependencies, owner)
        for dependency in dependencies:
            if isinstance(dependency, TaskRef):
                yield self._name_of(dependency, owner)
            elif isinstance(dependency, str):
                yield dependency
            else:
                _refuse_dependency(dependency, owner)

    def _bind(
        self,
        function: Callable[..., Any] | str,
        path: str,
        args: list[Any],
        kwargs: dict[str, Any],
        owner: str,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if "ctx" in kwargs:
            raise WorkflowInvalid(f"{owner}: distflow passes 'ctx' itself; do not pass it")
        if isinstance(function, str):
            return tuple(args), kwargs
        if path not in self._signatures:
            self._signatures[path] = read_signature(function, owner)
        signature = self._signatures[path]
        if signature is None:
            return tuple(args), kwargs
        return bind_arguments(signature, args, kwargs, owner)


def _check_statuses(statuses: Mapping[str, TaskStatus] | None) -> Mapping[str, TaskStatus]:
    for name, status in check_mapping("statuses", statuses or {}, "statuses by task").items():
        if status not in [*TaskStatus]:
            raise InvalidInput(f"statuses: task {name!r} has {status!r:.60}, which is not a status")
    return statuses or {}


def check_params(params: Mapping[str, Any], owner: str) -> None:
    """Check that every parameter of a run can be recorded.

    Raises:
        InvalidInput: names the parameter that cannot be encoded.
    """
    for name, value in check_mapping(f"{owner}: params", params, "values by name").items():
        try:
            codec.pack({name: value})
        except NotEncodable as error:
            raise InvalidInput(f"{owner}: parameter {error}") from None


def _short_name(function: Callable[..., Any] | str) -> str:
    if isinstance(function, str):
        return function
    return getattr(function, "__name__", type(function).__name__)


def _check_encodable(args: tuple[Any, ...], kwargs: dict[str, Any], owner: str) -> None:
    try:
        codec.pack([*args])
        codec.pack(kwargs)
    except NotEncodable as error:
        raise WorkflowInvalid(f"{owner}: argument {error}") from None


def _freeze_options(chosen: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The options that travel under their own names, in the form the task has them."""
    frozen = {name: chosen[name] for name in PLAIN_OPTIONS if name in chosen}
    for name, count in HOOKS.items():
        if name in chosen:
            frozen[name] = _freeze_hook(chosen[name], count, f"{owner}: {name}")
    return frozen


def _freeze_hook(hook: Callable[..., Any] | str | None, count: int, owner: str) -> str | None:
    """The path of a hook; ``count`` is the number of its arguments."""
    if hook is None:
        return None
    path = function_path(hook, owner)
    if callable(hook):
        check_accepts(hook, (count,), owner)
    return path


def _freeze_loop(loop: Loop | None, owner: str) -> Loop | None:
    if loop is None:
        return None
    path = function_path(loop.until, f"{owner}: Loop.until")
    if callable(loop.until):
        check_accepts(loop.until, (2,), f"{owner}: Loop.until")
    return loop._replace(until=path)


def _refuse_dependency(dependency: object, owner: str) -> NoReturn:
    hint = "; a list is passed as .after(*refs)" if isinstance(dependency, list | tuple) else ""
    raise WorkflowInvalid(
        f"{owner}: a dependency must be a TaskRef or a task name, not {dependency!r:.60}{hint}"
    )
