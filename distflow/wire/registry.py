"""Types of users' own that travel in arguments and results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distflow.errors import InvalidInput
from distflow.given import check_call
from distflow.wire.codec import SCALARS
from distflow.wire.extensions import (
    USER_CODES,
    Extension,
    add_extension,
    extension_of_code,
    find_extension,
)


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
        raise InvalidInput(f"register_type: {given!r:.60} is no type")
    check_call("register_type: reduce", reduce)
    check_call("register_type: restore", restore)
    if code not in USER_CODES:
        raise InvalidInput(f"register_type: the code is 32 to 127, not {code!r}")
    if kind in SCALARS or kind in (list, dict):
        raise InvalidInput(f"register_type: {kind.__name__} travels as it is")
    for known in (extension_of_code(code), find_extension(kind)):
        if known and (known.code != code or known.type is not kind):
            raise InvalidInput(f"register_type: code {known.code} is {known.type.__name__} already")
    add_extension(Extension(code, kind, reduce, restore))
