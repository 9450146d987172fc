"""Dramatiq: group and pipeline over its Redis broker. Its workers import this module too."""

from __future__ import annotations

import time
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as LimitBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend as ResultBackend

from benchmarks import tasks
from benchmarks.clients.port import FIRST_TASKS, PATIENCE_SECONDS, bench_url, patient_url
from benchmarks.shapes import Shape
from benchmarks.systems import System

_PATIENCE_MS = PATIENCE_SECONDS * 1000
_url = bench_url()
_results: Any = ResultBackend(url=patient_url())
broker: Any = RedisBroker(url=_url)
broker.add_middleware(Results(backend=_results, store_results=True))
broker.add_middleware(GroupCallbacks(LimitBackend(url=_url)))
dramatiq.set_broker(broker)


def _joined() -> int:
    """A completion callback: it is given no results."""
    return tasks.count(())


noop: Any = dramatiq.actor(tasks.noop, broker=broker, actor_name="noop")
joined: Any = dramatiq.actor(_joined, broker=broker, actor_name="joined")
stamp: Any = dramatiq.actor(tasks.stamp, broker=broker, actor_name="stamp")


def open_client(_system: System) -> DramatiqClient:
    """The client of Dramatiq."""
    return DramatiqClient()


class DramatiqClient:
    """See :class:`benchmarks.clients.port.BenchClient`."""

    def wait_ready(self) -> None:
        """Return when a message comes back."""
        self.round_trip()

    def describe(self, shape: Shape) -> Any:
        """What is to be run, the message with the last result, and how many there are."""
        if shape.name == "chain":
            line = dramatiq.pipeline([noop.message() for _ in range(shape.total)])
            return line, line.messages[-1], shape.total
        sent = dramatiq.group([noop.message() for _ in range(shape.total - 1)])
        last = joined.message()
        sent.add_completion_callback(last)
        return sent, last, shape.total

    def execute(self, described: Any) -> int:
        """Send it, and block on the last result."""
        sent, last, total = described
        sent.run()
        last.get_result(block=True, timeout=_PATIENCE_MS)
        return int(total)

    def round_trip(self) -> None:
        """Send one message, and block on its result."""
        noop.send().get_result(block=True, timeout=_PATIENCE_MS)

    def first_start(self, width: int) -> float:
        """By what the first messages returned."""
        described = dramatiq.group([stamp.message() for _ in range(width)])
        sent_at = time.time()
        sent = described.run()
        first = min(
            one.get_result(block=True, timeout=_PATIENCE_MS) for one in sent.children[:FIRST_TASKS]
        )
        sent.wait(timeout=_PATIENCE_MS)
        return float(first) - sent_at

    def close(self) -> None:
        """Close its connections."""
        broker.close()
