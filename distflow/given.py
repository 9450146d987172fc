"""Checks of arguments that callers of the API pass: each refusal is one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from distflow.errors import InvalidInput
from distflow.text import visible


def refuse(what: str, wanted: str, value: object) -> InvalidInput:
    """The error for a bad argument: ``"timeout must be seconds, more than 0, not '2'"``."""
    return InvalidInput(visible(f"{what} must be {wanted}, not {value!r:.60}"))


def check_count(what: str, value: object, *, least: int = 1) -> None:
    """Check for a whole number of at least ``least``.

    Raises:
        InvalidInput: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise refuse(what, f"a count of {least} or more", value)


def check_seconds(what: str, value: object, *, more_than_0: bool = True) -> None:
    """Check for a finite number of seconds.

    Raises:
        InvalidInput: it is not a number, or out of range.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN compares false to everything.
    in_range = number and (value > 0 if more_than_0 else value >= 0) and value < math.inf  # type: ignore[operator]
    if not in_range:
        raise refuse(what, "seconds, more than 0" if more_than_0 else "seconds, 0 or more", value)


def check_flag(what: str, value: object) -> None:
    """Check for True or False.

    Raises:
        InvalidInput: it is neither.
    """
    if not isinstance(value, bool):
        raise refuse(what, "True or False", value)


def check_text(what: str, value: object) -> None:
    """Check for a text of at least one character.

    Raises:
        InvalidInput: it is none.
    """
    if not isinstance(value, str) or not value:
        raise refuse(what, "a text of at least one character", value)


def check_mapping(what: str, value: object, of: str) -> Mapping[str, Any]:
    """Check for a mapping whose keys are text, and return it.

    Args:
        what: name of the argument.
        value: its value.
        of: what the mapping holds, such as ``"values by name"``.

    Raises:
        InvalidInput: it is none.
    """
    if not isinstance(value, Mapping):
        raise refuse(what, f"a mapping of {of}", value)
    for key in value:
        if not isinstance(key, str):
            raise refuse(f"a name in {what}", "text", key)
    return value


def check_call(what: str, value: object) -> None:
    """Check for a function or another callable.

    Raises:
        InvalidInput: it is none.
    """
    if not callable(value):
        raise refuse(what, "a function", value)
