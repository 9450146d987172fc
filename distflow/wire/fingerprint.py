"""What makes a task the same task in another run: its function, arguments and dependencies."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack

from distflow.core.model import Grow, Task
from distflow.wire import codec

#: The codec's extension codes of set and frozenset, whose order says nothing.
_UNORDERED = frozenset({3, 4})


def fingerprint(task: Task) -> str:
    """16 hex digits that are the same for the same task in any process.

    They depend on its function, its arguments (a Ref among them by the name of its task) and the
    names of its dependencies; for a growing node also on what it makes of each element. Not on the
    order of dict keys, set elements or dependencies, nor on its name and policy.

    Raises:
        NotEncodable: an argument cannot be encoded.
    """
    said = [task.function, list(task.args), dict(task.kwargs), sorted(set(task.depends_on))]
    if task.grow is not None:
        said.append(_grown(task.grow))
    return hashlib.sha256(_canonical(codec.pack(said))).hexdigest()[:16]


def _grown(grow: Grow) -> list[Any]:
    """What a growing node makes of each element, and under which names."""
    child = grow.child
    made = None
    if child is not None:
        inner = None if child.grow is None else _grown(child.grow)
        made = [child.function, list(child.args), dict(child.kwargs), inner]
    return [grow.kind, made, grow.key, sorted(grow.shapes)]


def _canonical(packed: bytes) -> bytes:
    """The same bytes for values that differ in the order of dict keys or set elements alone."""
    return _canonical_value(msgpack.unpackb(packed, strict_map_key=False))


def _canonical_value(value: Any) -> bytes:
    kind = type(value)
    if kind is list:
        return _pack("list", [_canonical_value(element) for element in value])
    if kind is dict:
        pairs = ([_canonical_value(key), _canonical_value(value[key])] for key in value)
        return _pack("map", sorted(pairs))
    if kind is msgpack.ExtType:
        inner = msgpack.unpackb(value.data, strict_map_key=False)
        if value.code in _UNORDERED:
            return _pack(value.code, sorted(_canonical_value(element) for element in inner))
        return _pack(value.code, _canonical_value(inner))
    return _pack("value", value)


def _pack(kind: str | int, content: Any) -> bytes:
    packed: bytes = msgpack.packb([kind, content])
    return packed
