"""Dependencies: what the end of one task means for the tasks that depend on it.

Pure, and apart from the statuses' own moves: :class:`~distflow.core.state.TaskStateManager` changes
statuses, and asks here what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from distflow.core.graph import Graph
from distflow.core.model import Grow
from distflow.core.status import BAD, TaskStatus

_S = TaskStatus


class Consequences(NamedTuple):
    """What follows from the end of a task.

    ``met`` are tasks whose dependencies are all satisfied now. ``doomed`` are tasks that can not
    run any more, each with the task that is the first cause.
    """

    met: list[int]
    doomed: list[tuple[int, int]]


def allowed_failures(grow: Grow, children: int) -> int:
    """How many children of a node may fail: ``max_failures`` is a count, or a share of them."""
    most = grow.max_failures or 0
    return most if isinstance(most, int) else int(most * children)


class Dependencies:
    """Which dependencies of each task are satisfied, and which nodes have joined.

    A dependency on a grown node is satisfied when the node has joined: all of its children have
    ended, each with a success or a tolerated failure. With ``max_failures`` that is judged when all
    have ended; until then, whatever depends on a failed child waits.

    Args:
        graph: the run's.
        statuses: of its tasks, by index; the owner changes and extends it.
    """

    def __init__(self, graph: Graph, statuses: Sequence[TaskStatus]) -> None:
        self._graph = graph
        self._statuses = statuses
        #: How many dependencies of each task are not satisfied.
        self.unmet = [len(parents) for parents in graph.parents]
        #: Task that ended badly, or that has not joined well -> the task that was the first cause.
        self._roots: dict[int, int] = {}
        #: Grown nodes -> how many of their children have not ended (or joined, for grown ones).
        self._open = {node: len(made) for node, made in graph.grown_nodes().items()}
        #: Grown nodes -> their children that ended badly.
        self._bad: dict[int, list[int]] = {}
        #: Grown nodes -> how many of their children failed, tolerated or not.
        self._failed: dict[int, int] = {}
        #: Grown nodes whose children have all ended -> whether well.
        self._joined: dict[int, bool] = {}
        #: Failures that the ``max_failures`` of their node tolerates; and those not taken yet.
        self._tolerated: set[int] = set()
        self._fresh: list[int] = []

    def grow(self, node: int, added: range) -> Consequences:
        """The graph has got these children of a node; those that may run at once are met. None of
        them follows a node that has expanded before: maps of a plan follow maps of that plan.
        """
        self._open[node] = self._open.get(node, 0) + len(added)
        met, doomed = [], []
        for index in added:
            parents = self._graph.parents[index]
            unmet = sum(not self.satisfies(parent) for parent in parents)
            self.unmet.append(unmet)
            if not unmet:
                met.append(index)
            elif (root := self.doomed_by(index)) is not None:
                doomed.append((index, root))
        return Consequences(met, doomed)

    def settle(self, index: int) -> Consequences:
        """A task has got its final outcome. A growing node that has expanded is in the graph with
        all of its children.
        """
        found = Consequences([], [])
        graph, dependents = self._graph, self._graph.children[index]
        if self._statuses[index] == _S.SUCCESS and graph.is_grown(index):
            self._meet((each for each in dependents if graph.follows(each, index)), found.met)
            self._join_if_ended(index, found)
            return found
        if self.satisfies(index):
            self._meet(dependents, found.met)
        elif not self._is_deferred(index):
            root = self.root_of(index)
            found.doomed.extend([(each, root) for each in dependents])
        if graph.maker(index) >= 0:
            self._count_child(index, found)
        return found

    def satisfies(self, index: int) -> bool:
        """Whether a task that has ended satisfies what depends on it."""
        status = self._statuses[index]
        if status == _S.SUCCESS:
            return not self._graph.is_grown(index) or self._joined.get(index, False)
        return status == _S.FAILURE and (
            self._graph.tasks[index].continue_on_error or index in self._tolerated
        )

    def is_tolerated(self, index: int) -> bool:
        """Whether the failure of a task is tolerated."""
        return self._graph.tasks[index].continue_on_error or index in self._tolerated

    def doomed_by(self, index: int) -> int | None:
        """The first cause why a task cannot run; None if it still may."""
        graph = self._graph
        for parent in graph.parents[index]:
            if graph.is_grown(parent) and self._statuses[parent] == _S.SUCCESS:
                if self._joined.get(parent) is False and not graph.follows(index, parent):
                    return self._roots[parent]
            elif (
                self._statuses[parent] in BAD
                and not self.satisfies(parent)
                and not self._is_deferred(parent)
            ):
                return self.root_of(parent)
        return None

    def root_of(self, index: int) -> int:
        """The first cause of the end of a task that ended badly: itself, unless it was skipped."""
        root = self._roots.get(index)
        if root is None:
            root = self.doomed_by(index) if self._statuses[index] == _S.SKIPPED else None
            self._roots[index] = root = index if root is None else root
        return root

    def set_root(self, index: int, root: int) -> None:
        """Note the first cause of a task's end."""
        self._roots[index] = root

    def take_tolerated(self) -> list[int]:
        """The failures that ``max_failures`` turned out to tolerate since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def ended_children(self, node: int) -> int:
        """How many children of a grown node have ended; a grown child has when it has joined."""
        return len(self._graph.expansion_of(node) or ()) - self._open.get(node, 0)

    def failed_children(self, node: int) -> int:
        """How many children of a grown node have failed, tolerated ones too."""
        return self._failed.get(node, 0)

    def _is_deferred(self, index: int) -> bool:
        """Whether a failure is not judged yet: it may be one of those that are tolerated."""
        maker = self._graph.maker(index)
        if maker < 0 or self._statuses[index] != _S.FAILURE or maker in self._joined:
            return False
        grow = self._graph.tasks[maker].grow
        return grow is not None and grow.max_failures is not None

    def _meet(self, dependents: Iterable[int], met: list[int]) -> None:
        for each in dependents:
            self.unmet[each] -= 1
            if not self.unmet[each]:
                met.append(each)

    def _count_child(self, index: int, found: Consequences) -> None:
        """A child of a node has ended, or has joined if it is grown itself."""
        node = self._graph.maker(index)
        self._open[node] -= 1
        if self._statuses[index] == _S.FAILURE:
            self._failed[node] = self._failed.get(node, 0) + 1
        if not self.satisfies(index):
            self._bad.setdefault(node, []).append(index)
        if self._statuses[node] == _S.SUCCESS:
            self._join_if_ended(node, found)

    def _join_if_ended(self, node: int, found: Consequences) -> None:
        if self._open[node] or node in self._joined:
            return
        bad = sorted(self._bad.pop(node, ()))
        if bad:
            bad = self._judge(node, bad, found)
        graph, dependents = self._graph, self._graph.children[node]
        waiting = (each for each in dependents if not graph.follows(each, node))
        self._joined[node] = not bad
        if bad:
            self._roots[node] = root = self.root_of(bad[0])
            found.doomed.extend([(each, root) for each in waiting])
        else:
            self._meet(waiting, found.met)
        if graph.maker(node) >= 0:
            self._count_child(node, found)

    def _judge(self, node: int, bad: list[int], found: Consequences) -> list[int]:
        """The children that ended too badly for their node to join."""
        grow = self._graph.tasks[node].grow
        if grow is None or grow.max_failures is None:
            return bad
        failed = [each for each in bad if self._statuses[each] == _S.FAILURE]
        children = self._graph.children
        if len(failed) > allowed_failures(grow, len(self._graph.expansion_of(node) or ())):
            for each in failed:
                found.doomed.extend([(dependent, each) for dependent in children[each]])
            return bad
        self._tolerated.update(failed)
        self._fresh += failed
        for each in failed:
            self._meet(children[each], found.met)
        return [each for each in bad if each not in self._tolerated]
