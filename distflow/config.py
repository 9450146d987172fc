"""The environment variables that users set, all in one place."""

from __future__ import annotations

import os

from distflow.errors import InvalidInput

#: The server if none is given.
DEFAULT_REDIS_URL = "redis://localhost:6379/0"

#: The variables that name the server: the first one that is set counts.
URL_VARIABLES = ("DISTFLOW_REDIS_URL", "RQ_REDIS_URL", "REDIS_URL")

#: Patterns of the functions that tasks may name.
ALLOW_VARIABLE = "DISTFLOW_ALLOW"

_SHORTEST_LEASE_SECONDS = 0.5

#: How long a worker keeps trying to report an outcome that Redis does not accept.
_OUTCOME_SECONDS = 3600.0

#: Characters of DISTFLOW_CODE that are reported.
_MOST_CODE = 200

#: A FastWorker replaces its child after this many batches, or once it has grown by this much.
_FAST_JOBS = 1000
_FAST_RSS_MB = 512


def environment_url() -> str:
    """The first of :data:`URL_VARIABLES` that is set, else the default URL."""
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
            f"DISTFLOW_LEASE_SECONDS={text!r}: must be a number of seconds, 0.5 or more"
        )
    return seconds


def fast_jobs() -> int:
    """``DISTFLOW_FAST_JOBS``: after how many batches a FastWorker replaces its child; 1,000.

    Raises:
        InvalidInput: it is not a number of at least 1.
    """
    return _count("DISTFLOW_FAST_JOBS", _FAST_JOBS)


def fast_rss_mb() -> int:
    """``DISTFLOW_FAST_RSS_MB``: a FastWorker replaces its child once that has grown by this many
    MiB of memory; 512.

    Raises:
        InvalidInput: it is not a number of at least 1.
    """
    return _count("DISTFLOW_FAST_RSS_MB", _FAST_RSS_MB)


def outcome_seconds() -> float:
    """``DISTFLOW_OUTCOME_SECONDS``: how long a worker keeps trying to report an outcome that Redis
    does not accept; 3,600.

    Raises:
        InvalidInput: it is not a number of at least 0.
    """
    return _seconds("DISTFLOW_OUTCOME_SECONDS", _OUTCOME_SECONDS)


def spool_folder() -> str | None:
    """``DISTFLOW_SPOOL``: the folder for outcomes that Redis does not accept; by default
    ``/var/tmp/distflow-<user id>``. None if it is set and empty: nothing is kept on disk.
    """
    folder = os.environ.get("DISTFLOW_SPOOL")
    if folder is None:
        # Independent of HOME and TMPDIR: all workers of a user on a host must find the same folder.
        return f"/var/tmp/distflow-{os.geteuid()}"  # noqa: S108 - its owner is checked
    return folder or None


def code() -> str:
    """``DISTFLOW_CODE``: any text that names the version of the user's code in this process; empty
    if it is not set.
    """
    return os.environ.get("DISTFLOW_CODE", "")[:_MOST_CODE]


def misfit_seconds(default: float) -> float:
    """``DISTFLOW_MISFIT_SECONDS`` if it is set: how long a task waits for a worker that can run
    it while no present worker can.

    Raises:
        InvalidInput: it is not a number of at least 0.
    """
    return _seconds("DISTFLOW_MISFIT_SECONDS", default)


def allowed_functions() -> str | None:
    """``DISTFLOW_ALLOW``: patterns, separated by commas; None if every function may be imported."""
    return os.environ.get(ALLOW_VARIABLE)


def allow_functions(patterns: str) -> None:
    """Set ``DISTFLOW_ALLOW`` for this process and its children."""
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
        raise InvalidInput(f"{variable}={text!r}: must be a number of seconds, 0 or more")
    return seconds


def _count(variable: str, default: int) -> int:
    text = os.environ.get(variable)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise InvalidInput(f"{variable}={text!r}: must be a whole number, 1 or more")
    return int(text)
