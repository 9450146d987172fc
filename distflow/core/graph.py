"""The compiled graph: tasks by integer index, with adjacency and a topological order.

Linear in tasks and dependencies, and without recursion: a chain may be as long as memory allows.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from distflow.core.graph_order import order_grown, read_grown
from distflow.core.model import Task
from distflow.errors import Damaged, Problem, WorkflowInvalid
from distflow.text import counted

#: How many tasks of a cycle a message shows; a longer one is cut in the middle.
_SHOWN_OF_CYCLE = 12

#: How many cycles are reported at most.
_MOST_CYCLES = 10

_RENAME = "give them different names"


class Graph:
    """A validated DAG that may grow. Make one with :meth:`compile`; indices are positions in
    ``tasks`` and never change.

    A growing node that has expanded is *grown*. Whatever depends on it waits for its *join*, the
    end of all of its children, except for nodes that follow it element by element: these need its
    expansion alone.
    """

    __slots__ = ("_grown", "_makers", "_order", "_static", "children", "index", "parents", "tasks")

    def __init__(
        self,
        tasks: list[Task],
        index: dict[str, int],
        parents: list[tuple[int, ...]],
        children: list[Sequence[int]],
        order: array[int],
    ) -> None:
        self.tasks = tasks
        #: Name of a task -> its index.
        self.index = index
        #: Indices of each task's direct dependencies, each once, in the order of ``depends_on``.
        self.parents = parents
        #: Indices of each task's direct dependents, ascending. The children that a node has made
        #: are not among them.
        self.children = children
        self._order: array[int] | None = order
        #: How many tasks are of no expansion, and by which node each later task was made.
        self._static = len(tasks)
        self._makers = array("l")
        #: Grown nodes -> the indices of their children.
        self._grown: dict[int, range] = {}

    @classmethod
    def compile(cls, tasks: Sequence[Task]) -> Graph:
        """Index and validate ``tasks``, which may stand in any order.

        Raises:
            WorkflowInvalid: two tasks share a name, a dependency is missing, or the dependencies
                form a cycle; it has every such problem.
        """
        listed = list(tasks)
        index = {task.name: position for position, task in enumerate(listed)}
        problems = _find_duplicates(listed) if len(index) < len(listed) else []
        try:
            parents = [_parent_indices(task, index) if task.depends_on else () for task in listed]
        except KeyError:
            problems += _find_missing(listed, index)
            parents = [_parent_indices(_without_missing(task, index), index) for task in listed]
        children = _invert(parents)
        order = _topological_order(parents, children)
        if len(order) < len(listed) and len(index) == len(listed):
            problems += _find_cycles(listed, parents, order)
        if problems:
            raise WorkflowInvalid(problems=problems)
        return cls(listed, index, parents, children, order)

    # Growth

    def grow(self, node: int, tasks: Sequence[Task]) -> range:
        """Append children that a growing node has made, in time linear in them. An expansion comes
        in chunks, one after another, and no other expansion comes between.

        Args:
            node: the index of the growing node.
            tasks: a chunk of its children, dependencies before their dependents; none for a node
                without children.

        Returns:
            The indices of these tasks.

        Raises:
            Damaged: one of the tasks has a name that exists, or a dependency that does not.
        """
        start = len(self.tasks)
        added = range(start, start + len(tasks))
        known = self._grown.get(node, range(start, start))
        if known.stop != start:
            raise Damaged(f"the expansion of {self.tasks[node].name!r} is not in one piece")
        index = self.index
        for position, task in enumerate(tasks, start):
            if index.setdefault(task.name, position) != position:
                raise Damaged(f"two tasks are named {task.name!r}")
        try:
            parents = [_parent_indices(task, index) if task.depends_on else () for task in tasks]
        except KeyError as missing:
            raise Damaged(f"a child of {self.tasks[node].name!r} depends on {missing}") from None
        self.tasks += tasks
        self.parents += parents
        self.children += [()] * len(tasks)
        self._makers.extend([node] * len(tasks))
        for child, its_parents in enumerate(parents, start):
            for parent in its_parents:
                dependents = self.children[parent]
                if not isinstance(dependents, list):
                    self.children[parent] = dependents = list(dependents)
                dependents.append(child)
        self._grown[node] = range(known.start, added.stop)
        self._order = None
        return added

    def copy(self) -> Graph:
        """The same graph, which grows by itself."""
        children = [list(each) if isinstance(each, list) else each for each in self.children]
        copied = Graph([*self.tasks], dict(self.index), [*self.parents], children, array("l"))
        copied._order, copied._static = self._order, self._static
        copied._makers, copied._grown = self._makers[:], dict(self._grown)
        return copied

    def is_grown(self, node: int) -> bool:
        """Whether the task is a growing node whose expansion is in the graph, at least in part."""
        return node in self._grown

    def expansion_of(self, node: int) -> range | None:
        """The indices of the children that a node has made so far; None if it has not expanded."""
        return self._grown.get(node)

    def grown_nodes(self) -> Mapping[int, range]:
        """The grown nodes, in the order of their expansions, with the indices of their children."""
        return self._grown

    def maker(self, index: int) -> int:
        """The index of the node that made a task; -1 for a task of no expansion."""
        return -1 if index < self._static else self._makers[index - self._static]

    def follows(self, index: int, node: int) -> bool:
        """Whether a task follows a mapped node, one of its dependencies, element by element."""
        grow = self.tasks[index].grow
        return grow is not None and self.tasks[node].name in grow.shapes

    def gathers(self, index: int) -> bool:
        """Whether a task takes what a grown node stands for: the results of all of its children."""
        grown = self._grown
        return bool(grown) and any(
            node in grown and not self.follows(index, node) for node in self.parents[index]
        )

    # Orders

    @property
    def order(self) -> array[int]:
        """Every index once, dependencies before their dependents; ``~node`` is the join of a grown
        node, which comes after its children. Worked out anew after the graph has grown.
        """
        if self._order is None:
            self._order = order_grown(self)
        return self._order

    def reading_order(self) -> Sequence[int]:
        """Every index once, dependencies before their dependents, otherwise in the order of
        definition; the children of a node come after it.
        """
        if self._grown:
            return read_grown(self)
        defined = range(len(self.tasks))
        if all(not above or max(above) < index for index, above in enumerate(self.parents)):
            return defined
        open_parents = [len(above) for above in self.parents]
        ready = [index for index in defined if not open_parents[index]]
        order = []
        while ready:
            index = heappop(ready)
            order.append(index)
            for child in self.children[index]:
                open_parents[child] -= 1
                if not open_parents[child]:
                    heappush(ready, child)
        return order

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    def __repr__(self) -> str:
        return f"<Graph of {counted(len(self.tasks), 'task')}>"


def _find_duplicates(tasks: Sequence[Task]) -> list[Problem]:
    times = Counter(task.name for task in tasks)
    return [
        Problem("duplicate_name", name, f"{_said(count)} are named {name!r}: {_RENAME}")
        for name, count in times.items()
        if count > 1
    ]


def _said(number: int) -> str:
    return "two tasks" if number == 2 else counted(number, "task")  # noqa: PLR2004 - two is a word


def _without_missing(task: Task, index: Mapping[str, int]) -> Task:
    return task._replace(depends_on=tuple(name for name in task.depends_on if name in index))


def _find_missing(tasks: Sequence[Task], index: Mapping[str, int]) -> list[Problem]:
    return [
        Problem(
            "missing_dependency",
            task.name,
            f"task {task.name!r} depends on {name!r}, which the workflow does not have",
        )
        for task in tasks
        for name in dict.fromkeys(task.depends_on)
        if name not in index
    ]


def _find_cycles(
    tasks: Sequence[Task], parents: Sequence[tuple[int, ...]], order: Sequence[int]
) -> list[Problem]:
    """One cycle from each group of tasks that wait for each other, up to ten. Breaking one may
    reveal others.
    """
    problems: list[Problem] = []
    left = list(parents)
    while len(order) < len(tasks) and len(problems) < _MOST_CYCLES:
        cycle = _cycle(left, order)
        path = " -> ".join(_show_cycle([tasks[i].name for i in cycle]))
        what = f"the dependencies form a cycle: {path}; take one of these dependencies away"
        problems.append(Problem("cycle", tasks[cycle[0]].name, what))
        for member in cycle:
            left[member] = ()
        order = _topological_order(left, _invert(left))
    return problems


def _parent_indices(task: Task, index: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys([index[name] for name in task.depends_on]))


def _invert(parents: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    children: list[list[int] | None] = [None] * len(parents)
    for child, its_parents in enumerate(parents):
        for parent in its_parents:
            siblings = children[parent]
            if siblings is None:
                children[parent] = [child]
            else:
                siblings.append(child)
    return [tuple(siblings) if siblings else () for siblings in children]


def _topological_order(
    parents: Sequence[Sequence[int]], children: Sequence[Sequence[int]]
) -> array[int]:
    """Kahn's algorithm; omits tasks on a cycle or behind one."""
    open_parents = array("l", [len(its_parents) for its_parents in parents])
    order = array("l", [i for i, count in enumerate(open_parents) if count == 0])
    # ``order`` is also the work queue: it grows while it is iterated.
    for done in order:
        for child in children[done]:
            open_parents[child] -= 1
            if open_parents[child] == 0:
                order.append(child)
    return order


def _cycle(parents: Sequence[Sequence[int]], order: Sequence[int]) -> list[int]:
    """One cycle among tasks missing in ``order``: each before its dependent, the first again at the
    end.

    Every task that is left has a parent that is left, so walking up must return to a visited task.
    """
    ordered = bytearray(len(parents))
    for i in order:
        ordered[i] = 1
    walk: dict[int, int] = {}
    here = ordered.index(0)
    while here not in walk:
        walk[here] = len(walk)
        here = next(parent for parent in parents[here] if not ordered[parent])
    cycle = list(walk)[walk[here] :][::-1]
    first = cycle.index(min(cycle))
    cycle = cycle[first:] + cycle[:first]
    return [*cycle, cycle[0]]


def _show_cycle(names: list[str]) -> list[str]:
    shown = [name if name.isprintable() else repr(name) for name in names]
    if len(shown) <= _SHOWN_OF_CYCLE:
        return shown
    half = _SHOWN_OF_CYCLE // 2
    left_out = f"({len(shown) - 2 * half:,} more)"
    return [*shown[:half], left_out, *shown[-half:]]
