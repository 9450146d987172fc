"""The registered workers: what RQ knows about them, and their own notes."""

from __future__ import annotations

from typing import Any

from redis import Redis

from distflow.core.readings import WorkerInfo
from distflow.dispatch.rq_reports import to_jobs, to_text, to_time
from distflow.rq_compat.rq_keys import (
    CURRENT_JOB_FIELD,
    SUSPENDED_KEY,
    WORKERS_KEY,
    command_channel,
    executions_key,
    worker_key,
    worker_name,
)
from distflow.store.redis.worker_notes import WorkerNote, read_notes


def read_workers(client: Redis, prefix: str) -> list[WorkerInfo]:
    """Every registered worker, by name.

    Args:
        client: the connection.
        prefix: of distflow's keys.

    Raises:
        RedisError: Redis does not answer.
    """
    anyone: Any = client
    names = sorted(worker_name(to_text(key)) for key in anyone.smembers(WORKERS_KEY))
    if not names:
        return []
    pipeline = anyone.pipeline(transaction=False)
    for name in names:
        pipeline.hgetall(worker_key(name))
        pipeline.smembers(executions_key(name))
    pipeline.pubsub_numsub(*map(command_channel, names))
    *replies, counts = pipeline.execute()
    notes = read_notes(client, prefix)
    found = zip(names, replies[::2], replies[1::2], counts, strict=True)
    return [
        _worker(name, known, executions, notes.get(name), connected=count > 0)
        for name, known, executions, (_channel, count) in found
        # Its registration has lapsed.
        if known
    ]


def has_worker(client: Redis, name: str) -> bool:
    """Whether a worker with this name is registered and has not ended."""
    anyone: Any = client
    key = worker_key(name)
    return bool(anyone.exists(key)) and not anyone.hexists(key, "death")


def are_suspended(client: Redis) -> bool:
    """Whether somebody has told all workers to take no jobs (``rq suspend``)."""
    anyone: Any = client
    return bool(anyone.exists(SUSPENDED_KEY))


def _worker(
    name: str,
    known: dict[bytes, bytes],
    executions: set[bytes],
    note: WorkerNote | None,
    *,
    connected: bool,
) -> WorkerInfo:
    def text(field: str) -> str:
        return to_text(known.get(field.encode()))

    jobs = sorted(to_jobs(known.get(CURRENT_JOB_FIELD.encode()), executions))
    pid = text("pid")
    info = WorkerInfo(
        name=name,
        state=text("state") or "?" if connected else "gone",
        queues=tuple(text("queues").split(",")) if known.get(b"queues") else (),
        job=jobs[0] if jobs else "",
        host=text("hostname"),
        pid=int(pid) if pid.isdecimal() else 0,
        started_at=to_time(known.get(b"birth")),
        heard_at=to_time(known.get(b"last_heartbeat")),
        rq=text("version"),
        python=text("python_version").partition(" ")[0],
    )
    # A note by an earlier worker with this name says nothing about this one.
    if note is None or note.born != text("birth"):
        return info
    return info._replace(
        directory=note.directory, distflow=note.distflow, code=note.code, refusal=note.refusal
    )
