"""Random graphs that grow, and what must follow from their outcomes, worked out the slow way."""

from __future__ import annotations

import random
from collections.abc import Sequence

from distflow.core.expansion import child_name
from distflow.core.graph import Graph
from distflow.core.model import Grow, Task
from distflow.core.status import BAD, FINAL, TaskStatus

S = TaskStatus

#: How deep random expansions nest.
_DEEPEST = 2


class GrowingGraph:
    """A random graph, and the expansions of its growing nodes as they come.

    Args:
        rng: the source of chance.
        size: how many tasks it starts with.
    """

    def __init__(self, rng: random.Random, size: int) -> None:
        self.rng = rng
        self.static = self._fragment("", size, 0)
        #: Node -> the tasks that it has made, in the order of the expansions.
        self.expansions: dict[str, list[Task]] = {}

    def compile(self) -> Graph:
        """The graph as it is now, made anew, each expansion in one piece."""
        graph = Graph.compile(self.static)
        for node, tasks in self.expansions.items():
            graph.grow(graph.index[node], tasks)
        return graph

    def expand(self, graph: Graph, index: int) -> list[list[Task]]:
        """The expansion of a node that has succeeded, in random chunks; each is still to grow."""
        task = graph.tasks[index]
        assert task.grow is not None
        if task.grow.kind == "plan":
            depth = task.name.count(".") + task.name.count("[")
            tasks = self._fragment(f"{task.name}.", self.rng.randint(0, 3), depth + 1)
        else:
            tasks = self._elements(graph, task, task.grow)
        self.expansions[task.name] = tasks
        cut = self.rng.randint(0, len(tasks))
        return [tasks[:cut], tasks[cut:]] if self.rng.random() < 0.5 else [tasks]

    def _elements(self, graph: Graph, task: Task, grow: Grow) -> list[Task]:
        child = grow.child
        assert child is not None
        if grow.shapes:
            source = graph.index[grow.shapes[0]]
            followed = [graph.tasks[each].name for each in graph.expansion_of(source) or ()]
        else:
            followed = []
        count = len(followed) if grow.shapes else self.rng.randint(0, 4)
        return [
            child._replace(
                name=child_name(task.name, position),
                depends_on=(followed[position],) if grow.shapes else (),
            )
            for position in range(count)
        ]

    def _fragment(self, prefix: str, size: int, depth: int) -> list[Task]:
        rng = self.rng
        tasks: list[Task] = []
        for number in range(size):
            above = [task.name for task in tasks if rng.random() < 0.4]
            task = Task(
                f"{prefix}t{number}",
                "m:f",
                depends_on=tuple(above),
                continue_on_error=rng.random() < 0.2,
            )
            kind = rng.random()
            if depth < _DEEPEST and kind < 0.3:
                task = task._replace(grow=self._map(tasks, above, depth))
                shapes = task.grow.shapes if task.grow else ()
                task = task._replace(depends_on=tuple(dict.fromkeys((*above, *shapes))))
            elif depth < _DEEPEST and kind < 0.5:
                task = task._replace(grow=Grow("plan"))
            tasks.append(task)
        return tasks

    def _map(self, tasks: Sequence[Task], above: Sequence[str], depth: int) -> Grow:
        rng = self.rng
        is_plan = depth + 1 < _DEEPEST and rng.random() < 0.3
        child = Task(
            "",
            "m:child",
            continue_on_error=rng.random() < 0.2,
            grow=Grow("plan") if is_plan else None,
        )
        followed = [
            task.name
            for task in tasks
            if task.name not in above
            and task.grow is not None
            and task.grow.child is not None
            and task.grow.child.grow is None
        ]
        shapes = (rng.choice(followed),) if followed and rng.random() < 0.5 else ()
        return Grow("map", child, None, rng.choice([None, None, 1, 2, 0.5]), shapes)


class Reference:
    """What follows from outcomes and claims, for a graph that has grown.

    Args:
        graph: with all of its expansions.
        outcomes: by index.
        claims: indices of the tasks that a worker holds.
    """

    def __init__(
        self, graph: Graph, outcomes: dict[int, TaskStatus], claims: frozenset[int] | set[int]
    ) -> None:
        self.graph = graph
        self.outcomes = dict(outcomes)
        self.claims = claims
        #: Tasks that nobody skipped yet, but that cannot run.
        while doomed := [i for i in self._open() if self._is_doomed(i)]:
            self.outcomes.update(dict.fromkeys(doomed, S.SKIPPED))

    def statuses(self) -> list[TaskStatus]:
        """The status of each task."""
        return [self._status(index) for index in range(len(self.graph))]

    def _status(self, index: int) -> TaskStatus:
        if index in self.outcomes:
            return self.outcomes[index]
        if index in self.claims:
            return S.CLAIMED
        met = all(self._is_met(index, parent) for parent in self.graph.parents[index])
        return S.READY if met else S.PENDING

    def _open(self) -> list[int]:
        held = self.claims
        return [i for i in range(len(self.graph)) if i not in self.outcomes and i not in held]

    def _is_grown(self, index: int) -> bool:
        return self.graph.is_grown(index) and self.outcomes.get(index) == S.SUCCESS

    def _follows(self, index: int, parent: int) -> bool:
        grow = self.graph.tasks[index].grow
        return grow is not None and self.graph.tasks[parent].name in grow.shapes

    def _has_ended(self, index: int) -> bool:
        if self.outcomes.get(index) not in FINAL:
            return False
        return not self._is_grown(index) or all(map(self._has_ended, self._children(index)))

    def _children(self, node: int) -> list[int]:
        return list(self.graph.expansion_of(node) or ())

    def has_failed_well(self, index: int) -> bool | None:
        """Whether the failure of a task is tolerated; None if that is not known yet."""
        if self.graph.tasks[index].continue_on_error:
            return True
        maker = self.graph.maker(index)
        grow = self.graph.tasks[maker].grow if maker >= 0 else None
        if grow is None or grow.max_failures is None:
            return False
        children = self._children(maker)
        if not all(map(self._has_ended, children)):
            return None
        failed = [
            each
            for each in children
            if self.outcomes[each] == S.FAILURE and not self.graph.tasks[each].continue_on_error
        ]
        most = grow.max_failures
        return len(failed) <= (most if isinstance(most, int) else int(most * len(children)))

    def _is_good(self, index: int) -> bool | None:
        """Whether what depends on a task may go on; None if that is not known yet."""
        status = self.outcomes.get(index)
        if status not in FINAL:
            return None
        if self._is_grown(index):
            children = self._children(index)
            if not all(map(self._has_ended, children)):
                return None
            return all(self._is_good(each) for each in children)
        return self.has_failed_well(index) if status == S.FAILURE else status not in BAD

    def _is_met(self, index: int, parent: int) -> bool:
        if self._is_grown(parent) and self._follows(index, parent):
            return True
        return self._is_good(parent) is True

    def _is_doomed(self, index: int) -> bool:
        return any(
            self._is_good(parent) is False
            and not (self._is_grown(parent) and self._follows(index, parent))
            for parent in self.graph.parents[index]
        )
