"""The start commands of deploy/, run as they are written: a run ends, and a stop loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from distflow import connect
from distflow.core.status import RunStatus
from distflow.local.processes import kill_session
from distflow.store.redis.durability import read_server
from tests.deploy.files import (
    DEPLOY,
    ENVIRONMENT,
    INSTALLED,
    Start,
    composed,
    read_compose,
    read_environment,
    unit,
)
from tests.support.redis_server import RedisServer, waitaof_binary
from tests.support.tasks import recording
from tests.support.wait import wait_for
from tests.support.worker_process import ROOT

Spawn = Callable[[Start, str], "subprocess.Popen[bytes]"]

SCRIPTS = Path(sys.executable).parent

#: Of each way: how its coordinator and its worker are started.
WAYS: dict[str, Callable[[Mapping[str, str]], tuple[Start, Start]]] = {
    "compose": lambda _environment: (composed("coordinator"), composed("worker")),
    "systemd": lambda environment: (
        unit("distflow-coordinator@.service", environment),
        unit("distflow-worker@.service", environment),
    ),
}


def environment_for(url: str) -> dict[str, str]:
    """What the units' file and the compose file set, for this Redis; and the path of a host on
    which distflow is installed.
    """
    given = read_environment(ENVIRONMENT)
    assert given.keys() >= read_compose()["services"]["worker"]["environment"].keys()
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    own = {"DISTFLOW_REDIS_URL": url, "DISTFLOW_SPOOL": os.environ["DISTFLOW_SPOOL"]}
    return {**given, **own, "PATH": path}


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts a command where its modules are, as it is written but for the place of distflow."""
    with ExitStack() as started:

        def start(what: Start, url: str) -> subprocess.Popen[bytes]:
            words = [word.replace(INSTALLED, str(SCRIPTS)) for word in what.command]
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environment_for(url),
                start_new_session=True,
            )
            started.callback(kill_session, process)
            return process

        yield start


def stop(process: subprocess.Popen[bytes], what: Start) -> None:
    """Send the signal that the file says, to this process alone."""
    process.send_signal(signal.Signals[what.stop_signal])


@pytest.fixture
def composed_redis() -> Iterator[str]:
    """The server of the compose file, of the version of its image; what is added keeps it in a
    folder and off the network.
    """
    folder = tempfile.mkdtemp(prefix="distflow-deploy-")
    _server, *options = read_compose()["services"]["redis"]["command"]
    path = f"{folder}/redis.sock"
    place = ["--dir", folder, "--port", "0", "--unixsocket", path, "--logfile", "redis.log"]
    process = subprocess.Popen([waitaof_binary(), *options, *place])
    try:
        url = f"unix://{path}"
        wait_for(lambda: answers(url), what="Redis to answer")
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def answers(url: str) -> bool:
    """Whether a Redis is there."""
    try:
        with Redis.from_url(url) as client:
            return bool(client.ping())
    except RedisError:
        return False


def test_the_redis_of_compose_keeps_what_it_acknowledged(composed_redis: str) -> None:
    """As distflow reads its settings: append-only, fsync always, nothing evicted."""
    with Redis.from_url(composed_redis) as client:
        assert read_server(client).durability == "aof-always"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.parametrize("way", WAYS)
def test_commands_lead_a_run_and_stop_without_a_loss(
    way: str, redis_server: RedisServer, spawn: Spawn, tmp_path: Path
) -> None:
    """Two coordinators and two workers lead a detached run to its end. All are told to stop while
    a task is at work: it ends, they exit with 0, and those that are started next go on behind it.
    """
    url, log, gate = redis_server.url, tmp_path / "log", tmp_path / "gate"
    coordinator, worker = WAYS[way](environment_for(url))
    client = connect(url)
    services = [spawn(coordinator, url) for _ in range(2)]
    workers = [spawn(worker, url) for _ in range(2)]
    dag = recording.random_dag(size=20, log=str(log))
    run = client.submit(dag, run_id="first", detach=True)
    wait_for(lambda: run.status() == RunStatus.SUCCESS, 30, "the first run to end")
    assert starts(log) == {f"t{number}": 1 for number in range(20)}

    params = {"log": str(log), "gate": str(gate)}
    run = client.submit(recording.holding, params, "second", detach=True)
    wait_for(lambda: starts(log)["hold"], 20, "its task to begin")
    for process in services:
        stop(process, coordinator)
    assert [process.wait(20) for process in services] == [0, 0]
    for process in workers:
        stop(process, worker)
    wait_for(lambda: any(process.poll() == 0 for process in workers), 20, "the idle one to end")
    assert [process.poll() for process in workers].count(None) == 1, "one is at its task still"
    gate.touch()
    assert [process.wait(20) for process in workers] == [0, 0]

    spawn(coordinator, url)
    spawn(worker, url)
    wait_for(lambda: run.status() == RunStatus.SUCCESS, 30, "the second run to end")
    assert (starts(log)["hold"], starts(log)["receipt"]) == (1, 1)


def starts(log: Path) -> Counter[str]:
    """How often each task began."""
    return Counter(words[0] for words in recording.lines(log))


def check_health(url: str, service: str) -> subprocess.CompletedProcess[str]:
    """Run the health check of a service as the compose file has it, where the image keeps it."""
    kind, *words = read_compose()["services"][service]["healthcheck"]["test"]
    assert kind == "CMD"
    there = [word.replace("/usr/local/lib/distflow", str(DEPLOY)) for word in words]
    return subprocess.run(
        there, env=environment_for(url), capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("service", ["coordinator", "worker"])
def test_health_is_that_of_the_process(
    service: str, redis_server: RedisServer, spawn: Spawn
) -> None:
    """The health check passes while the process lives, and fails when it has ended."""
    url, what = redis_server.url, composed(service)
    none = check_health(url, service)
    assert none.returncode == 1
    assert none.stderr == f"no {service} of {socket.gethostname()} is alive\n"
    process = spawn(what, url)
    wait_for(lambda: check_health(url, service).returncode == 0, 20, "it to be healthy")
    stop(process, what)
    assert process.wait(20) == 0
    assert check_health(url, service).returncode == 1
    away = check_health(f"unix://{DEPLOY}/none.sock", service)
    assert away.returncode == 1
    assert "Traceback" not in away.stderr
