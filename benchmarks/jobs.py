"""What a driver does: each job takes a client and plain options, and returns plain numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from redis import Redis

from benchmarks.clients.port import BenchClient, bench_url
from benchmarks.distflow_jobs import measure_resume, measure_runs, measure_size
from benchmarks.ideal_jobs import measure_ideal
from benchmarks.mapped_jobs import measure_beside, measure_mapped
from benchmarks.meter import RedisUse, bytes_of_keys
from benchmarks.shapes import Shape, make_shape

_WARM_TASKS = 50
_WARM_TRIPS = 20


def measure_shapes(client: BenchClient, *, shapes: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Run each shape once; by its name what it took.

    ``seconds`` is from the submit call to the client's seeing the end; describing the graph in
    the system's words before that is ``describe_seconds``.
    """
    client.execute(client.describe(Shape.fan(_WARM_TASKS)))
    with Redis.from_url(bench_url()) as redis:
        return {name: _measure(client, redis, make_shape(name, size)) for name, size in shapes}


def _measure(client: BenchClient, redis: Redis, shape: Shape) -> dict[str, Any]:
    kept = bytes_of_keys(redis)
    began = time.perf_counter()
    described = client.describe(shape)
    described_at = time.perf_counter()
    before = RedisUse.read(redis)
    cpu_before = time.process_time()
    submitted_at = time.perf_counter()
    total = client.execute(described)
    ended_at = time.perf_counter()
    return {
        "tasks": total,
        "seconds": ended_at - submitted_at,
        "describe_seconds": described_at - began,
        "client_cpu_seconds": time.process_time() - cpu_before,
        **{f"redis_{name}": value for name, value in _use(redis, before).items()},
        "redis_bytes": bytes_of_keys(redis) - kept,
    }


def _use(redis: Redis, before: RedisUse) -> dict[str, float]:
    return asdict(RedisUse.read(redis).since(before))


def measure_trips(client: BenchClient, *, count: int) -> dict[str, Any]:
    """How long each of ``count`` single tasks took, one after another."""
    for _ in range(_WARM_TRIPS):
        client.round_trip()
    seconds: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        client.round_trip()
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds}


def measure_first_start(client: BenchClient, *, width: int) -> dict[str, Any]:
    """Between the submit call and the start of the first of many tasks."""
    client.first_start(_WARM_TASKS)
    return {"seconds": client.first_start(width)}


#: By the name that the harness uses.
JOBS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "shapes": measure_shapes,
    "trips": measure_trips,
    "first_start": measure_first_start,
    "size": measure_size,
    "resume": measure_resume,
    "runs": measure_runs,
    "ideal": measure_ideal,
    "mapped": measure_mapped,
    "beside": measure_beside,
}
