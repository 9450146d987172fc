"""The graphs that are measured, as the dependencies of each task: every system builds them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Self

#: A task with more dependencies than this is a join: it takes their results as one list.
MOST_PARENTS = 3

_SEED = 7
_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Shape:
    """A graph.

    Args:
        name: ``fan | chain | layers | blocks``.
        parents: of each task the places of its dependencies, which come before it.
        width: tasks in a layer, where there are layers.
    """

    name: str
    parents: tuple[tuple[int, ...], ...]
    width: int = 0

    @property
    def total(self) -> int:
        """How many tasks it has."""
        return len(self.parents)

    @classmethod
    def fan(cls, width: int) -> Self:
        """Independent tasks, and a join of all of them."""
        return cls("fan", (*((),) * width, tuple(range(width))))

    @classmethod
    def chain(cls, length: int) -> Self:
        """Each task depends on the one before it."""
        return cls("chain", ((), *((place,) for place in range(length - 1))))

    @classmethod
    def layers(cls, depth: int, width: int) -> Self:
        """Each task depends on three random ones of the layer before."""
        rng = random.Random(_SEED)
        parents: list[tuple[int, ...]] = [()] * width
        for layer in range(1, depth):
            before = range((layer - 1) * width, layer * width)
            parents += (tuple(rng.sample(before, min(MOST_PARENTS, width))) for _ in range(width))
        return cls("layers", tuple(parents), width)

    @classmethod
    def blocks(cls, total: int, block: int = _BLOCK) -> Self:
        """``total`` tasks in fans of ``block``, the join of each included."""
        parents: list[tuple[int, ...]] = []
        while len(parents) < total:
            begin = len(parents)
            leaves = min(block, total - begin) - 1
            parents += [()] * leaves
            parents.append(tuple(range(begin, begin + leaves)))
        return cls("blocks", tuple(parents))

    def is_join(self, place: int) -> bool:
        """Whether a task takes the results of its dependencies as one list."""
        return len(self.parents[place]) > MOST_PARENTS


def make_shape(name: str, size: int, width: int = 40) -> Shape:
    """A shape by its name: a fan of ``size`` and its join, a chain of ``size``, ``size`` layers of
    ``width``, or ``size`` tasks in blocks.
    """
    if name == "layers":
        return Shape.layers(size, width)
    makers = {"fan": Shape.fan, "chain": Shape.chain, "blocks": Shape.blocks}
    return makers[name](size)
