"""HookQuestions: the unknown tasks of a run whose verify hook is to be asked, or is being asked."""

from __future__ import annotations

from collections.abc import Iterable

from distflow.core.graph import Graph
from distflow.core.model import MAX_LOST


class HookQuestions:
    """A question is open from when its task is unknown until it is decided, or given up.

    Args:
        graph: the run's; tasks are told by their indices in it.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        #: How often each was asked in vain.
        self._in_vain: dict[int, int] = {}
        #: By queue: those that no batch carries, in order.
        self._unasked: dict[str, dict[int, None]] = {}
        self._unanswered: list[int] = []

    def __len__(self) -> int:
        """How many are open."""
        return len(self._in_vain)

    def open(self, index: int) -> None:
        """The task is unknown: its hook is asked, if it has one."""
        if self._graph.tasks[index].verify is not None:
            self._in_vain[index] = 0
            self._ask(index)

    def close(self, index: int) -> None:
        """It is decided, or nobody can tell."""
        if self._in_vain.pop(index, None) is not None:
            self._unasked.get(self._graph.tasks[index].queue, {}).pop(index, None)

    def close_all(self) -> None:
        """No hook is asked any more."""
        self._in_vain.clear()
        self._unasked.clear()

    def on_unanswered(self, index: int, *, in_vain: bool = True) -> None:
        """The batch that carried a question is gone without an answer: it is asked again, a few
        times; then a person decides. Where no hook was called, the round does not count.
        """
        if index not in self._in_vain:
            return
        self._in_vain[index] += in_vain
        if self._in_vain[index] > MAX_LOST:
            self.close(index)
            self._unanswered.append(index)
        else:
            self._ask(index)

    def give_up(self, indices: Iterable[int]) -> list[int]:
        """No worker can ask the hooks of these tasks; returns those whose question was open."""
        asked = [index for index in indices if index in self._in_vain]
        for index in asked:
            self.close(index)
        return asked

    def take(self, queue: str, limit: int) -> list[int]:
        """At most ``limit`` tasks of a queue whose hook is to be asked now."""
        unasked = self._unasked.get(queue, {})
        taken = list(unasked)[:limit]
        for index in taken:
            del unasked[index]
        return taken

    def take_unanswered(self) -> list[int]:
        """The tasks whose hook is asked no more since the last call."""
        unanswered, self._unanswered = self._unanswered, []
        return unanswered

    def queues(self) -> list[str]:
        """The queues that have hooks to be asked."""
        return [queue for queue, tasks in self._unasked.items() if tasks]

    def _ask(self, index: int) -> None:
        self._unasked.setdefault(self._graph.tasks[index].queue, {})[index] = None
