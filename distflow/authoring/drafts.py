"""A task that is being added to a workflow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

from distflow.authoring.refs import TaskRef, freeze_refs
from distflow.core.model import Ref, Task
from distflow.errors import WorkflowInvalid

#: Returns the full name of the task that a reference or a name given as text stands for.
Naming = Callable[[TaskRef | Ref | str, str], str]


class Draft(NamedTuple):
    """What is known about a task before it is whole.

    Args:
        name: full name of the task.
        owner: what errors start with.
        path: ``"pkg.module:name"`` of its function.
        chosen: its options, checked, as the user wrote them.
        naming: resolves references.
        depends_on: its dependencies so far.
    """

    name: str
    owner: str
    path: str
    chosen: Mapping[str, Any]
    naming: Naming
    depends_on: dict[str, None]

    def freeze(self, value: Any) -> Any:
        """A copy of an argument with every TaskRef replaced by a Ref, which becomes a dependency.

        Raises:
            WorkflowInvalid: a TaskRef is of another workflow or build.
        """
        return freeze_refs(value, self._note)

    def order(self) -> list[str]:
        """Add the dependencies of the option ``depends_on``, and return them.

        Raises:
            WorkflowInvalid: one of them is neither a TaskRef of this workflow nor a name.
        """
        if "depends_on" not in self.chosen:
            return []
        names = list(names_of(self.chosen["depends_on"], self.naming, self.owner))
        self.depends_on.update(dict.fromkeys(names))
        return names

    def _note(self, ref: TaskRef | Ref) -> str:
        dependency = self.naming(ref, self.owner)
        self.depends_on[dependency] = None
        return dependency


def names_of(dependencies: object, naming: Naming, owner: str) -> Iterable[str]:
    """The full names of dependencies.

    Raises:
        WorkflowInvalid: one of them is neither a TaskRef of this workflow nor a name.
    """
    if isinstance(dependencies, str | TaskRef):
        dependencies = (dependencies,)
    if not isinstance(dependencies, Iterable):
        _refuse(dependencies, owner)
    for dependency in dependencies:
        if not isinstance(dependency, TaskRef | str):
            _refuse(dependency, owner)
        yield naming(dependency, owner)


def order_task(task: Task, later: Iterable[str]) -> Task:
    """The task, when it waits for further dependencies."""
    return task._replace(depends_on=tuple(dict.fromkeys((*task.depends_on, *later))))


def _refuse(dependency: object, owner: str) -> NoReturn:
    hint = "; a list is passed as .after(*refs)" if isinstance(dependency, list | tuple) else ""
    raise WorkflowInvalid(
        f"{owner}: a dependency must be a TaskRef or a task name, not {dependency!r:.60}{hint}"
    )
