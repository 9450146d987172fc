"""Waiting for a state; the only place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.01


def wait_for(predicate: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """Return the first true value of ``predicate()``; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what or predicate}, last seen: {value}")
        time.sleep(_POLL_SECONDS)
    return value
