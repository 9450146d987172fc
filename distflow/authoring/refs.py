"""TaskRef: stands for the result of a task while a workflow is being built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

from distflow.core.model import Ref
from distflow.errors import WorkflowInvalid

#: Containers nested deeper than this are left as they are: the codec refuses them by path.
_MAX_DEPTH = 256


class RefOwner(Protocol):
    """The workflow or plan that a TaskRef belongs to."""

    name: str
    kind: str

    def order_after(self, task: str, dependencies: tuple[Any, ...]) -> None:
        """Make a task wait for others."""


def _refusal(use: str, hint: str) -> Any:
    def refuse(self: TaskRef, *_: object) -> Any:
        raise WorkflowInvalid(
            f"the result of task {self.name!r} cannot be {use} while the {self.owner.kind} is "
            f"built, because the task has not run yet; {hint}"
        )

    return refuse


_IN_TASK = "do it inside a task that takes it as an argument"
_CONDITION = "use condition= of a task, or decide in a task or @plan that takes it as an argument"
_compare = _refusal("compared", _CONDITION)
_compute = _refusal("computed with", _IN_TASK)
_convert = _refusal("converted", _IN_TASK)


class TaskRef:
    """The future result of a task: only usable as an argument of other tasks.

    Calls of ``@task`` functions inside a workflow function, and :meth:`Workflow.add`, return one.
    """

    __slots__ = ("name", "owner")

    def __init__(self, name: str, owner: RefOwner) -> None:
        #: Name of the task.
        self.name = name
        #: The workflow that has it.
        self.owner = owner

    def after(self, *dependencies: TaskRef | str) -> Self:
        """Make this task wait for others without taking their results.

        Args:
            dependencies: refs, or names of tasks of the same workflow.

        Raises:
            WorkflowInvalid: one of them is of another workflow.
        """
        self.owner.order_after(self.name, dependencies)
        return self

    def __repr__(self) -> str:
        return f"<TaskRef {self.name!r}>"

    __bool__: Any = _refusal("used as true or false", _CONDITION)
    __iter__: Any = _refusal(
        "iterated over", _IN_TASK + ", or use .map(...) to run a task for each element"
    )
    __getitem__: Any = _refusal("indexed", _IN_TASK)
    __len__: Any = _refusal("measured with len()", _IN_TASK)
    __hash__: Any = _refusal(
        "a dict key or an element of a set", "use its .name, or keep refs in a list"
    )
    __format__: Any = _refusal("put into text", _IN_TASK + " (its name is .name)")
    __eq__: Any = _compare
    __ne__: Any = _compare
    __lt__: Any = _compare
    __le__: Any = _compare
    __gt__: Any = _compare
    __ge__: Any = _compare
    __int__: Any = _convert
    __float__: Any = _convert
    __index__: Any = _convert
    __add__: Any = _compute
    __radd__: Any = _compute
    __sub__: Any = _compute
    __rsub__: Any = _compute
    __mul__: Any = _compute
    __rmul__: Any = _compute
    __truediv__: Any = _compute
    __rtruediv__: Any = _compute
    __floordiv__: Any = _compute
    __rfloordiv__: Any = _compute
    __mod__: Any = _compute
    __and__: Any = _compute
    __rand__: Any = _compute
    __or__: Any = _compute
    __ror__: Any = _compute
    __neg__: Any = _compute


def freeze_refs(value: Any, note: Callable[[TaskRef | Ref], str]) -> Any:
    """A copy of ``value`` with every TaskRef in its lists, tuples and dicts replaced by a Ref.

    Args:
        value: an argument of a task.
        note: called with each reference; returns the name of its task.
    """
    return _freeze(value, note, _MAX_DEPTH)


def _freeze(value: Any, note: Callable[[TaskRef | Ref], str], depth: int) -> Any:
    kind = type(value)
    if kind is TaskRef or kind is Ref:
        return Ref(note(value))
    if depth == 0:
        return value
    if kind is list:
        return [_freeze(element, note, depth - 1) for element in value]
    if kind is tuple:
        return tuple([_freeze(element, note, depth - 1) for element in value])
    if kind is dict:
        return {key: _freeze(element, note, depth - 1) for key, element in value.items()}
    return value
