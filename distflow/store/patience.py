"""Patience with Redis: what a restart, a failover or a cut breaks is worth another try."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from redis import exceptions as redis_errors

from distflow.errors import RedisUnavailable

_T = TypeVar("_T")

#: What a restart, a failover or a cut looks like from here.
PASSING = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.BusyLoadingError,
    redis_errors.ReadOnlyError,
    redis_errors.OutOfMemoryError,
)

#: How Redis begins to say that it cannot take a write just now.
_PASSING_WORDS = ("NOREPLICAS", "MISCONF", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN")

#: Seconds between two tries: long enough to leave a restarting server alone.
_PAUSE_SECONDS = 0.2


def call_patiently(call: Callable[[], _T], patience_seconds: float) -> _T:
    """Call until Redis answers. The call must be idempotent: a reply may have been lost.

    Args:
        call: what is tried.
        patience_seconds: how long; 0 tries once.

    Raises:
        RedisUnavailable: Redis was away for all that time.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return call()
        except redis_errors.RedisError as error:
            if not _is_passing(error):
                raise
            if time.monotonic() >= deadline:
                raise RedisUnavailable(f"Redis cannot be reached: {error}") from error
            time.sleep(_PAUSE_SECONDS)


def _is_passing(error: redis_errors.RedisError) -> bool:
    return isinstance(error, PASSING) or str(error).startswith(_PASSING_WORDS)
