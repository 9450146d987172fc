"""A Run in Python: it resumes, follows and takes over as the command line does."""

from __future__ import annotations

from pathlib import Path

from distflow.client import Client
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.status import RunStatus
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording


def test_resume_takes_over_from_a_dead_coordinator(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A resume that comes before the lease of a dead coordinator has lapsed waits for that, and
    then leads the run to its end.
    """
    start_worker(redis_server.url)
    settings = CoordinatorSettings(lease_seconds=1.0)
    client = Client(redis_server.client(), settings=settings)
    params = {"log": str(tmp_path / "log"), "size": 5}
    run = client.create(recording.small_dag, params)
    run.store.acquire_lease("a coordinator that dies", 1.0)
    run.resume()
    assert run.wait(30) == RunStatus.SUCCESS
    assert len(recording.lines(tmp_path / "log")) == 5


def test_two_resumes_at_once_lead_once(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The one that comes second follows the first: every task runs once."""
    start_worker(redis_server.url)
    client = Client(redis_server.client())
    params = {"log": str(tmp_path / "log"), "size": 10}
    first = client.create(recording.small_dag, params)
    second = client.run(first.run_id)
    first.resume()
    second.resume()
    assert first.wait(30) == second.wait(30) == RunStatus.SUCCESS
    assert len(recording.lines(tmp_path / "log")) == 10


def test_a_failure_is_told_with_its_reason(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The event of a failed task says why, so that a log is enough to know."""
    start_worker(redis_server.url)
    told: list[str] = []
    client = Client(redis_server.client())
    run = client.submit(
        recording.effects,
        {"log": str(tmp_path / "log")},
        listener=lambda notice: told.append(f"{notice.kind} {notice.task} {notice.message}"),
    )
    assert run.wait(30) == RunStatus.FAILURE
    assert "task_end reckless ValueError: after the money had moved" in told
