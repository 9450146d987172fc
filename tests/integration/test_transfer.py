"""A run goes on from one real Redis to another, with real workers on both."""

from __future__ import annotations

from pathlib import Path

from distflow.core.status import RunStatus
from distflow.runs.client import connect
from distflow.runs.transfer import export_run, import_run
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.tasks.recording import lines, random_dag
from tests.support.wait import wait_for


def test_a_run_goes_on_elsewhere(
    redis_server: RedisServer,
    fresh_redis: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    """Promise 1 over two Redis servers, with real workers: what was done on one does not run on
    the other, and what was not does; the tasks' own log is the witness.
    """
    log, path = tmp_path / "log", tmp_path / "s"
    original = connect(redis_server.url)
    start_worker(redis_server.url)
    run = original.submit(random_dag(seed=1, size=40, log=str(log), seconds=0.02), run_id="r")
    wait_for(lambda: run.info().counts["success"] >= 10, 30, "10 tasks to be done")
    run.pause()
    assert run.wait(30) == RunStatus.PAUSED
    assert run.info().counts["running"] == 0
    summary = export_run(run.store, path)
    assert len(lines(log)) == summary.outcomes["success"] < 40
    other = connect(fresh_redis.url)
    import_run(path, other.store)
    start_worker(fresh_redis.url)
    copy = other.run("r")
    copy.resume()
    assert copy.wait(60) == RunStatus.SUCCESS
    assert sorted(words[0] for words in lines(log)) == sorted(f"t{n}" for n in range(40))
