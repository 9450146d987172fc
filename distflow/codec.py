"""msgpack <-> the model. Never pickle: what msgpack and the types below cannot say is refused.

A TaskResult is a plain msgpack map whose first key is ``status``: any language reads it, and the
scripts read the status from its first bytes without unpacking the data.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from math import isfinite
from typing import Any, NamedTuple

import msgpack

from distflow.core.model import Loop, Metrics, Ref, Retry, Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput, NotEncodable

#: How deep values may nest; Python and msgpack recurse once a level.
_MAX_DEPTH = 256

#: How deep extension types (tuples, sets and registered types among them) may nest: each level
#: is an unpacker of its own, which takes about 50 KB of the C stack.
_MAX_EXTENSION_DEPTH = 24

_SCALARS = frozenset({str, int, float, bool, bytes, type(None), msgpack.ExtType})
_SAFE = frozenset({float, bool, bytes, type(None)})
_KEYS = frozenset({str, int, bytes, bool})
_TOO_DEEP = f"nested deeper than {_MAX_DEPTH} levels, or {_MAX_EXTENSION_DEPTH} of tuples or sets"


class _Extension(NamedTuple):
    """How one Python type travels: an extension code and two functions."""

    code: int
    type: type
    #: value -> plain value that is packed inside the extension
    reduce: Callable[[Any], Any]
    restore: Callable[[Any], Any]


_BUILT_IN = (
    _Extension(1, Ref, lambda ref: ref.task, Ref),
    _Extension(2, tuple, list, tuple),
    _Extension(3, set, list, set),
    _Extension(4, frozenset, list, frozenset),
    # Of a time zone only the offset travels, not its rules: the instant is what must survive.
    _Extension(5, datetime, datetime.isoformat, datetime.fromisoformat),
    _Extension(6, date, date.isoformat, date.fromisoformat),
    _Extension(
        7,
        timedelta,
        lambda delta: [delta.days, delta.seconds, delta.microseconds],
        lambda parts: timedelta(*parts),
    ),
    _Extension(9, uuid.UUID, lambda value: value.bytes, lambda raw: uuid.UUID(bytes=raw)),
    _Extension(10, complex, lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
)
_DECIMAL = 8
_by_type: dict[type, _Extension] = {extension.type: extension for extension in _BUILT_IN}
_by_code: dict[int, _Extension] = {extension.code: extension for extension in _BUILT_IN}


def _find_extension(kind: type) -> _Extension | None:
    """How a type travels; Decimal is registered when it is first met, since work horses would
    pay for its import in every job.
    """
    found = _by_type.get(kind)
    if found is None and (kind.__module__, kind.__name__) == ("decimal", "Decimal"):
        _add_extension(_Extension(_DECIMAL, kind, str, kind))
    return found or _by_type.get(kind)


def _extension_of_code(code: int) -> _Extension | None:
    if code == _DECIMAL and code not in _by_code:
        _find_extension(import_module("decimal").Decimal)
    return _by_code.get(code)


def _add_extension(extension: _Extension) -> None:
    _by_code[extension.code] = extension
    _by_type[extension.type] = extension


#: Extension codes that users may register; the others are for distflow itself.
USER_CODES = range(32, 128)


def register_type(
    code: int, kind: type, reduce: Callable[[Any], Any], restore: Callable[[Any], Any]
) -> None:
    """Let values of a type travel in arguments and results.

    Call it on import of a module that the submitting host and every worker import.

    Args:
        code: the extension code on the wire, 32 to 127; the same everywhere and for ever.
        kind: the type, matched exactly (not its subclasses).
        reduce: turns a value into plain data or other registered types.
        restore: turns that back into a value.

    Raises:
        InvalidInput: the code or the type is taken by another registration, or is msgpack's own.
    """
    if code not in USER_CODES:
        raise InvalidInput(f"register_type: the code is 32 to 127, not {code}")
    if kind in _SCALARS or kind in (list, dict):
        raise InvalidInput(f"register_type: {kind.__name__} travels as it is")
    for known in (_by_code.get(code), _find_extension(kind)):
        if known and (known.code != code or known.type is not kind):
            raise InvalidInput(f"register_type: code {known.code} is {known.type.__name__} already")
    _add_extension(_Extension(code, kind, reduce, restore))


def pack(value: Any) -> bytes:
    """Encode plain data and registered types.

    Raises:
        NotEncodable: names the path to the first element that has no encoding.
    """
    _check(value, "", _MAX_DEPTH)
    return pack_decoded(value)


def unpack(packed: bytes, *, opaque: bool = False) -> Any:
    """Decode what :func:`pack` made.

    Args:
        packed: the bytes.
        opaque: leave unregistered extensions as they are, to be packed again unchanged: a
            coordinator passes on what only the user's code can read.

    Raises:
        NotEncodable: the bytes are not a msgpack value, or hold an unregistered extension.
    """
    try:
        return _unpack_nested(packed, _MAX_EXTENSION_DEPTH, opaque=opaque)
    except NotEncodable:
        raise
    except Exception as error:
        raise NotEncodable(f"not a msgpack value: {error}") from error


def _unpack_nested(packed: bytes, depth: int, *, opaque: bool) -> Any:
    def restore(code: int, inner: bytes) -> Any:
        extension = _extension_of_code(code)
        if extension is None:
            if opaque:
                return msgpack.ExtType(code, inner)
            raise NotEncodable(f"extension type {code} is not registered here: see register_type")
        if depth == 0:
            raise NotEncodable(_TOO_DEEP)
        return extension.restore(_unpack_nested(inner, depth - 1, opaque=opaque))

    return msgpack.unpackb(packed, ext_hook=restore, strict_map_key=False)


def _reduce(value: Any, path: str) -> Any:
    kind = type(value)
    try:
        return _by_type[kind].reduce(value)
    except Exception as error:
        raise NotEncodable(
            f"{path or 'value'}: what {kind.__qualname__} was registered with raised "
            f"{type(error).__name__}: {error}"
        ) from error


def pack_decoded(value: Any) -> bytes:
    """Encode what :func:`unpack` gave or :func:`pack` has taken before: it is not checked again."""
    packed: bytes = msgpack.packb(value, default=_reduce_extension, strict_types=True)
    return packed


def _reduce_extension(value: Any) -> Any:
    extension = _by_type[type(value)]
    return msgpack.ExtType(extension.code, pack_decoded(extension.reduce(value)))


def _check(value: Any, path: str, depth: int, extensions: int = _MAX_EXTENSION_DEPTH) -> None:
    """Raise NotEncodable with the path of the first element that msgpack would refuse or bend."""
    kind = type(value)
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotEncodable(f"{path or 'value'}: text with a lone surrogate") from None
        return
    if kind is int:
        if not -(2**63) <= value < 2**64:
            raise NotEncodable(f"{path or 'value'}: an integer of more than 64 bits")
        return
    if kind in _SCALARS:
        return
    if depth == 0 or extensions == 0:
        raise NotEncodable(f"{path[:60]}…: {_TOO_DEEP}")
    if kind is dict:
        for key, element in value.items():
            if type(key) not in _KEYS:
                raise NotEncodable(
                    f"{path or 'value'}: a key of type {type(key).__name__} ({key!r:.40}); "
                    "keys are str, int, bytes or bool"
                )
            where = f"{path}[{key!r:.40}]"
            _check(key, where, depth - 1, extensions)
            _check(element, where, depth - 1, extensions)
    elif kind in (list, tuple, set, frozenset):
        extensions -= kind is not list
        for index, element in enumerate(value):
            if type(element) not in _SAFE:
                _check(element, f"{path}[{index}]", depth - 1, extensions)
    elif (extension := _find_extension(kind)) is not None:
        if extension.code in USER_CODES:
            _check(_reduce(value, path), path, depth - 1, extensions - 1)
    else:
        raise NotEncodable(
            f"{path or 'value'}: {kind.__module__}.{kind.__qualname__} cannot be stored; "
            "use plain data, or register the type with distflow.register_type"
        )


def encode_result(result: TaskResult) -> bytes:
    """TaskResult -> msgpack map, ``status`` first, empty fields left out.

    Raises:
        NotEncodable: its data cannot be encoded; the path starts at ``data``.
    """
    _check(result.data, "data", _MAX_DEPTH)
    fields: dict[str, Any] = {"status": result.status.value}
    if result.message is not None:
        fields["message"] = _clean_text(result.message)
    if result.error is not None:
        fields["error"] = _clean_text(result.error)
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
        fields["traceback"] = _clean_text(result.traceback)
    if result.started:
        fields["started"] = True
    return pack_decoded(fields)


def decode_result(packed: bytes, *, opaque: bool = False) -> TaskResult:
    """Msgpack map -> TaskResult; fields that this version does not know are left out.

    ``opaque`` is that of :func:`unpack`.

    Raises:
        NotEncodable: the bytes are no TaskResult.
    """
    fields = unpack(packed, opaque=opaque)
    try:
        return _result_of(fields)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, InvalidInput) as error:
        raise NotEncodable(f"not a TaskResult: {type(error).__name__}: {error}") from error


def _result_of(fields: Mapping[str, Any]) -> TaskResult:
    metrics = fields.get("metrics")
    return TaskResult(
        status=TaskStatus(fields["status"]),
        message=fields.get("message"),
        error=fields.get("error"),
        data=fields.get("data"),
        metrics=metrics
        and Metrics(metrics["start_time"], metrics["end_time"], metrics["duration"]),
        attempt=fields.get("attempt", 0),
        worker=fields.get("worker"),
        traceback=fields.get("traceback"),
        started=fields.get("started", False),
    )


def status_of(packed: bytes) -> TaskStatus:
    """The status of an encoded TaskResult, read from its first bytes (see the module)."""
    length = packed[8] - 0xA0
    return TaskStatus(packed[9 : 9 + length].decode())


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
        retry = task.retry
        fields["retry"] = [
            retry.attempts,
            retry.delay,
            retry.backoff,
            retry.max_delay,
            retry.jitter,
            retry.lost,
        ]
    if task.loop:
        fields["loop"] = [task.loop.until, task.loop.max_iterations, task.loop.interval]
    for name in _OPTIONS:
        value = getattr(task, name)
        if value != _DEFAULTS[name]:
            fields[name] = value
    return fields


_OPTIONS = (
    "timeout",
    "condition",
    "priority",
    "continue_on_error",
    "queue",
    "effects",
    "verify",
    "batch",
)
_DEFAULTS = {name: getattr(Task("", ""), name) for name in _OPTIONS}


def decode_task(fields: Mapping[str, Any]) -> Task:
    """Plain map -> Task."""
    retry = fields.get("retry")
    loop = fields.get("loop")
    return Task(
        name=fields["name"],
        function=fields["function"],
        args=tuple(fields.get("args", ())),
        kwargs=fields.get("kwargs", {}),
        depends_on=tuple(fields.get("depends_on", ())),
        retry=Retry(*retry) if retry else None,
        loop=Loop(*loop) if loop else None,
        **{name: fields[name] for name in _OPTIONS if name in fields},
    )


def to_plain(value: Any) -> Any:
    """Anything that :func:`pack` takes -> what JSON can say, for people and ``--json``.

    Times become ISO 8601, Decimals and UUIDs text, bytes their UTF-8 text or hex digits, sets
    lists, NaN and infinities text. It cannot be turned back.
    """
    if isinstance(value, Mapping):
        return {_plain_key(key): to_plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(element) for element in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def _plain_key(key: Any) -> str:
    return key if isinstance(key, str) else str(to_plain(key))


def plain_result(result: TaskResult) -> dict[str, Any]:
    """TaskResult -> what JSON can say, with every field of the wire form."""
    fields: dict[str, Any] = unpack(encode_result(result), opaque=True)
    plain: dict[str, Any] = to_plain(fields)
    return plain


def iso_time(unix_seconds: float | None) -> str | None:
    """Unix seconds -> ISO 8601 in UTC with milliseconds; None stays None."""
    if unix_seconds is None:
        return None
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clean_text(text: object) -> str:
    """Text that UTF-8 can say: an exception's message may hold anything, and a user may give
    the exception itself as a message.
    """
    return str(text).encode("utf-8", "backslashreplace").decode()
