"""What can be seen of an RQ worker from outside: in Redis, and in the list of processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis

from distflow import Workflow
from distflow.runs.client import Client
from tests.support.tasks import fastened, recording
from tests.support.worker_process import WorkerProcess

#: Where RQ keeps what it knows of jobs.
_TRACES = ("rq:job:*", "rq:execution*", "rq:results:*", "rq:*:intermediate", "rq:wip:*")


def single(function: Callable[..., Any], *words: object, queue: str, **options: Any) -> Workflow:
    """A workflow of one task, named like its function."""
    flow = Workflow("single")
    flow.add(function.__name__, function, tuple(words), queue=queue, **options)
    return flow


def look(client: Client, queue: str) -> dict[str, Any]:
    """What a task sees of its process now."""
    run = client.submit(single(fastened.look, queue=queue))
    assert run.wait(60) == "success"
    seen: dict[str, Any] = run.results()["look"].data
    return seen


def traces(redis: Redis) -> set[bytes]:
    """What RQ still has of jobs."""
    return {key for pattern in _TRACES for key in redis.scan_iter(pattern)}


def children(pid: int) -> set[int]:
    """The ids of a process's children, zombies as well."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for each in tasks for child in each.read_text().split()}


def said(log: Path, *words: str) -> list[list[str]]:
    """The lines that begin so."""
    return [line for line in recording.lines(log) if line[: len(words)] == list(words)]


def told(worker: WorkerProcess, redis: Redis, field: str) -> str:
    """What RQ says of a worker."""
    value: Any = redis.hget(f"rq:worker:{worker.name}", field)
    return (value or b"").decode()


def jobs_at(worker: WorkerProcess, redis: Redis) -> set[str]:
    """The ids of the jobs that RQ says a worker works on: RQ 2.12 has one, RQ 3 executions."""
    executions: Any = redis.smembers(f"rq:worker:{worker.name}:executions")
    current = told(worker, redis, "current_job")
    return {each.decode().split(":")[0] for each in executions} | {*filter(None, [current])}
