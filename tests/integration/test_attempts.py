"""Attempts count from 1 and on through resumes, whatever set an outcome aside."""

from __future__ import annotations

from pathlib import Path

from distflow import TaskRunnerBuilder
from distflow.runs.client import Client
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording
from tests.support.wait import wait_for


def test_a_cancelled_backoff_keeps_its_attempts(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A task that was cancelled while it waited for its retry goes on with attempt 2."""
    log = tmp_path / "log"
    start_worker(redis_server.url)
    client = Client(redis_server.client())
    run = client.submit(recording.waiting, {"log": str(log)})
    wait_for(lambda: run.info().counts["waiting"] or recording.lines(log), 20, "the first try")
    wait_for(run.store.read_progress, 20, "the backoff")
    run.cancel()
    assert run.wait(20) == "cancelled"
    assert run.results()["stubborn"].attempt == 1
    run.resume()
    wait_for(lambda: len(recording.lines(log)) == 2, 20, "the second try")
    run.cancel()
    run.wait(20)
    assert recording.lines(log) == [["stubborn", "1"], ["stubborn", "2"]]


def test_a_tolerated_failure_gives_none() -> None:
    """Whatever data a tolerated failure brings, its dependents get None in its place."""
    results = TaskRunnerBuilder().build().execute(recording.tolerated)
    assert results["spoil"].data == 5
    assert results["echo"].data == [None]
