"""A host loses its power: its workers are gone, and Redis believes that they are connected."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis import Redis

from distflow import Workflow, connect
from distflow.runs.run import Run
from tests.conftest import StartWorker
from tests.support.proxy import Proxy
from tests.support.redis_server import TcpServer
from tests.support.tasks import recording, stuck
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, WorkerProcess

#: As `distflow worker` starts RQ's worker.
OWN = {
    "extra_args": ("--worker-ttl", "16", "--job-monitoring-interval", "1"),
    "env": {"RQ_CONNECTION_CLASS": "distflow_worker.WorkerRedis"},
}


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


class Held(NamedTuple):
    """A task that a worker of the host is inside of."""

    queue: str
    #: How its worker is started.
    options: Mapping[str, Any]
    effects: str
    #: What becomes of it, and within how many seconds.
    outcome: str
    seconds: float


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


HELD = [
    Held("own-once", OWN, "at_most_once", "unknown", 30.0),
    Held("own-normal", OWN, "normal", "failure", 30.0),
    Held("own-again", {**OWN, "worker_class": FAST}, "idempotent", "success", 30.0),
    Held("stock-once", {}, "at_most_once", "unknown", 60.0),
    Held("stock-normal", {}, "normal", "failure", 60.0),
    Held("stock-again", {}, "idempotent", "success", 60.0),
]


@pytest.mark.timeout(200)
def test_the_tasks_of_a_lost_host(
    server: TcpServer, host: Host, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Redis keeps the connections, by its default keepalive of 300 s. What may run twice goes to
    another host; the rest is given up within 30 s under `distflow worker`, and 60 s under `rq
    worker`. Nothing that may run once is started again.
    """
    log = tmp_path / "log"
    for held in HELD:
        host.start(held.queue, **held.options)
    for worker in host.workers:
        worker.wait_ready(60)
    flow = Workflow("held")
    for held in HELD:
        arguments = (str(log), str(tmp_path / "gate"))
        flow.add(held.queue, stuck.hold, arguments, queue=held.queue, effects=held.effects)  # type: ignore[arg-type]
    run = connect(server.url).submit(flow)
    wait_for(lambda: len(recording.lines(log)) == len(HELD), 60, "all tasks to begin")
    # Its coordinator has seen some beats and heartbeats of each.
    wait_for(partial(_all_have_beaten, run), 30, "beats")
    host.lose_power()
    lost_at = time.monotonic()
    (tmp_path / "gate").touch()
    start_worker(server.url, [held.queue for held in HELD])
    took: dict[str, float] = {}

    def have_ended() -> bool:
        for name, result in run.results().items():
            if result.status not in ("queued", "started"):
                took.setdefault(name, time.monotonic() - lost_at)
        return len(took) == len(HELD)

    wait_for(have_ended, 90, "an outcome of each")
    found = {name: result.status.value for name, result in run.results().items()}
    assert found == {held.queue: held.outcome for held in HELD}
    assert [held.queue for held in HELD if took[held.queue] > held.seconds] == [], took
    begun = Counter(name for name, *more in recording.lines(log) if not more)
    assert begun == {held.queue: 2 if held.effects == "idempotent" else 1 for held in HELD}


def _all_have_beaten(run: Run) -> bool:
    """Whether each worker has been inside its task for some beats."""
    claims, beats = run.store.read_claims(), run.store.read_beats()
    return len(claims) == len(HELD) and all(
        beats[claim.batch].at - claim.claimed > 2500 for claim in claims.values()
    )
