"""Jobs of the driver about a run that grows: alone, beside the same graph built beforehand, and
beside other runs of one service.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from benchmarks import tasks
from benchmarks.clients.distflow import DistflowClient
from benchmarks.clients.port import PATIENCE_SECONDS, Unfinished
from benchmarks.meter import bytes_of_keys, peak_bytes
from benchmarks.shapes import Shape
from distflow import task, workflow
from distflow.authoring import Workflow
from distflow.coordinator.service import CoordinatorService
from distflow.core.run import Event
from distflow.store.redis.service import RedisServiceStore

_WARM_TASKS = 200
_POLL_SECONDS = 0.02

_listing = task(tasks.listing)
_double = task(tasks.double)
_count = task(tasks.count)


@workflow(name="found")
def _found(size: int) -> None:
    """A list that is found at run time, mapped through two stages and joined."""
    _count(_double.map(_double.map(_listing(size))))


def _built(size: int) -> Workflow:
    """The same graph, built beforehand."""
    made = Workflow("built")
    made.add("listing", tasks.listing, (size,))
    first = [made.add(f"first[{place}]", tasks.double, (place,)) for place in range(size)]
    second = [made.add(f"second[{place}]", tasks.double, (ref,)) for place, ref in enumerate(first)]
    made.add("count", tasks.count, (second,))
    return made


def measure_mapped(client: DistflowClient, *, size: int, found: bool) -> dict[str, Any]:
    """A run over a list of ``size``: what it took from the submit call to the end, and what it cost
    the process that coordinates it.
    """
    redis = client.client.redis
    client.execute(client.describe(Shape.fan(_WARM_TASKS)))
    client.execute(_found(_WARM_TASKS) if found else _built(_WARM_TASKS))
    kept = bytes_of_keys(redis)
    began = time.perf_counter()
    described = _found(size) if found else _built(size)
    described_at, base_bytes = time.perf_counter(), peak_bytes("self")
    cpu_before = time.process_time()
    total = client.execute(described)
    return {
        "tasks": total,
        "describe_seconds": described_at - began,
        "seconds": time.perf_counter() - described_at,
        "client_cpu_seconds": time.process_time() - cpu_before,
        "coordinate_bytes": peak_bytes("self") - base_bytes,
        "redis_bytes": bytes_of_keys(redis) - kept,
    }


class _TimedService(CoordinatorService):
    """Measures for how long it does not look at the events of its runs."""

    def __init__(self, client: DistflowClient, stop: threading.Event) -> None:
        super().__init__(client.client.backend, stop, settings=client.client.settings)
        self._read_at = 0.0
        self.longest_seconds = 0.0

    def _read(self) -> dict[str, list[Event]]:
        if self._read_at:
            away = time.perf_counter() - self._read_at
            self.longest_seconds = max(self.longest_seconds, away)
        found = super()._read()
        self._read_at = time.perf_counter()
        return found


def measure_beside(client: DistflowClient, *, size: int, runs: int, each: int) -> dict[str, Any]:
    """One service leads a run over a list of ``size``, and ``runs`` of ``each`` tasks beside it:
    the longest time for which it looked at none of their events.
    """
    stop = threading.Event()
    service = _TimedService(client, stop)
    store = RedisServiceStore(client.client.redis, client.client.prefix)
    shapes = [client.describe(Shape.chain(each)) for _ in range(runs)]
    made = [
        client.client.create(described, run_id=client.new_id(), detach=True)
        for described in (_found(size), *shapes)
    ]
    leader = threading.Thread(target=service.run)
    started_at = time.perf_counter()
    leader.start()
    try:
        while store.list_active():
            if time.perf_counter() - started_at > PATIENCE_SECONDS:
                raise Unfinished(f"{len(store.list_active())} of {len(made)} runs have not ended")
            time.sleep(_POLL_SECONDS)
        seconds = time.perf_counter() - started_at
    finally:
        stop.set()
        leader.join()
    total = sum(client.finish(run) for run in made)
    return {"tasks": total, "seconds": seconds, "longest_seconds": service.longest_seconds}
