"""msgpack <-> the model. Never pickle: what msgpack and the types below cannot say is refused.

A TaskResult is a plain msgpack map whose first key is ``status``: any language reads it, and the
scripts read the status from its first bytes without unpacking the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# By name: what tasks put in the place of msgpack's functions (msgpack-numpy does) is not for us.
from msgpack import ExtType, Packer, unpackb

from distflow.core.model import Grow, Loop, Metrics, Retry, Task, TaskResult
from distflow.core.status import OUTCOME_OF, TaskStatus
from distflow.errors import Damaged, InvalidInput, NotEncodable
from distflow.text import clean_text, public_name
from distflow.wire.extensions import (
    SCALARS,
    USER_CODES,
    Extension,
    extension_of_code,
    find_extension,
)

#: How deep values may nest; Python and msgpack recurse once a level.
_MAX_DEPTH = 256

#: How deep extension types (tuples, sets and registered types among them) may nest: each level
#: is an unpacker of its own, which takes about 50 KB of the C stack.
_MAX_EXTENSION_DEPTH = 24

#: Bytes that a value may have where nothing less is said: msgpack's packer ends at twice that.
_MAX_BYTES = 1 << 30

#: Characters of a message or an error that are kept, and of a traceback.
_MAX_TEXT = 10_000
_MAX_TRACEBACK = 20_000

_SAFE = frozenset({float, bool, type(None)})
_KEYS = frozenset({str, int, bytes, bool})

#: Characters of a path that a message shows.
_SHOWN_PATH = 60

_TOO_DEEP = f"nested deeper than {_MAX_DEPTH} levels, or {_MAX_EXTENSION_DEPTH} of tuples or sets"


def pack(value: Any) -> bytes:
    """Encode plain data and registered types.

    Raises:
        NotEncodable: names the path to the first element that has no encoding.
    """
    _check(value, "", _MAX_DEPTH, _Room(_MAX_BYTES, f"{_MAX_BYTES:,} bytes"))
    return pack_decoded(value)


def unpack(packed: bytes, *, opaque: bool = False, sealed: bool = False) -> Any:
    """Decode what :func:`pack` encoded.

    Args:
        packed: the bytes.
        opaque: leave unregistered extensions as they are, to be packed again unchanged: a
            coordinator passes on what only the user's code can read.
        sealed: leave all extensions of users as they are, registered or not: none of their code is
            called.

    Raises:
        Damaged: the bytes are not a msgpack value.
        NotEncodable: they hold an unregistered extension.
    """
    try:
        find = _find_own if sealed else extension_of_code
        return _unpack_nested(packed, _MAX_EXTENSION_DEPTH, find, opaque=opaque or sealed)
    except NotEncodable:
        raise
    except Exception as error:
        raise Damaged(f"not a msgpack value: {str(error) or type(error).__name__}") from error


def _find_own(code: int) -> Extension | None:
    """What travels under a code of distflow's own."""
    return None if code in USER_CODES else extension_of_code(code)


def _unpack_nested(
    packed: bytes, depth: int, find: Callable[[int], Extension | None], *, opaque: bool
) -> Any:
    def restore(code: int, inner: bytes) -> Any:
        extension = find(code)
        if extension is None:
            if opaque:
                return ExtType(code, inner)
            raise NotEncodable(f"extension type {code} is not registered here: see register_type")
        if depth == 0:
            raise NotEncodable(_TOO_DEEP)
        return extension.restore(_unpack_nested(inner, depth - 1, find, opaque=opaque))

    return unpackb(packed, ext_hook=restore, strict_map_key=False)


def _reduce(extension: Extension, value: Any, path: str) -> Any:
    try:
        return extension.reduce(value)
    except Exception as error:
        raise NotEncodable(
            f"{path or 'value'}: the function registered for {type(value).__qualname__} raised "
            f"{type(error).__name__}: {error}"
        ) from error


def pack_decoded(value: Any) -> bytes:
    """Encode a value from :func:`unpack`, or one that :func:`pack` accepted, without a check."""
    packed: bytes = make_packer().pack(value)
    return packed


def make_packer() -> Any:
    """What :func:`pack_decoded` packs with; for many values, since making one takes longer than
    packing a small value.
    """
    return Packer(default=_reduce_extension, strict_types=True)


def _reduce_extension(value: Any) -> Any:
    extension = find_extension(type(value))
    assert extension is not None, "what was checked has a type that travels"
    return ExtType(extension.code, pack_decoded(extension.reduce(value)))


class _Room:
    """How many bytes a value may still have. An element that it contains many times counts as
    often: a few nested lists can stand for more elements than there are atoms.
    """

    __slots__ = ("left", "most")

    def __init__(self, left: int, most: str) -> None:
        self.left = left
        self.most = most

    def take(self, size: int, path: str) -> None:
        self.left -= size
        if self.left < 0:
            where = path if len(path) <= _SHOWN_PATH else f"{path[:_SHOWN_PATH]}…"
            raise NotEncodable(
                f"{where or 'value'}: this makes it larger than {self.most}; store it elsewhere "
                "and return its location"
            )


def _check_scalar(value: Any, kind: type, path: str, room: _Room) -> None:
    if kind is str:
        try:
            room.take(len(value.encode()), path)
        except UnicodeEncodeError:
            raise NotEncodable(f"{path or 'value'}: text with a lone surrogate") from None
    elif kind is bytes:
        room.take(len(value), path)
    elif kind is int and not -(2**63) <= value < 2**64:
        raise NotEncodable(f"{path or 'value'}: an integer of more than 64 bits")


def _check(
    value: Any, path: str, depth: int, room: _Room, extensions: int = _MAX_EXTENSION_DEPTH
) -> None:
    """Raise NotEncodable with the path of the first element that msgpack would refuse or bend."""
    kind = type(value)
    if kind in SCALARS:
        _check_scalar(value, kind, path, room)
        return
    if depth == 0 or extensions == 0:
        raise NotEncodable(f"{path[:_SHOWN_PATH]}…: {_TOO_DEEP}")
    if kind is dict:
        room.take(len(value), path)
        for key, element in value.items():
            if type(key) not in _KEYS:
                raise NotEncodable(
                    f"{path or 'value'}: a key of type {type(key).__name__} ({key!r:.40}); "
                    "keys are str, int, bytes or bool"
                )
            where = f"{path}[{key!r:.40}]"
            _check(key, where, depth - 1, room, extensions)
            _check(element, where, depth - 1, room, extensions)
    elif kind in (list, tuple, set, frozenset):
        room.take(len(value), path)
        extensions -= kind is not list
        for index, element in enumerate(value):
            if type(element) not in _SAFE:
                _check(element, f"{path}[{index}]", depth - 1, room, extensions)
    elif (extension := find_extension(kind)) is not None:
        if extension.code in USER_CODES:
            _check(_reduce(extension, value, path), path, depth - 1, room, extensions - 1)
    else:
        raise NotEncodable(
            f"{path or 'value'}: {public_name(kind)} cannot be stored; "
            "use plain data, or register the type with distflow.register_type"
        )


def encode_result(result: TaskResult, max_result_bytes: int = _MAX_BYTES) -> bytes:
    """TaskResult -> msgpack map, ``status`` first, empty fields left out, long texts cut.

    Raises:
        NotEncodable: its data cannot be encoded, or it is larger than that with its data; the path
            starts at ``data``.
    """
    if result.data is not None:
        most = f"max_result_bytes ({max_result_bytes:,})"
        _check(result.data, "data", _MAX_DEPTH, _Room(max_result_bytes, most))
    fields: dict[str, Any] = {"status": result.status.value}
    if result.message is not None:
        fields["message"] = clean_text(result.message, _MAX_TEXT)
    if result.error is not None:
        fields["error"] = clean_text(result.error, _MAX_TEXT)
    fields["data"] = result.data
    if result.metrics is not None:
        fields["metrics"] = {
            "start_time": result.metrics.start_time,
            "end_time": result.metrics.end_time,
            "duration": result.metrics.duration,
        }
    fields["attempt"] = result.attempt
    if result.worker is not None:
        fields["worker"] = result.worker
    if result.traceback is not None:
        fields["traceback"] = clean_text(result.traceback, _MAX_TRACEBACK)
    if result.started:
        fields["started"] = True
    if result.host is not None:
        # Beyond what 0.1 reads: it leaves out what it does not know.
        fields["host"] = result.host
    packed = pack_decoded(fields)
    if result.data is not None and len(packed) > max_result_bytes:
        raise NotEncodable(
            f"data: {len(packed):,} bytes encoded, more than {most}; store it elsewhere and "
            "return its location"
        )
    return packed


def decode_result(
    packed: bytes, *, opaque: bool = False, sealed: bool = False, task: str = ""
) -> TaskResult:
    """Msgpack map -> TaskResult; fields that this version does not know are left out.

    Args:
        packed: the bytes.
        opaque: as for :func:`unpack`.
        sealed: as for :func:`unpack`.
        task: the task of the result, for errors.

    Raises:
        Damaged: the bytes are not a TaskResult.
        NotEncodable: they hold an unregistered extension.
    """
    try:
        return _result_of(unpack(packed, opaque=opaque, sealed=sealed))
    except Damaged as error:
        raise _no_result(task, error) from error
    except MALFORMED as error:
        raise _no_result(task, f"{type(error).__name__}: {error}") from error


#: What reading fields raises that are not those of the model.
MALFORMED = (AttributeError, LookupError, TypeError, ValueError, InvalidInput)


def _no_result(task: str, why: object) -> Damaged:
    of = f" of task {task!r}" if task else ""
    return Damaged(f"the outcome{of} is not a TaskResult ({why}): restore the data that it is in")


#: What the fields of a TaskResult may be, where they are there.
_RESULT_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "message": str,
    "error": str,
    "attempt": int,
    "worker": str,
    "traceback": str,
    "host": str,
}


def _result_of(fields: Mapping[str, Any]) -> TaskResult:
    check_types(fields, _RESULT_TYPES)
    metrics = fields.get("metrics")
    if metrics and not all(isinstance(moment, int | float) for moment in metrics.values()):
        raise TypeError("metrics are no numbers")
    return TaskResult(
        status=OUTCOME_OF[fields["status"]],
        message=fields.get("message"),
        error=fields.get("error"),
        data=fields.get("data"),
        metrics=metrics
        and Metrics(metrics["start_time"], metrics["end_time"], metrics["duration"]),
        attempt=fields.get("attempt", 0),
        worker=fields.get("worker"),
        traceback=fields.get("traceback"),
        started=fields.get("started", False),
        host=fields.get("host"),
    )


def check_types(fields: Mapping[str, Any], types: Mapping[str, type | tuple[type, ...]]) -> None:
    """Raise TypeError for a field that is there and of another type."""
    for name in types.keys() & fields.keys():
        value = fields[name]
        if value is not None and not isinstance(value, types[name]):
            raise TypeError(f"{name} is {value!r:.40}")


def status_of(packed: bytes) -> TaskStatus:
    """The status of an encoded TaskResult, read from its first bytes (see the module).

    Raises:
        Damaged: the bytes are no TaskResult.
    """
    try:
        return TaskStatus(packed[9 : 9 + packed[8] - 0xA0].decode())
    except (LookupError, ValueError) as error:
        raise _no_result("", f"{type(error).__name__}: {error}") from error


def encode_task(task: Task) -> dict[str, Any]:
    """Task -> plain map, defaults left out; still to be packed."""
    fields: dict[str, Any] = {"name": task.name, "function": task.function}
    if task.args:
        fields["args"] = list(task.args)
    if task.kwargs:
        fields["kwargs"] = dict(task.kwargs)
    if task.depends_on:
        fields["depends_on"] = list(task.depends_on)
    if task.retry:
        retry: list[Any] = list(task.retry)
        # The last three are of version 2: what version 1 reads has six.
        fields["retry"] = retry if any(retry[_RETRY_1:]) else retry[:_RETRY_1]
    if task.loop:
        # A fourth is of version 2: in version 1, a loop sees data.
        fields["loop"] = list(task.loop[:_LOOP_1] if task.loop.sees == "data" else task.loop)
    for name in _OPTIONS:
        value = getattr(task, name)
        if value != _DEFAULTS[name]:
            fields[name] = value
    if task.grow:
        fields["grow"] = _encode_grow(task.grow)
    return fields


def encode_tasks(tasks: Iterable[Task]) -> bytes:
    """Tasks -> a chunk of a graph."""
    return pack_decoded([encode_task(task) for task in tasks])


def _encode_grow(grow: Grow) -> list[Any]:
    child = encode_task(grow.child) if grow.child else None
    return [grow.kind, child, grow.key, grow.max_failures, list(grow.shapes)]


def _decode_grow(fields: Sequence[Any]) -> Grow:
    kind, child, key, max_failures, shapes = fields
    return Grow(kind, child and decode_task(child), key, max_failures, tuple(shapes))


#: Fields of a Retry and of a Loop in version 1.
_RETRY_1, _LOOP_1 = 6, 3

#: What travels under its own name, and its defaults: see ``core/options.py``, which work horses can
#: do without.
_OPTIONS = Task._fields[Task._fields.index("loop") + 1 : Task._fields.index("grow")]
_DEFAULTS = {name: Task._field_defaults[name] for name in _OPTIONS}


def decode_task(fields: Mapping[str, Any]) -> Task:
    """Plain map -> Task."""
    retry = fields.get("retry")
    loop, grow = fields.get("loop"), fields.get("grow")
    return Task(
        fields["name"],
        fields["function"],
        tuple(fields.get("args", ())),
        fields.get("kwargs", _NO_KWARGS),
        tuple(fields.get("depends_on", ())),
        Retry(*retry) if retry else None,
        loop=Loop(*[*loop, "data"][: _LOOP_1 + 1]) if loop else None,
        grow=_decode_grow(grow) if grow else None,
        **{name: fields[name] for name in fields.keys() & _DEFAULTS.keys()},
    )


#: Shared by the tasks that have none.
_NO_KWARGS = Task("", "").kwargs
