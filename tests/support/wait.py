"""Waiting for a state; the only place in the tests that sleeps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.01
#: By how much a deadline is stretched at most.
_MOST = 10.0


def stretched(seconds: float) -> float:
    """A deadline for this machine as it is now: where more processes want to run than there are
    cores, each takes so much longer; elsewhere it is ``seconds``.
    """
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * min(max(1.0, crowd), _MOST)


def wait_for(predicate: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """Return the first true value of ``predicate()``; fail after ``timeout`` seconds, stretched."""
    began = time.monotonic()
    while not (value := predicate()):
        if (waited := time.monotonic() - began) > stretched(timeout):
            raise AssertionError(f"waited {waited:.1f} s for {what or predicate}, last: {value}")
        time.sleep(_POLL_SECONDS)
    return value
