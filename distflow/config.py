"""What distflow reads of its environment: every variable for users, in one place."""

from __future__ import annotations

import os

from distflow.errors import InvalidInput

#: The server where none is named.
DEFAULT_REDIS_URL = "redis://localhost:6379/0"

#: Holds the patterns of the functions that tasks may name.
ALLOW_VARIABLE = "DISTFLOW_ALLOW"

_SHORTEST_LEASE_SECONDS = 0.5


def environment_url() -> str:
    """``DISTFLOW_REDIS_URL``, else ``REDIS_URL``, else the usual one."""
    named = os.environ.get("DISTFLOW_REDIS_URL") or os.environ.get("REDIS_URL")
    return named or DEFAULT_REDIS_URL


def lease_seconds(default: float) -> float:
    """``DISTFLOW_LEASE_SECONDS`` where it is set.

    Raises:
        InvalidInput: it is not a number of at least 0.5.
    """
    text = os.environ.get("DISTFLOW_LEASE_SECONDS")
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds >= _SHORTEST_LEASE_SECONDS:
        raise InvalidInput(
            f"DISTFLOW_LEASE_SECONDS={text!r}: it is a number of seconds, 0.5 or more"
        )
    return seconds


def allowed_functions() -> str | None:
    """``DISTFLOW_ALLOW``: patterns with commas between them; None where every function may be
    imported.
    """
    return os.environ.get(ALLOW_VARIABLE)


def allow_functions(patterns: str) -> None:
    """Set ``DISTFLOW_ALLOW`` for this process and those that it starts."""
    os.environ[ALLOW_VARIABLE] = patterns
