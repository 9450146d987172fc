"""Inheritance: which expansions of a snapshot a new run takes over.

An expansion stays if its node is the same task as before, and everything above the node stays, or
was a failure that was tolerated. Else the node is evaluated again, and what it had added goes away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from distflow.core.graph import Graph
from distflow.core.model import Expanded
from distflow.core.reach import find_made
from distflow.core.status import TaskStatus
from distflow.errors import Damaged
from distflow.snapshot import Snapshot
from distflow.snapshot.branches import fields_of, refuse_started
from distflow.snapshot.gap import said_names
from distflow.snapshot.records import SavedExpansion
from distflow.wire.codec import decode_result, status_of
from distflow.wire.tasks import decode_tasks


class Inheritance:
    """The expansions of a snapshot on the graph of a new run.

    Args:
        snapshot: what is known to be done.
        base: the graph of the new run.
        without: tasks to ignore in the snapshot.
    """

    def __init__(self, snapshot: Snapshot, base: Graph, without: Collection[str]) -> None:
        self._snapshot = snapshot
        self._without = without
        #: The graph with all expansions that might stay.
        self.graph = base.copy() if snapshot.expansions else base
        #: Those expansions, by node.
        self.saved: dict[str, SavedExpansion] = {}
        self._growing = {task.name for task in base.tasks if task.grow is not None}
        for node, saved in snapshot.expansions.items():
            if node not in without and self._fits(saved):
                self.saved[node] = saved

    def _fits(self, saved: SavedExpansion) -> bool:
        """Add an expansion to the graph if it can be added."""
        graph, snapshot = self.graph, self._snapshot
        node = graph.index.get(saved.node)
        grow = None if node is None else graph.tasks[node].grow
        if node is None or grow is None or saved.node not in snapshot:
            return False
        if expanded_of(snapshot.packed(saved.node), saved.node) != saved.record.token:
            return False
        tasks = [task for packed, _prints in saved.chunks for task in decode_tasks(packed)]
        known = graph.index.keys()
        names = {task.name for task in tasks}
        if not names.isdisjoint(known):
            return False
        if any(name not in names and name not in known for t in tasks for name in t.depends_on):
            return False
        graph.grow(node, tasks)
        self._growing.update(task.name for task in tasks if task.grow is not None)
        return True

    def has_lost(self, name: str) -> bool:
        """Whether a task had expanded, and what it had added cannot be taken over."""
        if name not in self._growing or name in self.saved:
            return False
        return expanded_of(self._snapshot.packed(name), name) is not None

    def is_child(self, name: str) -> bool:
        """Whether a task that the graph does not have was added by a growing node that it has."""
        return self._maker(name) is not None

    def _maker(self, name: str) -> str | None:
        """The innermost growing node of the graph to whose children a name belongs."""
        ends = [at for at, letter in enumerate(name) if letter in "[."]
        return next((name[:at] for at in reversed(ends) if name[:at] in self._growing), None)

    def find_stale(
        self, kept: Mapping[str, bytes | None], has_changed: Callable[[str], bool]
    ) -> set[str]:
        """The nodes whose expansion does not stay.

        Args:
            kept: the outcomes that are taken over.
            has_changed: whether a node is no longer the same task.
        """
        if not self.saved:
            return set()
        graph = self.graph
        good = bytearray(len(graph))
        joined: set[int] = set()
        for vertex in graph.order:
            if vertex < 0:
                children = graph.expansion_of(~vertex) or ()
                ends = (not graph.is_grown(each) or each in joined for each in children)
                if good[~vertex] and all(good[each] for each in children) and all(ends):
                    joined.add(~vertex)
                continue
            name, maker = graph.tasks[vertex].name, graph.maker(vertex)
            good[vertex] = (
                self._stands(vertex, kept.get(name))
                and not (name in self.saved and has_changed(name))
                and (maker < 0 or bool(good[maker]))
                and all(
                    good[parent]
                    if not graph.is_grown(parent) or graph.follows(vertex, parent)
                    else parent in joined
                    for parent in graph.parents[vertex]
                )
            )
        return {node for node in self.saved if not good[graph.index[node]]}

    def _stands(self, index: int, kept: bytes | None) -> bool:
        """Whether what rests on a task rests on it still: it is a success that is taken over, or
        was a failure that was tolerated, which is evaluated again.
        """
        if kept is not None and status_of(kept) == TaskStatus.SUCCESS:
            return True
        graph, snapshot = self.graph, self._snapshot
        task, maker = graph.tasks[index], graph.maker(index)
        made_by = graph.tasks[maker].grow if maker >= 0 else None
        tolerates = task.continue_on_error or (made_by and made_by.max_failures is not None)
        if not tolerates or task.name in self._without:
            return False
        if task.name in snapshot:
            return status_of(snapshot.packed(task.name)) == TaskStatus.FAILURE
        return task.name in snapshot.superseded

    def warn_of(self, stale: Collection[str]) -> list[str]:
        """What a person should know about nodes that are evaluated again: those whose expansion
        does not stay, and those of which the snapshot has none.
        """
        warnings = []
        if stale:
            runs, rests = ("runs", "it rests") if len(stale) == 1 else ("run", "they rest")
            warnings.append(
                f"{said_names(sorted(stale))} {runs} again, with all that was added, since "
                f"something that {rests} on runs again"
            )
        lost = [name for name in self._snapshot if name in self.graph.index and self.has_lost(name)]
        if lost:
            runs = "runs" if len(lost) == 1 else "run"
            warnings.append(
                f"{said_names(lost)} {runs} again, since the snapshot does not have what was "
                "added: take the snapshot of the run, not its results"
            )
        return warnings

    def refuse_started(
        self,
        stale: Collection[str],
        kept: Mapping[str, bytes | None],
        without: Collection[str],
        *,
        is_open: bool,
    ) -> None:
        """Refuse to let children go away that may run at most once and had started.

        Args:
            stale: nodes whose expansion goes away.
            kept: the outcomes that are taken over.
            without: tasks to ignore in the snapshot.
            is_open: they may have started since the snapshot was taken, too.

        Raises:
            SnapshotInvalid: it names them.
        """
        snapshot = self._snapshot
        gone = [
            saved
            for node, saved in snapshot.expansions.items()
            if node in stale or node not in self.saved
        ]
        results = {name: snapshot.packed(name) for name in snapshot}
        refuse_started([list(fields_of(each)) for each in gone], results, without, is_open=is_open)
        if not snapshot.expansions:
            refuse_started([list(self._strays(kept))], results, without)

    def _strays(self, kept: Mapping[str, bytes | None]) -> Iterator[Mapping[str, str]]:
        """Tasks of a bare mapping whose node is evaluated again, and which may run at most once as
        far as anybody can tell.
        """
        for name in self._snapshot:
            maker = None if name in self.graph.index else self._maker(name)
            if maker is None or maker in kept:
                continue
            grow = self.graph.tasks[self.graph.index[maker]].grow
            child = None if grow is None else grow.child
            result = decode_result(self._snapshot.packed(name), opaque=True, task=name)
            if result.started or (child is not None and child.effects == "at_most_once"):
                yield {"name": name, "effects": "at_most_once"}

    def children_of(self, nodes: Collection[str]) -> set[str]:
        """The names of what these nodes had added, and of what that had added."""
        graph = self.graph
        made = (find_made(graph, graph.index[node]) for node in nodes)
        return {graph.tasks[index].name for indices in made for index in indices}


def expanded_of(packed: bytes, task: str) -> str | None:
    """The token of the expansion that an outcome is about; None if it is about none."""
    try:
        data = decode_result(packed, opaque=True, task=task).data
    except Damaged:
        return None
    return data.token if isinstance(data, Expanded) else None
