"""``@task``: a function that becomes a task while a workflow is being built."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Self, Unpack, overload

from distflow.authoring.maps import Key, map_plainly
from distflow.authoring.option_checks import TaskOptions, check_options, check_plan_options
from distflow.authoring.workflows import Workflow
from distflow.errors import WorkflowInvalid

#: The workflow or plan that is being built. Threads that its function starts do not have it: there,
#: as inside tasks, a ``@task`` function is the plain function.
building: ContextVar[Workflow | None] = ContextVar("distflow_building", default=None)

#: Whether a plan is being called as the plain function: then a workflow that it calls is one, too.
called_plainly: ContextVar[bool] = ContextVar("distflow_called_plainly", default=False)


class TaskFunction:
    """A function with the options of a task.

    Called inside a ``@workflow`` or ``@plan`` function it adds a task and returns its TaskRef;
    called anywhere else it is the plain function.
    """

    #: Marks an instance, for code that does not import this class.
    __distflow_task__ = True

    __name__: str

    #: The decorator that makes it.
    decorator = "@task"

    def __init__(self, function: Callable[..., Any], task_options: TaskOptions) -> None:
        if not callable(function):
            raise WorkflowInvalid(
                f"{self.decorator} got {function!r:.60}, which is not a function; pass options by "
                "name"
            )
        if isinstance(function, TaskFunction) and type(function) is not type(self):
            raise WorkflowInvalid(
                f"{self.decorator} {function.__name__!r}: it has {function.decorator} already; "
                "keep one of the two"
            )
        functools.update_wrapper(self, function)
        #: What the function was decorated with.
        self.task_options = task_options
        #: The plain function, which workers call.
        self.__distflow_function__ = function
        owner = f"{self.decorator} {getattr(function, '__name__', function)!r}"
        self._check({**task_options}, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns a TaskRef while a workflow is built; anywhere else calls the function.

        Raises:
            WorkflowInvalid: while a workflow is built, names the task and what is wrong with it.
        """
        workflow = building.get()
        if workflow is None:
            return self._call_plainly(*args, **kwargs)
        return workflow.add(None, self, args, kwargs)

    def map(
        self,
        *iterables: Any,
        key: Key = None,
        max_failures: float | None = None,
        **fixed: Any,
    ) -> Any:
        """Run the function once per element, each time as a task of its own: a list of results.

        While a workflow is built, it adds a node, ``clean``, that adds its tasks, ``clean[0]``,
        ``clean[1]``, …, as soon as the elements are known, and returns a TaskRef that stands for
        the list of their results. Whatever takes it waits for all of them. A map over a mapped task
        follows it element by element: ``measure[7]`` runs as soon as ``clean[7]`` has.

        Args:
            iterables: lists, tuples, dicts (elements are ``(key, value)``) or TaskRefs of tasks
                that return one; of several, equally long, the function gets one element of each.
            key: names the tasks, as ``clean[DE]``: an item or attribute of each element, or a
                module-level function of it, or its ``"pkg.module:name"``. Without it, the keys of
                a dict name them if they are str or int, else positions. A map of ``at_most_once``
                tasks needs one.
            max_failures: how many of the tasks may fail, as a count or as a share between 0 and 1.
                Within it, whatever takes the list gets None for those that did.
            fixed: further arguments by name, the same for each element.

        Raises:
            WorkflowInvalid: names the node and what is wrong with it.
        """
        workflow = building.get()
        if workflow is None:
            owner = f"{self.decorator} {self.__name__!r}"
            return map_plainly(self._call_plainly, iterables, fixed, owner)
        return workflow.map(None, self, iterables, fixed, key=key, max_failures=max_failures)

    def options(self, **options: Unpack[TaskOptions]) -> Self:
        """The same function with some options replaced, for one call.

        Raises:
            WorkflowInvalid: names the option and its valid values.

        """
        return type(self)(self.__distflow_function__, {**self.task_options, **options})

    def _call_plainly(self, *args: Any, **kwargs: Any) -> Any:
        if not called_plainly.get():
            return self.__distflow_function__(*args, **kwargs)
        # A task that builds a workflow does so as anywhere.
        return _call(self.__distflow_function__, args, kwargs, plainly=False)

    def _check(self, options: dict[str, Any], owner: str) -> None:
        check_options(options, owner)

    def __repr__(self) -> str:
        home = getattr(self, "__module__", "?")
        return f"<{self.decorator[1:]} {home}:{getattr(self, '__qualname__', '?')}>"


class PlanFunction(TaskFunction):
    """A function that builds more of the graph, with the options of a task.

    Called inside a ``@workflow`` or ``@plan`` function it adds a node. A worker calls the function
    for it, with real values; the tasks that it calls then join the run, and the node stands for
    what it returns. Called anywhere else it is the plain function; tasks, plans and workflows that
    it calls are plain functions then.
    """

    #: Marks an instance, for code that does not import this class.
    __distflow_plan__ = True

    decorator = "@plan"

    def _call_plainly(self, *args: Any, **kwargs: Any) -> Any:
        return _call(self.__distflow_function__, args, kwargs, plainly=True)

    def _check(self, options: dict[str, Any], owner: str) -> None:
        check_plan_options(options, owner)


def _call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, plainly: bool
) -> Any:
    token = called_plainly.set(plainly)
    try:
        return function(*args, **kwargs)
    finally:
        called_plainly.reset(token)


@overload
def task(function: Callable[..., Any], /) -> TaskFunction: ...
@overload
def task(**options: Unpack[TaskOptions]) -> Callable[[Callable[..., Any]], TaskFunction]: ...
def task(
    function: Callable[..., Any] | None = None, /, **options: Unpack[TaskOptions]
) -> TaskFunction | Callable[[Callable[..., Any]], TaskFunction]:
    """Make a module-level function a task: ``@task`` or ``@task(retry=…, timeout=…)``.

    Args:
        function: what workers will import and call.
        options: those of :class:`~distflow.authoring.option_checks.TaskOptions`, such as ``retry``
            and ``timeout`` (seconds).

    Raises:
        WorkflowInvalid: names the option and what it may be.
    """
    if function is not None:
        return TaskFunction(function, options)
    return lambda decorated: TaskFunction(decorated, options)


@overload
def plan(function: Callable[..., Any], /) -> PlanFunction: ...
@overload
def plan(**options: Unpack[TaskOptions]) -> Callable[[Callable[..., Any]], PlanFunction]: ...
def plan(
    function: Callable[..., Any] | None = None, /, **options: Unpack[TaskOptions]
) -> PlanFunction | Callable[[Callable[..., Any]], PlanFunction]:
    """Make a module-level function a plan: ``@plan`` or ``@plan(retry=…, timeout=…)``.

    Args:
        function: what workers will import and call; it calls tasks to build more of the graph.
        options: those of ``@task``, without ``loop`` and ``verify``. A plan is always
            ``idempotent``.

    Raises:
        WorkflowInvalid: names the option and what it may be.
    """
    if function is not None:
        return PlanFunction(function, options)
    return lambda decorated: PlanFunction(decorated, options)
