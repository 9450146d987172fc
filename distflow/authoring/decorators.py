"""``@task``: a function that becomes a task while a workflow is being built."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Unpack, overload

from distflow.authoring.option_checks import TaskOptions, check_options
from distflow.authoring.workflows import Workflow
from distflow.errors import WorkflowInvalid

#: The workflow that is being built. Threads that its function starts do not have it: there, as
#: inside tasks, a ``@task`` function is the plain function.
building: ContextVar[Workflow | None] = ContextVar("distflow_building", default=None)


class TaskFunction:
    """A function with the options of a task.

    Called inside a ``@workflow`` function it adds a task and returns its TaskRef; called
    anywhere else it is the plain function.
    """

    #: Marks an instance, for code that does not import this class.
    __distflow_task__ = True

    __name__: str

    def __init__(self, function: Callable[..., Any], task_options: TaskOptions) -> None:
        if not callable(function):
            raise WorkflowInvalid(
                f"@task got {function!r:.60}, which is not a function; pass options by name"
            )
        functools.update_wrapper(self, function)
        #: What the function was decorated with.
        self.task_options = task_options
        #: The plain function, which workers call.
        self.__distflow_function__ = function
        check_options({**task_options}, f"@task {getattr(function, '__name__', function)!r}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns a TaskRef while a workflow is built; anywhere else calls the function.

        Raises:
            WorkflowInvalid: while a workflow is built, names the task and what is wrong with it.
        """
        workflow = building.get()
        if workflow is None:
            return self.__distflow_function__(*args, **kwargs)
        return workflow.add(None, self, args, kwargs)

    def options(self, **options: Unpack[TaskOptions]) -> TaskFunction:
        """The same function with some options replaced, for one call.

        Raises:
            WorkflowInvalid: names the option and its valid values.

        """
        return TaskFunction(self.__distflow_function__, {**self.task_options, **options})

    def __repr__(self) -> str:
        return f"<task {getattr(self, '__module__', '?')}:{getattr(self, '__qualname__', '?')}>"


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
