"""Jobs of the driver that distflow alone can do: resuming, growing, many runs at once."""

from __future__ import annotations

import threading
import time
from typing import Any

from benchmarks.clients.distflow import DistflowClient
from benchmarks.clients.port import PATIENCE_SECONDS, Unfinished
from benchmarks.meter import RedisUse, bytes_of_keys, peak_bytes
from benchmarks.shapes import Shape
from distflow.coordinator.service import CoordinatorService
from distflow.events.notice import Interrupt, Notice
from distflow.store.redis.service import RedisServiceStore
from tests.support.wait import wait_for

_WARM_TASKS = 200
_POLL_SECONDS = 0.02
_LOOKS_AT_STATUS = 5


def measure_size(client: DistflowClient, *, total: int) -> dict[str, Any]:
    """One run of ``total`` tasks in blocks: what each costs, and how long ``status`` takes."""
    redis = client.client.redis
    client.execute(client.describe(Shape.fan(_WARM_TASKS)))
    kept = bytes_of_keys(redis)
    base_bytes = peak_bytes("self")
    began = time.perf_counter()
    described = client.describe(Shape.blocks(total))
    described_at = time.perf_counter()
    described_bytes = peak_bytes("self")
    before = RedisUse.read(redis)
    cpu_before = time.process_time()
    submitted_at = time.perf_counter()
    run = client.client.submit(described, run_id=client.new_id())
    created_at, cpu_created = time.perf_counter(), time.process_time()
    client.finish(run)
    ended_at = time.perf_counter()
    use = RedisUse.read(redis).since(before)
    cpu_ended = time.process_time()
    looks = []
    for _ in range(_LOOKS_AT_STATUS):
        looked_at = time.perf_counter()
        run.info()
        looks.append(time.perf_counter() - looked_at)
    return {
        "tasks": total,
        "describe_seconds": described_at - began,
        "create_seconds": created_at - submitted_at,
        "seconds": ended_at - submitted_at,
        "create_cpu_seconds": cpu_created - cpu_before,
        "coordinate_cpu_seconds": cpu_ended - cpu_created,
        "describe_bytes": described_bytes - base_bytes,
        "coordinate_bytes": peak_bytes("self") - described_bytes,
        "redis_commands": use.commands,
        "redis_requests": use.requests,
        "redis_cpu_seconds": use.cpu_seconds,
        "redis_script_seconds": use.script_seconds,
        "redis_bytes": bytes_of_keys(redis) - kept,
        "status_seconds": max(looks),
    }


def measure_resume(
    client: DistflowClient, *, total: int, phase: str, run_id: str
) -> dict[str, Any]:
    """In phase ``half`` lead a new run until half of it is done, and leave it; in phase ``rest``,
    by another process, resume it: from the call until its first task starts, and until its end.
    """
    if phase == "half":
        workflow = client.describe(Shape.blocks(total))
        run = client.client.create(workflow, run_id=run_id)
        leave = Interrupt()
        executor = run.executor(interrupt=leave)
        leader = threading.Thread(target=executor.lead, kwargs={"reopen": False})
        leader.start()
        wait_for(
            lambda: run.info().counts["success"] >= total // 2, PATIENCE_SECONDS, "half of the run"
        )
        leave.set()
        leader.join()
        return {"done": run.info().counts["success"]}
    run = client.client.run(run_id)
    done = run.info().counts["success"]
    first: list[float] = []

    def listen(notice: Notice) -> None:
        if notice.kind == "task_start" and not first:
            # The time that the worker's claim has in Redis, not when this process hears of it.
            first.append(notice.at)

    began = time.time()
    run.executor(listener=listen).lead(reopen=True)
    ended = time.time()
    client.finish(run)
    if not first:
        raise Unfinished("nothing was left to start: take a larger run")
    return {"tasks": total, "done": done, "first_start": first[0] - began, "seconds": ended - began}


def measure_runs(client: DistflowClient, *, runs: int, each: int, block: int) -> dict[str, Any]:
    """``runs`` detached runs of ``each`` tasks, all there before the coordinator service starts:
    from its start until the last has ended.
    """
    client.execute(client.describe(Shape.fan(_WARM_TASKS)))
    store = RedisServiceStore(client.client.redis, client.client.prefix)
    shape = Shape.blocks(each, block)
    began = time.perf_counter()
    made = [
        client.client.create(client.describe(shape), run_id=client.new_id(), detach=True)
        for _ in range(runs)
    ]
    created_at = time.perf_counter()
    stop = threading.Event()
    service = CoordinatorService(client.client.backend, stop, settings=client.client.settings)
    leader = threading.Thread(target=service.run)
    cpu_before = time.process_time()
    started_at = time.perf_counter()
    leader.start()
    try:
        while store.list_active():
            if time.perf_counter() - started_at > PATIENCE_SECONDS:
                raise Unfinished(f"{len(store.list_active())} of {runs} runs have not ended")
            time.sleep(_POLL_SECONDS)
        ended_at = time.perf_counter()
        cpu_ended = time.process_time()
    finally:
        stop.set()
        leader.join()
    for run in made:
        client.finish(run)
    return {
        "tasks": runs * each,
        "create_seconds": created_at - began,
        "seconds": ended_at - started_at,
        "client_cpu_seconds": cpu_ended - cpu_before,
    }
