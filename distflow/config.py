"""What distflow reads of its environment: every variable for users, in one place."""

from __future__ import annotations

import os

from distflow.errors import InvalidInput

#: The server where none is named.
DEFAULT_REDIS_URL = "redis://localhost:6379/0"

#: Where it is named, the first of these that is set.
URL_VARIABLES = ("DISTFLOW_REDIS_URL", "RQ_REDIS_URL", "REDIS_URL")

#: Holds the patterns of the functions that tasks may name.
ALLOW_VARIABLE = "DISTFLOW_ALLOW"

_SHORTEST_LEASE_SECONDS = 0.5

#: How long a worker tells an outcome that Redis does not take.
_OUTCOME_SECONDS = 3600.0

#: Characters of DISTFLOW_CODE that are told.
_MOST_CODE = 200

#: After so many batches, or with so much memory more, a FastWorker replaces its child.
_FAST_JOBS = 1000
_FAST_RSS_MB = 512


def environment_url() -> str:
    """The first that is set of :data:`URL_VARIABLES`, else the usual one."""
    named = (os.environ.get(variable, "").strip() for variable in URL_VARIABLES)
    return next(filter(None, named), DEFAULT_REDIS_URL)


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


def fast_jobs() -> int:
    """``DISTFLOW_FAST_JOBS``: after how many batches a FastWorker replaces its child; 1,000.

    Raises:
        InvalidInput: it is not a number of at least 1.
    """
    return _count("DISTFLOW_FAST_JOBS", _FAST_JOBS)


def fast_rss_mb() -> int:
    """``DISTFLOW_FAST_RSS_MB``: the MiB of memory beyond those of its start with which a
    FastWorker's child is replaced; 512.

    Raises:
        InvalidInput: it is not a number of at least 1.
    """
    return _count("DISTFLOW_FAST_RSS_MB", _FAST_RSS_MB)


def outcome_seconds() -> float:
    """``DISTFLOW_OUTCOME_SECONDS``: how long a worker tells an outcome that Redis does not take;
    3,600.

    Raises:
        InvalidInput: it is not a number of at least 0.
    """
    return _seconds("DISTFLOW_OUTCOME_SECONDS", _OUTCOME_SECONDS)


def spool_folder() -> str | None:
    """``DISTFLOW_SPOOL``: where outcomes are kept that Redis does not take; by default
    ``/var/tmp/distflow-<user id>``. None where it is set and empty: nothing is kept on disk.
    """
    folder = os.environ.get("DISTFLOW_SPOOL")
    if folder is None:
        # Not by the home or the environment: all workers of a user on a host must find the same.
        return f"/var/tmp/distflow-{os.geteuid()}"  # noqa: S108 - its owner is checked
    return folder or None


def code() -> str:
    """``DISTFLOW_CODE``: any text that says which version of the user's code a process has; empty
    where it is not set.
    """
    return os.environ.get("DISTFLOW_CODE", "")[:_MOST_CODE]


def misfit_seconds(default: float) -> float:
    """``DISTFLOW_MISFIT_SECONDS`` where it is set: how long a task waits for a worker that can run
    it, where none of those that are there can.

    Raises:
        InvalidInput: it is not a number of at least 0.
    """
    return _seconds("DISTFLOW_MISFIT_SECONDS", default)


def allowed_functions() -> str | None:
    """``DISTFLOW_ALLOW``: patterns with commas between them; None where every function may be
    imported.
    """
    return os.environ.get(ALLOW_VARIABLE)


def allow_functions(patterns: str) -> None:
    """Set ``DISTFLOW_ALLOW`` for this process and those that it starts."""
    os.environ[ALLOW_VARIABLE] = patterns


def _seconds(variable: str, default: float) -> float:
    text = os.environ.get(variable)
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InvalidInput(f"{variable}={text!r}: it is a number of seconds, 0 or more")
    return seconds


def _count(variable: str, default: int) -> int:
    text = os.environ.get(variable)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise InvalidInput(f"{variable}={text!r}: it is a whole number, 1 or more")
    return int(text)
