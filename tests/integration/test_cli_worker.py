"""``distflow worker`` is a stock worker with settings that suit distflow."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from distflow.core.status import RunStatus
from distflow.local.processes import kill_session
from distflow.runs.client import connect
from tests.support.cli import command, run_cli
from tests.support.redis_server import RedisServer
from tests.support.tasks.recording import holding, lines, payment
from tests.support.wait import wait_for
from tests.support.worker_process import ROOT

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start(url, *words)``: a ``distflow worker`` named w1 that listens already."""
    with ExitStack() as started:

        def start(url: str, *words: str) -> subprocess.Popen[bytes]:
            with (tmp_path / "worker.log").open("wb") as log:
                process = subprocess.Popen(
                    command("worker", "--name", "w1", "--redis", url, *words),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                    start_new_session=True,
                )
            started.callback(_end, process)
            with Redis.from_url(url) as client:
                wait_for(
                    lambda: process.poll() is not None or client.hget("rq:worker:w1", "state"),
                    timeout=20,
                    what="the worker to listen",
                )
            assert process.poll() is None, (tmp_path / "worker.log").read_text()
            return process

        yield start


def _wait_for_calls(path: str, pid: int, count: int) -> None:
    """Stand in for a server that is away, until a process has asked for it so often."""
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen()
        door.settimeout(20)
        while count:
            caller, _ = door.accept()
            with caller:
                peer = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            count -= struct.unpack("3i", peer)[0] == pid


def _end(process: subprocess.Popen[bytes]) -> None:
    # Its work horse is in a group of its own, and may outlive it: for an hour, where its Redis has
    # gone.
    kill_session(process)


def test_it_works(redis_server: RedisServer, start: Start, tmp_path: Path) -> None:
    """It runs tasks of modules in the working directory, beats often, and ends when asked."""
    worker = start(redis_server.url, "--", "--max-idle-time", "60")
    (tmp_path / "gate").touch()
    client = connect(redis_server.url)
    log = tmp_path / "log"
    run = client.submit(payment, {"log": str(log), "gate": str(tmp_path / "gate")})
    assert run.wait(timeout=30) == RunStatus.SUCCESS
    assert [words[0] for words in lines(log)] == ["prepare", "charge", "charged", "receipt"]
    assert 16 <= int(client.redis.ttl("rq:worker:w1")) <= 76
    client.redis.close()
    worker.terminate()
    assert worker.wait(20) == 0


def test_it_outlasts_a_restart_of_redis(
    fresh_redis: RedisServer, start: Start, tmp_path: Path
) -> None:
    """A worker amid a task sees Redis go and come back, and goes on working."""
    worker = start(fresh_redis.url)
    client = connect(fresh_redis.url)
    log, gate = tmp_path / "log", tmp_path / "gate"
    run = client.submit(holding, {"log": str(log), "gate": str(gate)})
    wait_for(lambda: lines(log), what="the task to begin")
    fresh_redis.kill()
    _wait_for_calls(fresh_redis.url.removeprefix("unix://"), worker.pid, 3)
    fresh_redis.restart()
    gate.touch()
    assert run.wait(timeout=60) == RunStatus.SUCCESS
    assert worker.poll() is None
    # It still takes jobs: this run has no other worker.
    assert client.submit(holding, {"log": str(log), "gate": str(gate)}).wait(timeout=60) == (
        RunStatus.SUCCESS
    )
    assert [words[0] for words in lines(log)] == ["hold", "receipt"] * 2
    client.redis.close()


def test_a_private_redis(tmp_path: Path) -> None:
    """With ``--data`` it works on the private Redis, which is gone when its last user is."""
    data = tmp_path / "data"
    refused = run_cli("", "worker", "--burst", "--data", str(data))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "there is no data folder" in refused.stderr
    data.mkdir()
    done = run_cli("", "worker", "--burst", "--data", str(data), "--", "--quiet")
    assert done.returncode == 0, done.stderr
    assert (data / "redis.log").exists()
    assert not (data / "redis.sock").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--bust",), 2, "--bust"),
        (("--burst", "--", "--bogus"), 2, "--bogus"),
        (("--burst", "-w", "nope.Worker"), 2, "--worker-class 'nope.Worker' cannot be imported"),
        (("--burst", "--redis", "redis://localhost:1"), 5, "cannot be reached"),
        (("--burst", "--redis", "http://x"), 2, "not usable"),
    ],
)
def test_it_refuses(
    redis_server: RedisServer, words: tuple[str, ...], code: int, said: str
) -> None:
    """What cannot work is one line on stderr, at once."""
    done = run_cli(redis_server.url, "worker", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_name_that_is_taken(redis_server: RedisServer, start: Start) -> None:
    """Two workers of one name would be one to RQ: the second is refused."""
    start(redis_server.url)
    done = run_cli(redis_server.url, "worker", "--name", "w1", "--burst")
    assert done.returncode == 2
    assert "a worker named 'w1' exists already" in done.stderr


def test_burst_on_queues(redis_server: RedisServer) -> None:
    """Queues are passed on in their order, and options of RQ after ``--``."""
    done = run_cli(redis_server.url, "worker", "high", "low", "--burst", "--", "--name", "w2")
    assert done.returncode == 0, done.stderr
    assert "Listening on high, low" in done.stdout + done.stderr
    with redis_server.client() as client:
        assert client.hget("rq:worker:w2", "queues") == b"high,low"
