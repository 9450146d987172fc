"""Python's garbage collector beside large graphs: each of its passes walks all of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: A graph of so many tasks is large.
_MANY_TASKS = 50_000


class GcPause:
    """Spares it large graphs."""

    def __init__(self) -> None:
        self._has_spared = False

    @contextmanager
    def resting(self, tasks: int) -> Iterator[None]:
        """Let it rest while a graph of so many tasks is read, if that is many: nothing of it is
        garbage, and the passes took a third of the time (of 7.4 s for a million tasks). What is
        there at the end is left out of its passes until :meth:`walk_all`.
        """
        if tasks < _MANY_TASKS or not gc.isenabled():
            yield
            return
        gc.disable()
        try:
            yield
            gc.freeze()
            self._has_spared = True
        finally:
            gc.enable()

    def walk_all(self) -> None:
        """Let it walk everything again."""
        if self._has_spared:
            self._has_spared = False
            gc.unfreeze()
