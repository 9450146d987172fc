"""Servers and workers for every test; all of them are gone when their scope ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis

from tests.support.redis_server import RedisPool, RedisServer
from tests.support.signals import keep_ignored_here
from tests.support.worker_process import WorkerProcess

#: How long an example takes says more of the machine than of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

keep_ignored_here()

StartWorker = Callable[..., WorkerProcess]

#: Files that take long with few tests: several files run at once, and these must not come last.
LONG = ("test_host_loss", "test_outcomes", "test_roles", "test_failover", "test_docs", "test_acl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first; all else stays in its random order."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="session", autouse=True)
def _own_spool(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Workers of the tests keep outcomes in a folder of the session's, not in that of the user."""
    os.environ["DISTFLOW_SPOOL"] = str(tmp_path_factory.mktemp("spool") / "outcomes")


@pytest.fixture(scope="session")
def redis_pool() -> Iterator[RedisPool]:
    """The shared servers, one per binary: ``redis_pool.get(binary)`` empties and returns one."""
    pool = RedisPool()
    yield pool
    pool.close()


@pytest.fixture
def redis_server(redis_pool: RedisPool) -> RedisServer:
    """The shared server, emptied; a test that stops or kills it takes ``fresh_redis``."""
    return redis_pool.get()


@pytest.fixture
def fresh_redis() -> Iterator[RedisServer]:
    """A server for this test alone: it may be killed, paused and restarted."""
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[Redis]:
    """A client of the shared server; answers are bytes."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """``start_worker(url, queues, …)``: a ``WorkerProcess`` that listens already."""
    with ExitStack() as started:

        def start(url: str, *args: Any, **options: Any) -> WorkerProcess:
            worker = WorkerProcess(url, *args, **options)
            started.callback(worker.close)
            # pytest shows it when the test fails.
            started.callback(lambda: sys.stdout.write(worker.log()))
            return worker.wait_ready()

        yield start
