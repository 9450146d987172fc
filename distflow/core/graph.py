"""The compiled graph: tasks by integer index, with adjacency and a topological order.

Linear in tasks and dependencies, and without recursion: a chain may be as long as memory allows.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from distflow.core.model import Task
from distflow.errors import WorkflowInvalid
from distflow.text import counted

#: Tasks of a cycle that its message shows; a longer one is cut in the middle.
_SHOWN_OF_CYCLE = 12


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Graph:
    """A validated DAG. Make one with :meth:`compile`; indices are positions in ``tasks``."""

    tasks: tuple[Task, ...]
    #: Name of a task -> its index.
    index: dict[str, int]
    #: Indices of each task's direct dependencies, each once, in the order of ``depends_on``.
    parents: list[tuple[int, ...]]
    #: Indices of each task's direct dependents, ascending.
    children: list[tuple[int, ...]]
    #: Every index once, dependencies before their dependents.
    order: array[int]

    @classmethod
    def compile(cls, tasks: Sequence[Task]) -> Graph:
        """Index and validate ``tasks``, which may stand in any order.

        Raises:
            WorkflowInvalid: two tasks share a name, a dependency is missing, or the dependencies
                form a cycle; the message names the tasks.
        """
        frozen = tuple(tasks)
        index = _index_names(frozen)
        parents = [_parent_indices(task, index) if task.depends_on else () for task in frozen]
        children = _invert(parents)
        order = _topological_order(parents, children)
        if len(order) < len(frozen):
            path = " -> ".join(_show_cycle([frozen[i].name for i in _cycle(parents, order)]))
            raise WorkflowInvalid(
                f"the dependencies form a cycle: {path}; take one of these dependencies away"
            )
        return cls(frozen, index, parents, children, order)

    def reading_order(self) -> Sequence[int]:
        """Every index once, dependencies before their dependents, and else as they were defined."""
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


def _index_names(tasks: Sequence[Task]) -> dict[str, int]:
    index = {task.name: position for position, task in enumerate(tasks)}
    if len(index) < len(tasks):
        seen: set[str] = set()
        for task in tasks:
            if task.name in seen:
                raise WorkflowInvalid(
                    f"two tasks are named {task.name!r}: give one of them another name"
                )
            seen.add(task.name)
    return index


def _parent_indices(task: Task, index: dict[str, int]) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys([index[name] for name in task.depends_on]))
    except KeyError as missing:
        raise WorkflowInvalid(
            f"task {task.name!r} depends on {missing.args[0]!r}, which the workflow does not have"
        ) from None


def _invert(parents: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
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
    """Kahn's algorithm; what is on a cycle or behind one is left out."""
    open_parents = array("l", [len(its_parents) for its_parents in parents])
    order = array("l", [i for i, count in enumerate(open_parents) if count == 0])
    # The order is its own queue: it grows while it is read.
    for done in order:
        for child in children[done]:
            open_parents[child] -= 1
            if open_parents[child] == 0:
                order.append(child)
    return order


def _cycle(parents: Sequence[Sequence[int]], order: Sequence[int]) -> list[int]:
    """One cycle among what ``order`` lacks: each before its dependent, the first again at the end.

    Every task that is left has a parent that is left: going up must meet itself.
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
