"""The sources of a ``map`` node: what it makes a task of each element of.

Values of users' types stay encoded: no code of users is imported for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distflow.core.expansion import child_name
from distflow.core.model import Expanded, Ref, Task, find_refs
from distflow.errors import InvalidInput, NotEncodable
from distflow.wire.codec import decode_result, pack_decoded, unpack
from distflow.wire.gathering import ExpansionReader, gather, open_expansion
from distflow_worker.user_functions import MISSING, Misfit


class Source(NamedTuple):
    """One of the lists that a node maps: its elements, and the keys of their children, where it has
    some. The elements are values; or, where it is a node that is followed, Refs to its children.
    """

    #: What errors call it.
    said: str
    elements: Sequence[Any]
    keys: int | Sequence[str | int] | None = None
    is_followed: bool = False


class Sources(NamedTuple):
    """What a node maps, element by element of each. ``keyed`` are the values that its key function
    is called with.
    """

    listed: Sequence[Source]
    keyed: Sequence[Any] = ()


def names_function(key: str | None) -> bool:
    """Whether ``key=`` names a function, not an item or attribute."""
    return key is not None and ":" in key


def read_sources(
    task: Task, outcomes: Mapping[str, bytes], read: ExpansionReader, max_bytes: int
) -> Sources:
    """The sources of a node.

    Args:
        task: the node.
        outcomes: the encoded outcomes of those of its sources that are Refs.
        read: reads its run.
        max_bytes: how many bytes the elements of one source may have.

    Raises:
        InvalidInput: a source cannot be mapped.
        Incomplete: a source is a node that has not all of its children's results.
        Misfit: the type of an element that the key function needs is missing here.
    """
    grow = task.grow
    assert grow is not None, "a map node"
    listed = []
    for number, given in enumerate(task.args, 1):
        source = None
        if type(given) is not Ref:
            source = _take(task, f"source {number}", given)
        elif given.task in grow.shapes:
            source = _follow(given.task, outcomes[given.task], read)
        if source is None:
            data = gather(given.task, outcomes[given.task], read, sealed=True)
            source = _take(task, f"the result of {given.task!r}", data)
            _check_values(task, source)
        listed.append(source)
    for source in listed:
        _check_bytes(task, source, max_bytes)
    if len({len(source.elements) for source in listed}) > 1:
        each = ", ".join(f"{source.said} has {len(source.elements):,}" for source in listed)
        raise InvalidInput(
            f"map {task.name!r}: its sources have different numbers of elements: {each}; "
            "map lists of equal length"
        )
    if not names_function(grow.key):
        return Sources(listed)
    try:
        return Sources(listed, unpack(pack_decoded(list(listed[0].elements))))
    except MISSING as error:
        raise Misfit(f"the elements of {task.name}", error) from error


def _follow(name: str, packed: bytes, read: ExpansionReader) -> Source | None:
    """The children of a mapped node; None if it was given its data, or has failed."""
    data = decode_result(packed, sealed=True).data
    if type(data) is not Expanded:
        return None
    keys = open_expansion(name, data, read).keys
    listed = range(keys) if isinstance(keys, int) else keys
    refs = [Ref(child_name(name, key)) for key in listed]
    return Source(repr(name), refs, keys, is_followed=True)


def _take(task: Task, said: str, value: Any) -> Source:
    """A list, tuple or dict as a source."""
    if type(value) is dict:
        named = all(type(key) in (str, int) for key in value)
        return Source(said, list(value.items()), list(value) if named else None)
    if type(value) in (list, tuple):
        return Source(said, value)
    what = "None" if value is None else f"of type {type(value).__name__}"
    raise InvalidInput(
        f"map {task.name!r}: {said} is {what}, and only a list, a tuple or a dict can be mapped; "
        "return one of them"
    )


def _check_values(task: Task, source: Source) -> None:
    """A Ref of a literal is a dependency of a child; a Ref in data stands for nothing."""
    if find_refs(source.elements):
        raise InvalidInput(
            f"map {task.name!r}: {source.said} has a reference to a task among its elements; "
            "return values"
        )


def _check_bytes(task: Task, source: Source, max_bytes: int) -> None:
    if source.is_followed:
        return
    packed = pack_decoded(list(source.elements))
    if len(packed) > max_bytes:
        raise InvalidInput(
            f"map {task.name!r}: the elements of {source.said} have {len(packed):,} bytes encoded, "
            f"more than max_result_bytes ({max_bytes:,}); store them elsewhere and map their "
            "locations"
        )
    try:
        # The elements of a dict, and those of gathered data, may nest deeper than any result.
        unpack(packed, sealed=True)
    except NotEncodable as error:
        raise InvalidInput(
            f"map {task.name!r}: an element of {source.said} cannot be encoded: {error}"
        ) from None
