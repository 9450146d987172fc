"""The shape of a large graph in few bytes: names, dependencies, and two flags of each task."""

from __future__ import annotations

from array import array

from distflow.core.model import Task

_ONCE, _TOLERATED = 1, 2


class Skeleton:
    """What an export keeps of a graph: fill it with :meth:`add`, then :meth:`freeze` it.

    A task gets its index when it is first named, be it as a dependency, so that one pass over
    the graph is enough, in any order.
    """

    def __init__(self) -> None:
        #: By index, once frozen.
        self.names: list[str] = []
        self._indices: dict[str, int] = {}
        self._flags = bytearray()
        # The dependencies of all tasks, one task after the other: where each task's begin, and
        # how many they are.
        self._parents = array("i")
        self._first = array("q")
        self._count = array("i")

    def add(self, task: Task) -> None:
        """Take in one task."""
        own = self._index_of(task.name)
        self._first[own] = len(self._parents)
        self._count[own] = len(task.depends_on)
        for name in task.depends_on:
            self._parents.append(self._index_of(name))
        once = _ONCE if task.effects == "at_most_once" else 0
        self._flags[own] = once | (_TOLERATED if task.continue_on_error else 0)

    def freeze(self) -> None:
        """Say that every task was added: looking up by name ends."""
        self.names = list(self._indices)
        self._indices = {}

    def __len__(self) -> int:
        """How many tasks were named."""
        return len(self._flags)

    def is_once(self, index: int) -> bool:
        """Whether the task runs at most once."""
        return bool(self._flags[index] & _ONCE)

    def is_tolerated(self, index: int) -> bool:
        """Whether the task's failure satisfies its dependents."""
        return bool(self._flags[index] & _TOLERATED)

    def parents_of(self, index: int) -> array[int]:
        """The indices of a task's direct dependencies."""
        start = self._first[index]
        return self._parents[start : start + self._count[index]]

    def reversed_order(self) -> array[int]:
        """Every index once, dependents before their dependencies."""
        dependents = array("i", bytes(self._count.itemsize * len(self)))
        for parent in self._parents:
            dependents[parent] += 1
        order = array("i", [index for index, count in enumerate(dependents) if count == 0])
        # The order is its own queue: it grows while it is read.
        for index in order:
            for parent in self.parents_of(index):
                dependents[parent] -= 1
                if dependents[parent] == 0:
                    order.append(parent)
        return order

    def _index_of(self, name: str) -> int:
        index = self._indices.setdefault(name, len(self._indices))
        if index == len(self._flags):
            self._flags.append(0)
            self._first.append(0)
            self._count.append(0)
        return index
