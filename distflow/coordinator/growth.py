"""GraphGrowth: reads the expansions of a run into its graph, and knows which are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from distflow.coordinator.standing import read_graph, read_standing, read_statuses
from distflow.core.expansion import Expansion
from distflow.core.graph import Graph
from distflow.core.model import Expanded
from distflow.core.readings import RunReading
from distflow.core.status import TaskStatus
from distflow.errors import Damaged, DamagedRun, LookAgain
from distflow.faults import reach
from distflow.ports.run_store import RunStore
from distflow.wire.codec import decode_result

#: How often a run is read anew while what is read does not fit together.
_LOOKS = 3

_Statuses = list[TaskStatus | None]


class GraphGrowth:
    """The graph of a run, and the records of the expansions in it.

    Args:
        store: the run.
        graph: its base; extended here.
    """

    def __init__(self, store: RunStore, graph: Graph) -> None:
        self._store = store
        self.graph = graph
        #: Node -> the record of its expansion, in their order. All chunks are in the graph, except
        #: those of the last record that are still to be read.
        self.records: dict[int, Expansion] = {}
        self._left = range(0)
        #: Growing nodes whose success is plain data: they made no tasks.
        self._plain: set[int] = set()

    def is_settled(self, node: int) -> bool:
        """Whether all that a node, which has succeeded, has added to its run is in the graph."""
        if node in self.records:
            return not self._left or node != next(reversed(self.records))
        return node in self._plain

    def tokens(self) -> dict[str, str]:
        """The expansions in the graph: node -> token of the record."""
        tasks = self.graph.tasks
        return {tasks[node].name: record.token for node, record in self.records.items()}

    def advance(self, node: int) -> range | None:
        """Append the next chunk of what a node, which has succeeded, has added to its run.

        Returns:
            The indices of its tasks; None if nothing is left to append.

        Raises:
            GraphOutdated: the node has expanded, and its record is not there.
        """
        if node not in self.records and node not in self._plain:
            found = self._store.read_expansion(self.graph.tasks[node].name)
            if found is None:
                self.note_plain(node)
            else:
                self._open(node, found)
        return self._append() if self._left else None

    def note_plain(self, node: int) -> None:
        """Note that the success of a node without a record is plain data: a person has decided it,
        or it came with the run.

        Raises:
            GraphOutdated: the node has expanded, or has succeeded no longer.
        """
        name = self.graph.tasks[node].name
        (packed,) = self._store.read_results([name])
        result = packed and decode_result(packed, opaque=True, task=name)
        if not result or isinstance(result.data, Expanded) or result.status != TaskStatus.SUCCESS:
            raise GraphOutdated(name)
        self._plain.add(node)

    def follow(self, statuses: _Statuses) -> _Statuses:
        """Append every expansion that the graph lacks, until there is nothing new.

        Args:
            statuses: of the tasks in the graph so far, just read.

        Returns:
            The statuses of all tasks that are in the graph now.

        Raises:
            GraphOutdated: the run has no longer what the graph has.
        """
        first = 0
        while True:
            nodes = self._find_unread(statuses, first)
            if not nodes and (first or not self.records):
                return statuses
            found = self._store.read_expansions()
            self._check(found)
            self._append_all(found)
            for node in nodes:
                if node not in self.records and node not in self._plain:
                    self.note_plain(node)
            first = len(statuses)
            # A node that succeeded after its status was read has its children already: an event
            # will report its success.
            statuses = statuses + read_statuses(self._store, self.graph, first=first)

    # How

    def _find_unread(self, statuses: _Statuses, first: int) -> list[int]:
        """The nodes, from an index on, that have succeeded and whose expansion is not known."""
        tasks, success = self.graph.tasks, TaskStatus.SUCCESS
        return [
            index
            for index in range(first, len(tasks))
            if statuses[index] is success
            and tasks[index].grow is not None
            and index not in self.records
            and index not in self._plain
        ]

    def _check(self, found: Mapping[str, Expansion]) -> None:
        """Compare the records that are known with those that the run has."""
        tasks = self.graph.tasks
        for node, record in self.records.items():
            name = tasks[node].name
            if name not in found or found[name].token != record.token:
                raise GraphOutdated(name)

    def _append_all(self, found: Mapping[str, Expansion]) -> None:
        """Append all that is new, in the order in which it was made: a node precedes its
        children's expansions.
        """
        while self._left:
            self._append()
        for name, record in sorted(found.items(), key=lambda item: item[1].seq):
            node = self.graph.index.get(name)
            if node is None:
                raise GraphOutdated(name)
            if node not in self.records:
                self._open(node, record)
            while self._left:
                self._append()

    def _open(self, node: int, record: Expansion) -> None:
        self.records[node] = record
        self._left = range(record.chunks)

    def _append(self) -> range:
        """Append the next chunk of the last record."""
        reach("grow:chunk")
        node = next(reversed(self.records))
        try:
            tasks = self._store.read_chunk(self.records[node].token, self._left[0])
        except LookAgain:
            raise GraphOutdated(self.graph.tasks[node].name) from None
        self._left = self._left[1:]
        return self.graph.grow(node, tasks)


class GraphOutdated(Exception):
    """The run has no longer what its graph has: Redis came back with older data.

    Args:
        node: whose expansion is missing.
    """

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node


class Standing(NamedTuple):
    """A run as it was read: its graph with the records of its expansions, and the state of all of
    its tasks.
    """

    growth: GraphGrowth
    reading: RunReading

    @property
    def graph(self) -> Graph:
        """The graph."""
        return self.growth.graph

    def of(self, graph: Graph) -> RunReading:
        """The same with the statuses of another graph of the run, an earlier one."""
        if graph is self.graph:
            return self.reading
        places = map(self.graph.index.get, [task.name for task in graph.tasks])
        found = [None if at is None else self.reading.statuses[at] for at in places]
        return self.reading._replace(statuses=found)


def read_grown(store: RunStore, growth: GraphGrowth) -> Standing:
    """Read the state of a run and of all its tasks, with the expansions that the graph lacks. If
    the run has no longer what the graph has, the graph is read anew, too.

    Raises:
        DamagedRun: the expansion of a node is missing.
    """
    readings: list[RunReading] = []

    def read(graph: Graph) -> _Statuses:
        readings.append(read_standing(store, graph))
        return readings[-1].statuses

    growth, statuses = follow_growth(store, growth, read)
    return Standing(growth, readings[-1]._replace(statuses=statuses))


def follow_growth(
    store: RunStore, growth: GraphGrowth, read: Callable[[Graph], _Statuses]
) -> tuple[GraphGrowth, _Statuses]:
    """As :func:`read_grown`, of the statuses alone, which ``read`` returns for a graph."""
    missing = ""
    for _ in range(_LOOKS):
        try:
            return growth, growth.follow(read(growth.graph))
        except GraphOutdated as outdated:
            missing = outdated.node
            growth = GraphGrowth(store, read_graph(store))
    raise DamagedRun(store.run_id, Damaged(f"the expansion of {missing!r} is missing"))
