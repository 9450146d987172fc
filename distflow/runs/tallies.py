"""Tallies of a run that somebody looks at: how far the children of its growing nodes are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from distflow.core.expansion import Expansion
from distflow.core.run import RunInfo
from distflow.core.status import TaskStatus
from distflow.core.tally import Tally, count_ended
from distflow.ports.run_store import RunStore
from distflow.wire.gathering import StandIn

#: Stand-ins that are read at a time: some hold values of the user's.
_CHUNK_NODES = 100

#: Names whose statuses are read at a time.
_CHUNK_NAMES = 4096

#: A follower counts again after this many times what the last count took.
_REST_FACTOR = 20

#: Counts of tasks that may still change.
_OPEN = ("unknown", "running", "queued", "waiting")


class Children(NamedTuple):
    """What a node has added: by the names of its direct children."""

    node: str
    stand_in: StandIn

    @property
    def kind(self) -> str:
        """``map`` or ``plan``."""
        return "map" if self.stand_in.names is None else "plan"

    def names(self) -> list[str]:
        """The children, in order."""
        return list(self.stand_in.children(self.node))


def read_children(store: RunStore, node: str) -> Children | None:
    """What a node has added; None if it has not expanded."""
    record = store.read_expansion(node)
    packed = record and store.read_stand_in(record.token)
    return None if packed is None else Children(node, StandIn.decode(packed, opaque=True))


def read_tallies(store: RunStore, info: RunInfo) -> list[Tally]:
    """The tally of each node that has expanded, in the order of the expansions. Reads a status of
    each child, unless all tasks of the run have succeeded or were skipped.

    Args:
        store: the run.
        info: the run, read before.
    """
    records = store.read_expansions()
    if not records:
        return []
    is_done = not info.pending and not any(info.counts[name] for name in (*_OPEN, "failure"))
    found: dict[str, Tally] = {}
    #: Nodes with children that have not ended. Nested expansions come first.
    going: set[str] = set()
    for some in _chunks(store, records):
        made = [(each, [] if is_done else each.names()) for each in some]
        asked = [name for _each, names in made for name in names]
        statuses = iter(read_statuses(store, asked))
        for each, names in made:
            node, total = each.node, each.stand_in.total
            if is_done:
                found[node] = Tally(node, each.kind, total, total, 0)
                continue
            its = list(islice(statuses, total))
            ended = count_ended(its, [name in going for name in names])
            if ended < total:
                going.add(node)
            found[node] = Tally(node, each.kind, total, ended, its.count(TaskStatus.FAILURE))
    return [found[node] for node in records if node in found]


def outermost(tallies: Sequence[Tally]) -> list[Tally]:
    """The same, those before that are nested less deep."""
    nodes = {tally.node for tally in tallies}

    def depth(tally: Tally) -> int:
        name = tally.node
        return sum(letter in "[." and name[:at] in nodes for at, letter in enumerate(name))

    return sorted(tallies, key=depth)


def _chunks(store: RunStore, records: dict[str, Expansion]) -> Iterator[list[Children]]:
    """What the nodes have added, the last one first."""
    left = list(reversed(records.items()))
    for start in range(0, len(left), _CHUNK_NODES):
        chunk = left[start : start + _CHUNK_NODES]
        stand_ins = store.read_stand_ins([record.token for _node, record in chunk])
        yield [
            Children(node, StandIn.decode(packed, opaque=True))
            for (node, _record), packed in zip(chunk, stand_ins, strict=True)
            if packed is not None
        ]


def read_statuses(store: RunStore, names: Sequence[str]) -> list[TaskStatus | None]:
    """The statuses of any number of outcomes; None where there is none."""
    found: list[TaskStatus | None] = []
    for start in range(0, len(names), _CHUNK_NAMES):
        found += store.read_statuses(names[start : start + _CHUNK_NAMES])
    return found


class TallyReader:
    """Reads the tallies of a run again and again, and rests the longer the more there is to read.

    Args:
        store: the run.
        monotonic: a clock in seconds.
    """

    def __init__(self, store: RunStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._due = float("-inf")
        self._last: list[Tally] = []

    def read(self, info: RunInfo) -> list[Tally]:
        """The tallies as they were a moment ago."""
        began = self._monotonic()
        if began >= self._due:
            self._last = read_tallies(self._store, info)
            now = self._monotonic()
            self._due = now + _REST_FACTOR * (now - began)
        return self._last
