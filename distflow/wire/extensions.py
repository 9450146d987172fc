"""Types that msgpack lacks and that travel as extensions: distflow's own, and users' types."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from importlib import import_module
from typing import Any, NamedTuple

from msgpack import ExtType

from distflow.core.model import Expanded, Ref
from distflow.errors import InvalidInput
from distflow.text import visible


class Extension(NamedTuple):
    """How one Python type travels: an extension code and two functions."""

    code: int
    type: type
    #: value -> plain value that is packed inside the extension
    reduce: Callable[[Any], Any]
    restore: Callable[[Any], Any]


_BUILT_IN = (
    Extension(1, Ref, lambda ref: ref.task, Ref),
    Extension(2, tuple, list, tuple),
    Extension(3, set, list, set),
    Extension(4, frozenset, list, frozenset),
    # Of a time zone only the offset travels: the instant is what must survive. Where ``fold`` is 1
    # a space stands for the T: whoever reads either, as release 0.1 does, reads the same time.
    Extension(
        5,
        datetime,
        lambda moment: moment.isoformat(" " if moment.fold else "T"),
        lambda text: datetime.fromisoformat(text).replace(fold=int(" " in text)),
    ),
    Extension(6, date, date.isoformat, date.fromisoformat),
    Extension(7, timedelta, lambda t: [t.days, t.seconds, t.microseconds], lambda t: timedelta(*t)),
    Extension(9, uuid.UUID, lambda value: value.bytes, lambda raw: uuid.UUID(bytes=raw)),
    Extension(10, complex, lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
    # The data of a node that has expanded.
    Extension(11, Expanded, list, lambda fields: Expanded(*fields)),
)
_DECIMAL = 8
_by_type: dict[type, Extension] = {extension.type: extension for extension in _BUILT_IN}
_by_code: dict[int, Extension] = {extension.code: extension for extension in _BUILT_IN}


def find_extension(kind: type) -> Extension | None:
    """How a type travels; Decimal is registered when it is first met, since work horses would
    pay for its import in every job.
    """
    found = _by_type.get(kind)
    if found is None and (kind.__module__, kind.__name__) == ("decimal", "Decimal"):
        add_extension(Extension(_DECIMAL, kind, str, kind))
    return found or _by_type.get(kind)


def extension_of_code(code: int) -> Extension | None:
    """What travels under a code."""
    if code == _DECIMAL and code not in _by_code:
        find_extension(import_module("decimal").Decimal)
    return _by_code.get(code)


def add_extension(extension: Extension) -> None:
    """Let a type travel from now on."""
    _by_code[extension.code] = extension
    _by_type[extension.type] = extension


#: Extension codes that users may register; the others are for distflow itself.
USER_CODES = range(32, 128)

#: Types that msgpack has itself.
SCALARS = frozenset({str, int, float, bool, bytes, type(None), ExtType})


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
    given: object = kind
    if not isinstance(given, type):
        raise InvalidInput(f"register_type: {given!r:.60} is not a type")
    functions: dict[str, object] = {"reduce": reduce, "restore": restore}
    for what, function in functions.items():
        if not callable(function):
            said = visible(f"register_type: {what} must be a function, not {function!r:.60}")
            raise InvalidInput(said)
    if code not in USER_CODES:
        raise InvalidInput(f"register_type: the code must be 32 to 127, not {code!r}")
    if kind in SCALARS or kind in (list, dict):
        raise InvalidInput(f"register_type: {kind.__name__} needs no registration")
    for known in (extension_of_code(code), find_extension(kind)):
        if known and (known.code != code or known.type is not kind):
            raise InvalidInput(f"register_type: code {known.code} is {known.type.__name__} already")
    add_extension(Extension(code, kind, reduce, restore))
