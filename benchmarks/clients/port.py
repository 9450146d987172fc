"""What the driver asks of the client of any system."""

from __future__ import annotations

import os
from typing import Any, Protocol

from benchmarks.shapes import Shape

#: Where workers and clients that are configured at import find the Redis of this measurement.
URL_VARIABLE = "DISTFLOW_BENCH_URL"

#: Seconds after which a graph that does not end is an error.
PATIENCE_SECONDS = 900

#: Of a fan, how many tasks are asked when they started: the first is among them.
FIRST_TASKS = 20


class Unfinished(Exception):
    """A graph did not end as it should: there is nothing to measure."""


class BenchClient(Protocol):
    """Speaks to one system."""

    def wait_ready(self) -> None:
        """Return when all workers listen."""

    def describe(self, shape: Shape) -> Any:
        """The graph in the system's own words, with nothing sent yet."""

    def execute(self, described: Any) -> int:
        """Send it, and wait until this client sees the end; returns how many tasks ran.

        Raises:
            Unfinished: it did not succeed.
        """

    def round_trip(self) -> None:
        """Send one task and wait for its result."""

    def first_start(self, width: int) -> float:
        """Seconds from the submit call of ``width`` independent tasks until the first of them ran;
        returns when all have.
        """

    def close(self) -> None:
        """Leave nothing behind in this process."""


def bench_url() -> str:
    """The Redis of this measurement.

    Raises:
        KeyError: this was not started by the harness.
    """
    return os.environ[URL_VARIABLE]


def patient_url() -> str:
    """The same, for who blocks on it for longer than redis-py's usual limit."""
    return f"{bench_url()}?socket_timeout={2 * PATIENCE_SECONDS}"


def check_join(answer: object, expected: int) -> None:
    """Raise Unfinished where a join has not seen every result."""
    if answer != expected:
        raise Unfinished(f"the join saw {answer!r}, not {expected} results")
