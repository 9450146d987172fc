"""What the benchmarks run, under every system: next to nothing. It imports next to nothing too."""

from __future__ import annotations

import time
from collections.abc import Sized


def noop(*_inputs: object) -> None:
    """A task that does nothing with whatever it depends on."""


def count(inputs: Sized) -> int:
    """A join: it is given what all its dependencies returned."""
    return len(inputs)


def stamp() -> float:
    """When the task ran, Unix seconds."""
    return time.time()


def listing(size: int) -> list[int]:
    """A list that is known at run time only."""
    return list(range(size))


def double(number: int) -> int:
    """One element of a mapped list."""
    return 2 * number
