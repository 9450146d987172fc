"""Workers of every kind run maps and plans: the same run, and the same results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from distflow import TaskRunnerBuilder
from distflow.core.status import RunStatus
from distflow.runs.client import Client
from tests.support.redis_server import RedisServer
from tests.support.tasks import sprouting
from tests.support.worker_process import FAST, FORKING, SIMPLE, WorkerProcess

SAFE = ("-S", "distflow_worker.SafeSerializer", "-j", "distflow_worker.SafeJob")

#: What the last task of the workflow returns.
GATHERED = {
    "cleaned": [{"name": "f0", "size": 10}, None],
    "sizes": [10, 0],
    "trained": [
        {"file": f"f{size}", "best": 2 * size + 3, "rest": [size + 1, size + 2, size + 3]}
        for size in range(2)
    ],
    "keyed": [0, 1],
    "errors": ["ValueError: a bad file"],
}


@pytest.fixture
def worker(redis_server: RedisServer, request: pytest.FixtureRequest) -> Iterator[WorkerProcess]:
    """One of a class, which may run the functions of the workflow and no others."""
    worker_class, *extra = request.param
    allow = {"DISTFLOW_ALLOW": "tests.support.tasks.sprouting:*"}
    with ExitStack() as started:
        process = WorkerProcess(
            redis_server.url, worker_class=worker_class, extra_args=extra, env=allow
        )
        started.callback(process.close)
        yield process.wait_ready()


@pytest.mark.parametrize(
    "worker",
    [(FORKING, *SAFE), (SIMPLE,), (FAST,)],
    indirect=True,
    ids=["forking", "simple", "fast"],
)
def test_every_worker_grows_a_run(redis_server: RedisServer, worker: WorkerProcess) -> None:
    """Maps, one of them over a mapped task with a tolerated failure, and a plan per element, which
    maps in its turn.
    """
    with redis_server.client() as redis:
        run = Client(redis).submit(sprouting.sprout)
        assert run.wait(timeout=60) == RunStatus.SUCCESS, worker.log()
        results = run.results()
    assert results["gather"].data == GATHERED


def test_a_run_grows_in_this_process() -> None:
    """By the same code."""
    results = TaskRunnerBuilder().build().execute(sprouting.sprout)
    assert results["gather"].data == GATHERED
