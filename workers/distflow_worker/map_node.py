"""What a ``map`` node does: it makes one task of each element of its sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgpack import ExtType

from distflow.core.dependencies import allowed_failures
from distflow.core.expansion import child_name
from distflow.core.model import Task, find_refs
from distflow.core.outcome import Outcome
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput
from distflow.text import counted, is_utf8
from distflow.wire.chunks import pack_chunks
from distflow.wire.codec import encode_task
from distflow.wire.gathering import StandIn
from distflow_worker.expanding import check_nesting, expand
from distflow_worker.made import Made
from distflow_worker.sources import Sources, names_function, read_sources
from distflow_worker.steps import AttemptRecord, refused_outcome
from distflow_worker.user_functions import load_function, message_of

#: Characters of the key of a child.
_MOST_KEY = 200


def read(record: AttemptRecord, outcomes: Mapping[str, bytes]) -> Outcome | None:
    """Read the sources of a node; the attempt is over if one cannot be mapped.

    Raises:
        Misfit: the type of an element that the key function needs is missing here.
    """
    view = record.view
    try:
        record.sources = read_sources(record.task, outcomes, view.store, view.max_result_bytes)
    except InvalidInput as error:
        return refused_outcome(error)
    return None


def grow(record: AttemptRecord) -> Outcome:
    """Make the children of a node, and keep them."""
    assert record.sources is not None, "they are read before"
    try:
        made = make_children(record.task, record.sources)
    except InvalidInput as error:
        return refused_outcome(error)
    return Outcome(TaskStatus.SUCCESS, data=expand(record, made))


def make_children(task: Task, sources: Sources) -> Made:
    """The children of a node.

    Raises:
        InvalidInput: a child cannot have its key, or nests too deep.
    """
    assert task.grow is not None, "a map node"
    child = task.grow.child
    assert child is not None, "a map has what it makes of each element"
    check_nesting(task.name)
    total = len(sources.listed[0].elements)
    keys = _keys(task, sources)
    tolerates: bool | int = child.continue_on_error
    if not tolerates and task.grow.max_failures is not None:
        tolerates = allowed_failures(task.grow, total)
    stand_in = StandIn(keys, tolerates=tolerates, grows=child.grow is not None)
    chunks = tuple(pack_chunks(_children(task, child, sources, keys)))
    return Made(chunks, stand_in.encode(), total, (child.queue,) if total else ())


def _keys(task: Task, sources: Sources) -> int | Sequence[str | int]:
    """What names the children: texts or numbers, or how many are named by their positions."""
    key = task.grow and task.grow.key
    if key is not None:
        return _check_keys(task, list(_make_keys(task, key, sources)))
    for source in sources.listed:
        if source.is_followed and source.keys is not None:
            return source.keys
    for source in sources.listed:
        if not isinstance(source.keys, int | None):
            return _check_keys(task, source.keys)
    return len(sources.listed[0].elements)


def _make_keys(task: Task, key: str, sources: Sources) -> Iterator[Any]:
    if not names_function(key):
        for number, element in enumerate(sources.listed[0].elements):
            yield _item(task, key, number, element)
        return
    function = load_function(key)
    for number, element in enumerate(sources.keyed):
        try:
            yield function(element)
        except Exception as error:
            said = f"{type(error).__name__}: {message_of(error)}"
            raise InvalidInput(
                f"map {task.name!r}: its key {key!r} raised {said}, for element {number}"
            ) from error


def _item(task: Task, key: str, number: int, element: Any) -> Any:
    try:
        if type(element) is dict:
            return element[key]
        if type(element) is not ExtType:
            return getattr(element, key)
        what = "of a registered type, which only your code can read"
    except (KeyError, AttributeError):
        what = f"of type {type(element).__name__}, and has no {key!r}"
    raise InvalidInput(
        f"map {task.name!r}: element {number} is {what}; let key= name a function of the element"
    )


def _check_keys(task: Task, keys: Sequence[Any]) -> Sequence[str | int]:
    seen: dict[str, int] = {}
    for number, key in enumerate(keys):
        what = None
        if type(key) not in (str, int):
            what = f"of type {type(key).__name__}: keys are texts or numbers"
        elif not 1 <= len(str(key)) <= _MOST_KEY:
            what = f"{counted(len(str(key)), 'character')} long: keys have 1 to {_MOST_KEY}"
        elif not is_utf8(str(key)):
            what = "not encodable as UTF-8"
        elif not -(2**63) <= key < 2**64 if type(key) is int else False:
            what = "a number of more than 64 bits"
        elif seen.setdefault(str(key), number) != number:
            what = f"that of element {seen[str(key)]}, too: keys must differ as text"
        if what:
            raise InvalidInput(
                f"map {task.name!r}: the key of element {number}, {key!r:.60}, is {what}; "
                "give another key="
            )
    return keys


def _children(
    task: Task, child: Task, sources: Sources, keys: int | Sequence[str | int]
) -> Iterator[Mapping[str, Any]]:
    """The children, encoded."""
    plain = encode_task(child)
    fixed = [ref.task for ref in find_refs(dict(child.kwargs))]
    listed = [source.elements for source in sources.listed]
    # Data has no Refs: these are those of literals and of followed nodes.
    may_refer = bool(task.depends_on)
    named = range(keys) if isinstance(keys, int) else keys
    for key, args in zip(named, zip(*listed, strict=True), strict=True):
        made = {**plain, "name": child_name(task.name, key), "args": list(args)}
        above = [ref.task for ref in find_refs(args)] if may_refer else []
        if above or fixed:
            made["depends_on"] = list(dict.fromkeys((*above, *fixed)))
        yield made
