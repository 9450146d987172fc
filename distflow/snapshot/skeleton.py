"""The shape of a large graph in few bytes: names, dependencies, and a few flags of each task."""

from __future__ import annotations

from array import array

from distflow.core.model import Task
from distflow.snapshot.gap import may_add_once

_ONCE, _TOLERATED, _GROWS, _ADDS_ONCE, _ALLOWS = 1, 2, 4, 8, 16


class Names:
    """Numbers names from 0 on, as they come; a name costs its UTF-8 and about 24 bytes.

    A dict of text and numbers would cost about 150.
    """

    def __init__(self) -> None:
        self._text = bytearray()
        #: Where each name ends in the text.
        self._ends = array("q")
        #: Open addressing: a number + 1, or 0 for an empty slot; at most half full.
        self._slots = array("i", bytes(4 * 64))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:
        return self._bytes_of(number).decode()

    def number_of(self, name: str) -> int:
        """The number of a name, a new one if need be."""
        raw = name.encode()
        slot = self._slot_of(raw)
        if self._slots[slot] == 0:
            self._text += raw
            self._ends.append(len(self._text))
            self._slots[slot] = len(self._ends)
            if 2 * len(self._ends) > len(self._slots):
                self._grow()
            return len(self._ends) - 1
        return self._slots[slot] - 1

    def _slot_of(self, raw: bytes) -> int:
        """Where the name is, or would be."""
        mask = len(self._slots) - 1
        slot = hash(raw) & mask
        while (taken := self._slots[slot]) and self._bytes_of(taken - 1) != raw:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        self._slots = array("i", bytes(2 * self._slots.itemsize * len(self._slots)))
        for number in range(len(self)):
            self._slots[self._slot_of(self._bytes_of(number))] = number + 1

    def _bytes_of(self, number: int) -> bytes:
        start = self._ends[number - 1] if number else 0
        return bytes(self._text[start : self._ends[number]])


class Skeleton:
    """What an export keeps of a graph.

    A task gets its index when it is first named, be it as a dependency, so that one pass over
    the graph is enough, in any order.
    """

    def __init__(self) -> None:
        #: By index.
        self.names = Names()
        self._flags = bytearray()
        # The dependencies of all tasks, one task after the other: where each task's begin, and
        # how many they are.
        self._parents = array("i")
        self._first = array("q")
        self._count = array("i")
        #: Nodes that follow others element by element -> these.
        self._followed: dict[int, frozenset[int]] = {}

    def add(self, task: Task, *, tolerated: bool = False) -> int:
        """Take in one task, and return its index.

        Args:
            task: the task.
            tolerated: its failure may be tolerated, by the node that has made it.
        """
        own = self._index_of(task.name)
        self._first[own] = len(self._parents)
        self._count[own] = len(task.depends_on)
        for name in task.depends_on:
            self._parents.append(self._index_of(name))
        flags = _ONCE if task.effects == "at_most_once" else 0
        flags |= _TOLERATED if tolerated or task.continue_on_error else 0
        if task.grow is not None:
            flags |= _GROWS | (_ADDS_ONCE if may_add_once(task) else 0)
            flags |= 0 if task.grow.max_failures is None else _ALLOWS
            if task.grow.shapes:
                self._followed[own] = frozenset(map(self._index_of, task.grow.shapes))
        self._flags[own] = flags
        return own

    def __len__(self) -> int:
        """How many tasks were named."""
        return len(self.names)

    def is_once(self, index: int) -> bool:
        """Whether the task runs at most once."""
        return bool(self._flags[index] & _ONCE)

    def is_tolerated(self, index: int) -> bool:
        """Whether the task's failure satisfies its dependents."""
        return bool(self._flags[index] & _TOLERATED)

    def is_growing(self, index: int) -> bool:
        """Whether the task is a growing node."""
        return bool(self._flags[index] & _GROWS)

    def may_add_once(self, index: int) -> bool:
        """Whether the task may add tasks that run at most once."""
        return bool(self._flags[index] & _ADDS_ONCE)

    def allows_failures(self, index: int) -> bool:
        """Whether a growing node tolerates that some of its children fail."""
        return bool(self._flags[index] & _ALLOWS)

    def follows(self, index: int, node: int) -> bool:
        """Whether a task follows a node, one of its dependencies, element by element."""
        return node in self._followed.get(index, ())

    def parents_of(self, index: int) -> array[int]:
        """The indices of a task's direct dependencies."""
        start = self._first[index]
        return self._parents[start : start + self._count[index]]

    def reversed_order(self) -> array[int]:
        """Every index once, dependents before their dependencies, before any expansion is added."""
        dependents = array("i", bytes(self._count.itemsize * len(self)))
        for parent in self._parents:
            dependents[parent] += 1
        order = array("i", (index for index, count in enumerate(dependents) if count == 0))
        # The order is its own queue: it grows while it is read.
        for index in order:
            for parent in self.parents_of(index):
                dependents[parent] -= 1
                if dependents[parent] == 0:
                    order.append(parent)
        return order

    def _index_of(self, name: str) -> int:
        index = self.names.number_of(name)
        if index == len(self._flags):
            self._flags.append(0)
            self._first.append(0)
            self._count.append(0)
        return index
