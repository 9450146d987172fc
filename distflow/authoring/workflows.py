"""Workflow: a DAG that is being built, from which the graph is compiled."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, Self, Unpack

from distflow.authoring.drafts import Draft, names_of, order_task
from distflow.authoring.freezing import check_encodable, freeze_options
from distflow.authoring.functions import (
    KnownFunctions,
    bind_arguments,
    check_accepts,
    function_path,
)
from distflow.authoring.maps import (
    Key,
    check_parameters,
    check_sources,
    check_tolerance,
    freeze_key,
    is_followable,
    make_node,
    order_node,
)
from distflow.authoring.namespace import Namespace
from distflow.authoring.option_checks import (
    AddOptions,
    check_name,
    check_named,
    check_options,
    check_params,
    check_plan_options,
    check_statuses,
)
from distflow.authoring.refs import TaskRef, freeze_refs
from distflow.authoring.reserved import find_reserved
from distflow.core.graph import Graph
from distflow.core.model import Grow, Ref, Task
from distflow.core.render import to_dot, to_mermaid
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput, NotEncodable, WorkflowInvalid
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

    #: What errors call it.
    kind = "workflow"

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
        self._returns: Any = None
        self._built = False
        self._tasks: dict[str, Task] = {}
        self._later: dict[str, dict[str, None]] = {}
        self._functions = KnownFunctions()
        self._names = Namespace(f"workflow {name!r}")

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
        draft = self._draft(name, function, options)
        owner = draft.owner
        if not isinstance(args, list | tuple):
            raise WorkflowInvalid(f"{owner}: args must be a list or tuple, not {args!r:.60}")
        check_named("kwargs", kwargs, owner)
        frozen_args = [draft.freeze(value) for value in args]
        frozen_kwargs = {key: draft.freeze(value) for key, value in kwargs.items()}
        draft.order()
        signature = self._functions.signature_of(function, draft.path, owner)
        bound: tuple[Sequence[Any], Mapping[str, Any]] = frozen_args, frozen_kwargs
        if signature is not None:
            bound = bind_arguments(signature, frozen_args, frozen_kwargs, owner)
        check_encodable(*bound, owner)
        fields = freeze_options(draft.chosen, owner)
        if is_plan(function):
            fields.update(effects="idempotent", grow=Grow("plan"))
        return self._put(
            Task(
                name=draft.name,
                function=draft.path,
                args=tuple(bound[0]),
                kwargs=bound[1] or Task._field_defaults["kwargs"],
                depends_on=tuple(draft.depends_on),
                **fields,
            )
        )

    def map(
        self,
        name: str | None,
        function: Callable[..., Any] | str,
        iterables: Sequence[Any],
        fixed: Mapping[str, Any] = MappingProxyType({}),
        *,
        key: Key = None,
        max_failures: float | None = None,
        **options: Unpack[AddOptions],
    ) -> TaskRef:
        """Add a node that makes one task per element, once the elements are known.

        Args:
            name: of the node; None takes the function's name. Its tasks are ``name[0]``, ….
            function: a task, a plan, a module-level function, or its ``"pkg.module:name"``.
            iterables: lists, tuples, dicts (elements are ``(key, value)``) or TaskRefs of tasks
                that return one; of several, equally long, one element of each is passed by
                position.
            fixed: further arguments by name, the same for each element.
            key: names its tasks, as ``name[DE]``: an item or attribute of each element, or a
                module-level function of it, or its ``"pkg.module:name"``.
            max_failures: how many of its tasks may fail: a count, or a share between 0 and 1.
            options: those of ``@task``. ``condition`` and ``depends_on`` are the node's, the others
                its tasks'.

        Raises:
            WorkflowInvalid: names the node and what is wrong with it.
        """
        draft = self._draft(name, function, options)
        owner = draft.owner
        check_sources(iterables, owner)
        check_tolerance(max_failures, owner)
        check_named("fixed", fixed, owner)
        signature = self._functions.signature_of(function, draft.path, owner)
        if signature is not None:
            check_parameters(signature, len(iterables), fixed, draft.path, owner)
        sources = tuple([draft.freeze(source) for source in iterables])
        arguments = {by_name: draft.freeze(value) for by_name, value in fixed.items()}
        check_encodable(sources, arguments, owner)
        # Whoever waits for a mapped node by name waits for the ends of all of its children.
        complete = draft.order()
        node = make_node(
            draft,
            sources=sources,
            fixed=arguments,
            key=freeze_key(key, sources[0], owner),
            max_failures=max_failures,
            follows=[ref for ref in self._followable(sources) if ref not in complete],
            maps_plan=is_plan(function),
        )
        return self._put(node)

    def order_after(self, task: str, dependencies: Iterable[TaskRef | str]) -> None:
        """Make ``task`` wait for ``dependencies``: what :meth:`TaskRef.after` does."""
        later = self._later.setdefault(task, {})
        names = names_of(dependencies, self._full_name, f"task {task!r}: after")
        later.update(dict.fromkeys(names))

    def section(self, name: str, *, chosen: bool) -> AbstractContextManager[None]:
        """See :meth:`Namespace.section <distflow.authoring.namespace.Namespace.section>`."""
        check_name(name, "sub-workflow")
        return self._names.section(name, chosen=chosen)

    @property
    def returns(self) -> Any:
        """The result of its run: what a ``@workflow`` function returned, or what was set here. That
        is TaskRefs, in lists, tuples and dicts or alone, and plain values; each TaskRef is kept as
        a Ref. None is nothing.

        Raises:
            WorkflowInvalid: on being set: it cannot be stored, or has a TaskRef of another workflow
                or build.
        """
        return self._returns

    @returns.setter
    def returns(self, returned: Any) -> None:
        owner = f"{self.kind} {self.name!r}: what it returns"
        template = freeze_refs(returned, lambda ref: self._full_name(ref, owner))
        try:
            codec.pack(template)
        except NotEncodable as error:
            raise WorkflowInvalid(f"{owner}: {error}") from None
        self._returns = template

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in the order in which they were added."""
        for name, later in self._later.items():
            task = self._tasks[name]
            self._tasks[name] = order_node(task, later) if task.grow else order_task(task, later)
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
            _names=self._names.copy(),
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
            WorkflowInvalid: a dependency is missing, there is a cycle, or a task has a name of
                those that a growing node gives its children.
        """
        tasks = self.tasks
        problems = find_reserved(tasks)
        try:
            graph = Graph.compile(tasks)
        except WorkflowInvalid as error:
            raise WorkflowInvalid(problems=[*error.problems, *problems]) from None
        if problems:
            raise WorkflowInvalid(problems=problems)
        return graph

    def validate(self) -> None:
        """Check the whole workflow; functions given as text are imported by `check_importable`.

        Raises:
            WorkflowInvalid: a dependency is missing, or there is a cycle.
        """
        self.compile()

    def to_mermaid(self, statuses: Mapping[str, TaskStatus] | None = None) -> str:
        """The workflow as a Mermaid flowchart, coloured by ``statuses`` where given."""
        return to_mermaid(self.compile(), check_statuses(statuses))

    def to_dot(self, statuses: Mapping[str, TaskStatus] | None = None) -> str:
        """The workflow as a Graphviz digraph, coloured by ``statuses`` where given."""
        return to_dot(self.compile(), check_statuses(statuses))

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r} of {counted(len(self._tasks), 'task')}>"

    def _draft(
        self, name: str | None, function: Callable[..., Any] | str, options: Mapping[str, Any]
    ) -> Draft:
        """Check the name and the options of a task, and find its function's path."""
        chosen: dict[str, Any] = {**getattr(function, "task_options", {}), **options}
        if name is None:
            name = chosen.get("name")
        else:
            check_name(name, "task")
        said = self._names.full(name or _short_name(function))
        owner = f"task {said!r}"
        check = check_plan_options if is_plan(function) else check_options
        check(chosen, owner)
        path = self._functions.path_of(function, owner)
        if name is None:
            full = self._names.find_free(self._names.full(path.rpartition(":")[2]))
            owner = f"task {full!r}"
        else:
            full = self._names.full(name)
            self._names.check_free(full, owner)
        return Draft(full, owner, path, chosen, self._full_name, {})

    def _followable(self, sources: Sequence[Any]) -> Iterable[str]:
        """The sources that a map can follow element by element."""
        refs = dict.fromkeys(source.task for source in sources if type(source) is Ref)
        return [ref for ref in refs if ref in self._tasks and is_followable(self._tasks[ref])]

    def _put(self, task: Task) -> TaskRef:
        self._names.take(task.name, f"task {task.name!r}")
        self._tasks[task.name] = task
        return TaskRef(task.name, self)

    def _full_name(self, ref: TaskRef | Ref | str, owner: str) -> str:
        """The name of a task; one given as text is that of a task beside it."""
        if isinstance(ref, str):
            return self._names.full(ref)
        if isinstance(ref, Ref):
            return self._names.full(ref.task)
        if ref.owner is not self:
            raise WorkflowInvalid(
                f"{owner}: {ref.name!r} is a task of another workflow or another build "
                f"({ref.owner.name!r}); its result cannot be used in {self.name!r}"
            )
        return ref.name


def is_plan(function: object) -> bool:
    """Whether it is what ``@plan`` has made."""
    return getattr(type(function), "__distflow_plan__", False)


def _short_name(function: Callable[..., Any] | str) -> str:
    if isinstance(function, str):
        return function
    return getattr(function, "__name__", type(function).__name__)
