"""What a plan builds on a worker: a fragment of the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from distflow.authoring.decorators import building
from distflow.authoring.namespace import Namespace
from distflow.authoring.refs import TaskRef
from distflow.authoring.reserved import find_reserved
from distflow.authoring.workflows import Workflow
from distflow.core.claim import MAX_TASKS
from distflow.core.expansion import MOST_NESTED, nesting
from distflow.core.graph import Graph
from distflow.core.model import Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.errors import Problem, WorkflowInvalid
from distflow.text import counted

#: Characters of a name that errors about nesting show.
_SHOWN_NAME = 60


class Fragment(NamedTuple):
    """What a plan has made: its children, and what its node stands for.

    ``tasks`` have their full names, and come after what they depend on. ``value`` is what the plan
    returned, with a Ref for each TaskRef. ``result`` is set if that was a TaskResult: its data is
    then the ``value``, and there are no tasks unless it is a success.
    """

    tasks: tuple[Task, ...]
    value: Any
    result: TaskResult | None = None


def build_fragment(
    node: Task,
    call: Callable[[], Any],
    *,
    max_tasks: int = MAX_TASKS,
    context: str | None = None,
) -> Fragment:
    """Call a plan's function, and return what it builds. No function of a task is imported: it may
    be for workers of other queues.

    Args:
        node: the plan. Its children may depend on what it depends on, and on each other.
        call: calls its function with the values of its arguments.
        max_tasks: how many tasks it may make at most.
        context: ``"pkg.module:factory"`` of the run, the only one that sub-workflows may have.

    Raises:
        WorkflowInvalid: the tasks, or what the function returned, are not valid; one line.
        BaseException: whatever the function raises.
    """
    build = _PlanBuild(node, max_tasks, context)
    token = building.set(build)
    try:
        returned = call()
    finally:
        building.reset(token)
    if not isinstance(returned, TaskResult):
        build.returns = returned
        return Fragment(build.children(), build.returns)
    build.returns = returned.data
    succeeded = returned.status == TaskStatus.SUCCESS
    return Fragment(build.children() if succeeded else (), build.returns, returned)


class _PlanBuild(Workflow):
    """The tasks of a plan while its function runs."""

    kind = "plan"

    def __init__(self, node: Task, max_tasks: int, context: str | None) -> None:
        super().__init__(node.name)
        self.context = context
        self._node = node
        self._max_tasks = max_tasks
        self._names = Namespace(f"plan {node.name!r}", f"{node.name}.")

    def _put(self, task: Task) -> TaskRef:
        if len(self._tasks) >= self._max_tasks:
            raise WorkflowInvalid(
                f"plan {self.name!r} makes more than {counted(self._max_tasks, 'task')}, the limit "
                "of its run: give each task more to do, or raise --max-tasks (max_tasks)"
            )
        if task.grow is not None and nesting(task.name) >= MOST_NESTED:
            raise WorkflowInvalid(
                f"plan {self.name[:_SHOWN_NAME]!r}…: maps and plans nest deeper than "
                f"{MOST_NESTED} levels; end the recursion earlier"
            )
        return super()._put(task)

    def children(self) -> tuple[Task, ...]:
        """The tasks, checked as a whole, after what they depend on.

        Raises:
            WorkflowInvalid: a dependency is neither one of them nor one of the plan, there is a
                cycle, or a name is one of those that a growing node gives its children.
        """
        problems: list[Problem] = []
        tasks = [self._resolve(task, problems) for task in self.tasks]
        problems += find_reserved(tasks)
        own = self._tasks
        # What the plan itself depends on has ended.
        among = [
            task._replace(depends_on=tuple(name for name in task.depends_on if name in own))
            for task in tasks
        ]
        try:
            graph = Graph.compile(among)
        except WorkflowInvalid as error:
            raise WorkflowInvalid(problems=[*problems, *error.problems]) from None
        if problems:
            raise WorkflowInvalid(problems=problems)
        return tuple(tasks[index] for index in graph.reading_order())

    def _resolve(self, task: Task, problems: list[Problem]) -> Task:
        """The task, with the full names of what the plan was given in place of the names by which
        it depends on that.
        """
        if all(name in self._tasks for name in task.depends_on):
            return task
        return task._replace(depends_on=tuple(self._resolved(task, problems)))

    def _resolved(self, task: Task, problems: list[Problem]) -> Iterator[str]:
        given = self._node.depends_on
        for name in task.depends_on:
            local = name.removeprefix(f"{self.name}.")
            if name in self._tasks:
                yield name
            elif local in given:
                yield local
            else:
                problem = (
                    f"task {task.name!r} depends on {local!r}, which is neither a task of plan "
                    f"{self.name!r} nor one that it depends on; pass that to the plan, or name it "
                    "in its .after(...)"
                )
                problems.append(Problem("missing_dependency", task.name, problem))
