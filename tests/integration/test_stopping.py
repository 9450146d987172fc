"""A long task sees that it does well to end: its worker was told to stop, or its run is paused."""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from distflow import TaskRunnerBuilder, Workflow
from distflow.core.status import RunStatus
from distflow.runs.client import Client
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.tasks import behaving, recording
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING, SIMPLE


def test_a_worker_that_is_told_to_stop(
    redis_server: RedisServer, redis_client: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Under each kind of worker: SIGTERM, and the task at work sees it, ends where it can, and
    counts; the worker exits with 0.
    """
    log = tmp_path / "log"
    dag = Workflow("lingering")
    for name in ("simple", "forking", "fast"):
        dag.add(name, behaving.linger, queue=name)
    run = Client(redis_client).submit(dag.build({"log": str(log)}))
    workers = [
        start_worker(redis_server.url, [queue], worker_class=kind)
        for queue, kind in (("simple", SIMPLE), ("forking", FORKING), ("fast", FAST))
    ]
    wait_for(lambda: len(recording.lines(log)) == 3, 30, "all to linger")
    for worker in workers:
        worker.process.terminate()
    assert [worker.process.wait(20) for worker in workers] == [0, 0, 0]
    assert run.wait(20) == "success"
    assert {result.data for result in run.results().values()} == {"stopped where it could"}
    assert {result.attempt for result in run.results().values()} == {1}


def test_a_run_that_is_paused_in_this_process(tmp_path: Path) -> None:
    """Likewise; the run stays paused."""
    dag = Workflow("lingering")
    dag.add("a", behaving.linger)
    runner = TaskRunnerBuilder().build()

    def pause(_notice: object) -> None:
        assert runner._store is not None
        runner._store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})

    runner.on("task_start", pause)
    results = runner.execute(dag.build({"log": str(tmp_path / "log")}))
    assert results["a"].data == "stopped where it could"
