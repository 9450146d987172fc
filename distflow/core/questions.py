"""HookQuestions: the unknown tasks of a run whose verify hook is being asked, or will be."""

from __future__ import annotations

from collections.abc import Iterable

from distflow.core.graph import Graph
from distflow.core.model import MAX_LOST


class HookQuestions:
    """A question is open from when its task becomes unknown until it is decided or given up.

    Args:
        graph: the run's; tasks are identified by their index in it.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        #: How often each was asked without an answer.
        self._in_vain: dict[int, int] = {}
        #: Queue -> questions that no batch carries, in order.
        self._unasked: dict[str, dict[int, None]] = {}
        self._unanswered: list[int] = []

    def __len__(self) -> int:
        """How many questions are open."""
        return len(self._in_vain)

    def open(self, index: int) -> None:
        """The task is unknown: ask its hook, if it has one."""
        if self._graph.tasks[index].verify is not None:
            self._in_vain[index] = 0
            self._ask(index)

    def close(self, index: int) -> None:
        """The task is decided, or its hook cannot tell."""
        if self._in_vain.pop(index, None) is not None:
            self._unasked.get(self._graph.tasks[index].queue, {}).pop(index, None)

    def close_all(self) -> None:
        """Stop asking hooks."""
        self._in_vain.clear()
        self._unasked.clear()

    def on_unanswered(self, index: int, *, in_vain: bool = True) -> None:
        """The batch that carried a question ended without an answer. The hook is asked again, a few
        times; then a person decides. If the hook was not called, the round does not count.
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
        """No worker can ask the hooks of these tasks; returns the tasks whose question was open."""
        asked = [index for index in indices if index in self._in_vain]
        for index in asked:
            self.close(index)
        return asked

    def take(self, queue: str, limit: int) -> list[int]:
        """Up to ``limit`` tasks of a queue whose hook is to be asked now."""
        unasked = self._unasked.get(queue, {})
        taken = list(unasked)[:limit]
        for index in taken:
            del unasked[index]
        return taken

    def take_unanswered(self) -> list[int]:
        """The tasks whose hook was given up since the last call."""
        unanswered, self._unanswered = self._unanswered, []
        return unanswered

    def queues(self) -> list[str]:
        """The queues with hooks to ask."""
        return [queue for queue, tasks in self._unasked.items() if tasks]

    def _ask(self, index: int) -> None:
        self._unasked.setdefault(self._graph.tasks[index].queue, {})[index] = None
