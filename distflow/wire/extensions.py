"""The types that msgpack has no form for, and that travel all the same: ours, and users' own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from importlib import import_module
from typing import Any, NamedTuple

from distflow.core.model import Ref


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
