"""The stock workers that a local run starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from redis import Redis
from rq import Queue

from distflow.errors import DistflowError, InvalidInput
from distflow.local.processes import session_members
from distflow.local.workers import LocalWorkers
from tests.support.redis_server import RedisServer
from tests.support.wait import stretched, wait_for

#: A user's module: the job says that it began, and ends when it is let go.
MODULE = """
import pathlib, time

def work(folder):
    pathlib.Path(folder, "began").touch()
    while not pathlib.Path(folder, "go").exists():
        time.sleep(0.01)
    pathlib.Path(folder, "ended").touch()
"""

#: Starts two workers, says their pids, and waits to be killed.
PARENT = """
import pathlib, sys
from distflow.local.workers import LocalWorkers
workers = LocalWorkers(sys.argv[1], count=2, data_dir=pathlib.Path(sys.argv[2])).start()
print(*workers.pids, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def workers(redis_server: RedisServer, tmp_path: Path) -> Iterator[LocalWorkers]:
    """Two workers that listen, in a folder with the user's module ``jobs``."""
    (tmp_path / "jobs.py").write_text(MODULE)
    with LocalWorkers(redis_server.url, count=2, data_dir=tmp_path, cwd=tmp_path) as workers:
        with redis_server.client() as client:
            wait_for(lambda: client.scard("rq:workers") == 2, 20, "two workers to listen")
        yield workers


def enqueue(client: Redis, folder: Path) -> None:
    """Have a worker begin the job of the user's module."""
    Queue(connection=client).enqueue("jobs.work", str(folder))
    wait_for((folder / "began").exists, what="the job to begin")


def test_imports_from_the_working_directory(
    workers: LocalWorkers, redis_client: Redis, tmp_path: Path
) -> None:
    """A job of a module in the user's folder runs."""
    (tmp_path / "go").touch()
    enqueue(redis_client, tmp_path)
    wait_for((tmp_path / "ended").exists, what="the job to end")


def test_ensure_restarts_the_dead(workers: LocalWorkers) -> None:
    """Of two workers, the killed one is started again and the other left alone."""
    killed, other = workers.pids
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: len(workers.pids) == 1, what="the worker to be gone")
    assert workers.ensure() == 1
    assert len(workers.pids) == 2
    assert other in workers.pids
    assert workers.ensure() == 0


def test_more_queues_are_served(workers: LocalWorkers, redis_client: Redis, tmp_path: Path) -> None:
    """Workers that listen to more queues take the place of the others, once these have finished."""
    first = set(workers.pids)
    workers.serve(["default"])
    assert set(workers.pids) == first
    enqueue(redis_client, tmp_path)
    workers.serve(["default", "gpu"])
    wait_for(lambda: len(workers.pids) == 1, what="the idle worker to leave")
    assert workers.ensure() == 1
    gpu = tmp_path / "gpu"
    gpu.mkdir()
    (gpu / "go").touch()
    Queue("gpu", connection=redis_client).enqueue("jobs.work", str(gpu))
    wait_for((gpu / "ended").exists, what="the job of the other queue to end")
    (tmp_path / "go").touch()
    wait_for((tmp_path / "ended").exists, what="the job that was running to end")
    wait_for(lambda: workers.ensure() == 1, what="the busy worker to leave")


def test_stop_is_warm(workers: LocalWorkers, redis_client: Redis, tmp_path: Path) -> None:
    """A job that is running when the workers are told to stop is finished."""
    enqueue(redis_client, tmp_path)
    # Once, whatever the machine does meanwhile: a second signal would end the job.
    stopping = Thread(target=workers.stop, args=(stretched(30.0),))
    stopping.start()
    wait_for(lambda: len(workers.pids) == 1, what="the idle worker to leave")
    assert not (tmp_path / "ended").exists()
    (tmp_path / "go").touch()
    stopping.join()
    assert (tmp_path / "ended").exists()


def test_stop_kills_what_does_not_end(
    workers: LocalWorkers, redis_client: Redis, tmp_path: Path
) -> None:
    """A job that outlasts the time to stop is killed, its work horse too."""
    enqueue(redis_client, tmp_path)
    sessions = workers.pids
    assert sum(len(session_members(session)) for session in sessions) == 3
    workers.stop(0.1)
    assert len(workers.pids) == 0
    wait_for(
        lambda: not any(session_members(session) for session in sessions),
        what="workers and horse to be gone",
    )
    assert not (tmp_path / "ended").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells children on Linux only")
def test_workers_end_when_their_parent_is_killed(redis_server: RedisServer, tmp_path: Path) -> None:
    """SIGKILL of the process that started them leaves no workers behind."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, redis_server.url, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    with redis_server.client() as client:
        wait_for(lambda: client.scard("rq:workers") == 2, 20, "two workers to listen")
    assert all(session_members(pid) for pid in pids)
    parent.kill()
    parent.communicate()
    wait_for(lambda: not any(session_members(pid) for pid in pids), 20, "the workers to be gone")


def test_workers_that_cannot_start(tmp_path: Path) -> None:
    """Workers that end at once are not started for ever: the message quotes their log."""
    with LocalWorkers(f"unix://{tmp_path}/none.sock", count=1, data_dir=tmp_path) as workers:

        def ensure_again() -> bool:
            workers.ensure()
            return False

        with pytest.raises(DistflowError, match=r"exit as soon as they start: .*none\.sock"):
            wait_for(ensure_again, 30)


def test_no_workers(tmp_path: Path) -> None:
    """A count that can do nothing is refused."""
    with pytest.raises(InvalidInput, match="use 1 or more"):
        LocalWorkers("unix:///x", count=0, data_dir=tmp_path)
