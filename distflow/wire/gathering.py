"""Gathering: turns the data of a node that has expanded into the value that it stands for.

The value is complete, or there is none: each child is a success, or a failure that is tolerated and
counts as None. Pure: a reader is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple, Protocol

from distflow.core.expansion import Expansion, child_name
from distflow.core.model import Expanded, TaskResult, fill_refs, find_refs
from distflow.core.status import TaskStatus
from distflow.errors import Damaged, Incomplete
from distflow.wire.codec import MALFORMED, decode_result, pack_decoded, unpack

#: How many results are fetched at once: few at first, since their size is unknown.
_FIRST, _MOST = 64, 4096

#: About how many bytes of results are fetched at once.
_BYTES_AT_ONCE = 8 * 1024 * 1024


class ExpansionReader(Protocol):
    """What gathering asks of the store of a run: a part of
    :class:`~distflow.ports.worker.WorkerPort`.
    """

    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]:
        """See :class:`~distflow.ports.worker.WorkerPort`."""

    def fetch_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        """See :class:`~distflow.ports.worker.WorkerPort`."""

    def fetch_expansion(self, node: str) -> tuple[Expansion, bytes] | None:
        """See :class:`~distflow.ports.worker.WorkerPort`."""


class StandIn(NamedTuple):
    """What a node that has expanded stands for.

    ``keys`` are those of a map's children: their number where each is named by its position;
    ``names`` are those of a plan's children, without the node's, and None for a map. ``value`` is
    what a plan has returned, with Refs. ``tolerates`` are the failures that are tolerated: True for
    all, a number for as many, else the names. ``grows`` says which children are growing nodes
    themselves: True for all, else the names.
    """

    keys: int | Sequence[str | int] = 0
    names: Sequence[str] | None = None
    value: Any = None
    tolerates: bool | int | Sequence[str] = False
    grows: bool | Sequence[str] = False

    def encode(self) -> bytes:
        """StandIn -> msgpack map; what says nothing is left out."""
        if self.names is None:
            fields: dict[str, Any] = {"keys": self.keys}
        else:
            fields = {"names": self.names, "value": self.value}
        if self.tolerates is not False:
            fields["tolerates"] = self.tolerates
        if self.grows:
            fields["grows"] = self.grows
        return pack_decoded(fields)

    @classmethod
    def decode(cls, packed: bytes, *, opaque: bool = False, sealed: bool = False) -> StandIn:
        """Msgpack map -> StandIn; what the user's code alone can read as for
        :func:`~distflow.wire.codec.unpack`.

        Raises:
            Damaged: the bytes are no stand-in.
            NotEncodable: they hold an unregistered extension.
        """
        fields = unpack(packed, opaque=opaque, sealed=sealed)
        try:
            names = fields.get("names")
            tolerates, grows = fields.get("tolerates", False), fields.get("grows", False)
            if names is None:
                return cls(fields["keys"], None, None, tolerates, grows)
            return cls(0, names, fields["value"], tolerates or (), grows or ())
        except MALFORMED as error:
            raise Damaged(f"not what a node stands for ({type(error).__name__})") from error

    @property
    def total(self) -> int:
        """The number of children."""
        if self.names is not None:
            return len(self.names)
        return self.keys if isinstance(self.keys, int) else len(self.keys)

    def children(self, node: str) -> Iterator[str]:
        """The names of the children, in order."""
        if self.names is not None:
            return (f"{node}.{name}" for name in self.names)
        keys = range(self.keys) if isinstance(self.keys, int) else self.keys
        return (child_name(node, key) for key in keys)


def gather(
    name: str,
    packed: bytes,
    read: ExpansionReader,
    *,
    opaque: bool = False,
    sealed: bool = False,
) -> Any:
    """The data of a task; for a node that has expanded, what it stands for.

    Args:
        name: of the task.
        packed: its encoded outcome; any other than a success has None.
        read: reads the outcomes and expansions of its run.
        opaque: as for :func:`~distflow.wire.codec.unpack`.
        sealed: likewise.

    Raises:
        Incomplete: a child has no outcome, or a failure that is not tolerated.
        NotEncodable: data holds an unregistered extension.
    """
    return _Gatherer(read, opaque=opaque, sealed=sealed).value(name, packed)


def gather_result(
    name: str, packed: bytes, read: ExpansionReader, *, opaque: bool = False
) -> TaskResult:
    """The TaskResult of a task, with its data as :func:`gather` returns it."""
    return _Gatherer(read, opaque=opaque).result(name, packed)


def gather_results(
    name: str, packed: bytes, read: ExpansionReader, *, opaque: bool = False
) -> list[TaskResult]:
    """The TaskResults of the children of a node, in order, each with its data as :func:`gather`
    returns it.

    Raises:
        KeyError: the node has not expanded: it has no children.
        Incomplete: see :func:`gather`.
    """
    return _Gatherer(read, opaque=opaque).results(name, packed)


def open_expansion(
    node: str,
    expanded: Expanded,
    read: ExpansionReader,
    *,
    opaque: bool = False,
    sealed: bool = False,
) -> StandIn:
    """What a node that has expanded stands for, its Refs not replaced.

    Raises:
        Incomplete: Redis has not the expansion that the node has made.
        NotEncodable: it holds an unregistered extension.
    """
    found = read.fetch_expansion(node)
    if found is None or found[0].token != expanded.token:
        raise Incomplete(f"the expansion of {node!r} is not in Redis any more: restore its data")
    stand_in = StandIn.decode(found[1], opaque=opaque, sealed=sealed)
    if stand_in.total != expanded.children:
        raise Incomplete(
            f"{node!r} has {expanded.children:,} children, and the expansion in Redis has "
            f"{stand_in.total:,}: restore its data"
        )
    return stand_in


class _Gatherer:
    """Gathers from one run."""

    def __init__(
        self, read: ExpansionReader, *, opaque: bool = False, sealed: bool = False
    ) -> None:
        self._read = read
        self._mode = {"opaque": opaque, "sealed": sealed}

    def result(self, name: str, packed: bytes) -> TaskResult:
        result = self._decode(name, packed)
        if type(result.data) is not Expanded:
            return result
        return replace(result, data=self._gather(name, result.data))

    def value(self, name: str, packed: bytes) -> Any:
        return _value_of(self.result(name, packed))

    def results(self, name: str, packed: bytes) -> list[TaskResult]:
        expanded = self._decode(name, packed).data
        if type(expanded) is not Expanded:
            raise KeyError(f"{name!r} has no children: it is no node that has expanded")
        stand_in = open_expansion(name, expanded, self._read, **self._mode)
        return list(self._complete(name, stand_in, stand_in.children(name)))

    def _complete(
        self, node: str, stand_in: StandIn, children: Iterator[str]
    ) -> Iterator[TaskResult]:
        """The results of children of a node, one after another: there may be a million."""
        failures = _Failures(node, stand_in)
        for child, outcome in self._fetch(children):
            if outcome is None:
                raise failures.incomplete(child, None)
            result = self.result(child, outcome)
            failures.count(child, result.status)
            yield result

    def _decode(self, name: str, packed: bytes) -> TaskResult:
        return decode_result(packed, task=name, **self._mode)

    def _gather(self, node: str, expanded: Expanded) -> Any:
        stand_in = open_expansion(node, expanded, self._read, **self._mode)
        if stand_in.names is None:
            found = self._complete(node, stand_in, stand_in.children(node))
            return [_value_of(result) for result in found]
        wanted = list(dict.fromkeys(ref.task for ref in find_refs(stand_in.value)))
        self._check(node, stand_in, without=set(wanted))
        found = self._complete(node, stand_in, iter(wanted))
        data = dict(zip(wanted, map(_value_of, found), strict=True))
        return fill_refs(stand_in.value, data)

    def _check(self, node: str, stand_in: StandIn, without: Container[str] = ()) -> None:
        """Check that all children of a node are there, without their data."""
        failures = _Failures(node, stand_in)
        names = (name for name in stand_in.children(node) if name not in without)
        growing = set()
        if stand_in.grows and stand_in.grows is not True:
            growing = {f"{node}.{name}" for name in stand_in.grows}
        while some := list(islice(names, _MOST)):
            for child, status in zip(some, self._read.fetch_statuses(some), strict=True):
                failures.count(child, status)
                if status == TaskStatus.SUCCESS and (stand_in.grows is True or child in growing):
                    (packed,) = self._read.fetch_results([child])
                    data = packed and self._decode(child, packed).data
                    if type(data) is Expanded:
                        self._check(child, open_expansion(child, data, self._read, **self._mode))

    def _fetch(self, names: Iterator[str]) -> Iterator[tuple[str, bytes | None]]:
        """The outcomes of tasks, so many at once as there is room for."""
        at_once = _FIRST
        while some := list(islice(names, at_once)):
            outcomes = self._read.fetch_results(some)
            size = sum(len(outcome or b"") for outcome in outcomes) // len(some)
            at_once = max(1, min(_MOST, 4 * at_once, _BYTES_AT_ONCE // max(1, size)))
            yield from zip(some, outcomes, strict=True)


def _value_of(result: TaskResult) -> Any:
    return result.data if result.status == TaskStatus.SUCCESS else None


class _Failures:
    """Counts the failures among the children of a node, as far as they are tolerated."""

    def __init__(self, node: str, stand_in: StandIn) -> None:
        self._node = node
        tolerates = stand_in.tolerates
        #: How many more failures are tolerated, besides those that are named.
        self._left: float = 0
        self._named: Container[str] = ()
        if not isinstance(tolerates, int):
            self._named = {f"{node}.{name}" for name in tolerates}
        else:
            self._left = math.inf if tolerates is True else tolerates

    def count(self, child: str, status: TaskStatus | None) -> None:
        """Take in the status of a child; None if it has no outcome.

        Raises:
            Incomplete: it is neither a success nor a tolerated failure.
        """
        if status == TaskStatus.SUCCESS:
            return
        if status == TaskStatus.FAILURE:
            if child in self._named:
                return
            if self._left:
                self._left -= 1
                return
        raise self.incomplete(child, status)

    def incomplete(self, child: str, status: TaskStatus | None) -> Incomplete:
        """The error about a child."""
        what = "has no outcome" if status is None else f"is {status.value}"
        return Incomplete(f"the results of {self._node!r} are incomplete: {child!r} {what}")
