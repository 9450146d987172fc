"""The dispatcher on the queues of RQ, by what Redis holds afterwards and before."""

from __future__ import annotations

import pytest
from redis import Redis

from distflow.core.model import Task
from distflow.dispatch.rq import RqDispatcher
from distflow.ports import Batch

TASKS = (Task("a", "pkg.tasks:work"),)


@pytest.fixture
def dispatcher(redis_client: Redis) -> RqDispatcher:
    """On an empty server."""
    return RqDispatcher(redis_client, "distflow", patience_seconds=5)


def test_a_batch_that_is_sent_twice(dispatcher: RqDispatcher, redis_client: Redis) -> None:
    """In one call it is one job: RQ 3 refuses two of the same id."""
    one, other = (Batch(name, "default", TASKS, "run-1", 1) for name in ("run-1-1-1", "run-1-1-2"))
    dispatcher.dispatch([one, other, one])
    assert redis_client.lrange("rq:queue:default", 0, -1) == [b"run-1-1-1", b"run-1-1-2"]


@pytest.mark.parametrize("version", ["2.12", "3.0"])
def test_what_a_worker_works_on(
    dispatcher: RqDispatcher, redis_client: Redis, version: str
) -> None:
    """As a worker of either version says it, whichever this process has."""
    redis_client.hset("rq:worker:w1", "last_heartbeat", "2026-01-01T00:00:00.000000Z")
    if version == "2.12":
        redis_client.hset("rq:worker:w1", "current_job", "run-1-1-1")
    else:
        redis_client.sadd("rq:worker:w1:executions", "run-1-1-1:8f14", "other:45c4")
    probe = dispatcher.probe_workers(["w1", "w2"])
    assert "run-1-1-1" in probe["w1"].jobs
    assert list(probe["w2"].jobs) == []
