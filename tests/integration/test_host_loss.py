"""A host loses its power: its workers are gone, and Redis believes that they are connected."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from distflow import Workflow, connect
from tests.conftest import StartWorker
from tests.support.proxy import Proxy
from tests.support.redis_server import TcpServer
from tests.support.tasks import recording, stuck
from tests.support.wait import wait_for
from tests.support.worker_process import WorkerProcess


class Host:
    """Workers that reach Redis through a proxy.

    Args:
        server: the Redis.
    """

    def __init__(self, server: TcpServer) -> None:
        self._started = ExitStack()
        self._proxy = Proxy(server.url)
        self._started.callback(self._proxy.close)
        #: Where its processes find Redis.
        self.url = self._proxy.url
        self.workers: list[WorkerProcess] = []

    def start(self, queue: str, **options: object) -> WorkerProcess:
        """A worker; it need not be ready yet."""
        worker = WorkerProcess(self.url, [queue], **options)  # type: ignore[arg-type]
        self._started.callback(worker.close)
        self.workers.append(worker)
        return worker

    def lose_power(self) -> None:
        """All processes are gone, and no connection of theirs says so."""
        self._proxy.lose_power()
        for worker in self.workers:
            worker.kill()

    def close(self) -> None:
        """End everything."""
        self._started.close()


@pytest.fixture
def server() -> Iterator[TcpServer]:
    """A Redis for one test."""
    server = TcpServer()
    yield server
    server.close()


@pytest.fixture
def host(server: TcpServer) -> Iterator[Host]:
    """A host without workers yet."""
    host = Host(server)
    yield host
    host.close()


def blocked(client: Redis) -> int:
    """How many connections wait for an entry of a queue."""
    return int(client.info("clients")["blocked_clients"])


def test_idle_workers_of_a_lost_host_swallow_little(
    server: TcpServer, host: Host, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Eight stock workers wait for entries, and their host is gone: each of their connections takes
    one. A task begins on another host within 30 s, and runs once.
    """
    log = tmp_path / "log"
    for _ in range(8):
        host.start("default")
    for worker in host.workers:
        worker.wait_ready(60)
    with server.client() as client:
        wait_for(lambda: blocked(client) == 8, 20, "eight to wait")
        host.lose_power()
        start_worker(server.url)
        wait_for(lambda: blocked(client) == 9, 20, "another to wait")
        began = time.monotonic()
        flow = Workflow("one")
        flow.add("nap", stuck.nap, (str(log), 0.0), effects="at_most_once")
        run = connect(server.url).submit(flow)
        wait_for(lambda: recording.lines(log), 60, "the task to begin")
        took = time.monotonic() - began
        assert run.wait(20) == "success"
        assert took < 30, took
        # What is left of its copies comes to nothing.
        wait_for(lambda: not client.llen("rq:queue:default"), 20, "the last copy to be taken")
        wait_for(lambda: blocked(client) == 1, 20, "the worker to idle")
    assert recording.lines(log) == [["nap"]]
    assert set(run.info().repairs) == {"entry_lost"}
