"""Where scenarios play."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from distflow.coordinator.settings import CoordinatorSettings
from tests.support.redis_server import RedisServer
from tests.support.stages import Stage
from tests.support.worker_process import WorkerProcess

#: Short, and longer than the second after which a task on Redis is told of a cancellation.
_GRACE_SECONDS = 2.0


@pytest.fixture(scope="session")
def stock_workers() -> Iterator[str]:
    """The URL of a server with two stock forking workers, for tests that leave both alive."""
    with ExitStack() as started:
        server = RedisServer()
        started.callback(server.close)
        workers = [WorkerProcess(server.url) for _ in range(2)]
        for worker in workers:
            started.callback(worker.close)
        for worker in workers:
            worker.wait_ready()
        yield server.url


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Plays in this process."""
    shorten_grace(monkeypatch)
    return Stage(tmp_path, None)


@pytest.fixture
def on_redis(
    stock_workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Plays on stock workers."""
    shorten_grace(monkeypatch)
    with Redis.from_url(stock_workers) as client:
        yield Stage(tmp_path, client)


@pytest.fixture(params=["here", "on_redis"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """Plays the same scenario in this process, and on stock workers."""
    found: Stage = request.getfixturevalue(request.param)
    return found


def shorten_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let coordinators wait less long for tasks that shall stop."""
    brief = CoordinatorSettings(grace_seconds=_GRACE_SECONDS)
    monkeypatch.setattr("distflow.coordinator.executor.CoordinatorSettings", lambda: brief)
    monkeypatch.setattr(CoordinatorSettings, "from_environment", lambda: brief)
