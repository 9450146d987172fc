"""A Redis that came back empty has forgotten its runs: everybody says so, and what mends it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from distflow.coordinator.service import CoordinatorService
from distflow.errors import RunForgotten
from distflow.runs.client import Client
from tests.conftest import StartWorker
from tests.integration.test_outcomes import Scene
from tests.support.cli import run_cli, start_cli
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_for

#: A workflow whose task waits for a file.
FLOW = "tests.support.tasks.recording:holding"

FORGOTTEN = "Redis has forgotten run r"
MEND = "restore its AOF or RDB and continue with `distflow resume r`"


@pytest.fixture
def emptied(fresh_redis: RedisServer, tmp_path: Path) -> RedisServer:
    """A server with a run ``r``; the test empties it."""
    words = ["submit", FLOW, "--run-id", "r", "--detach"]
    words += ["-p", f"log={tmp_path / 'log'}", "-p", f"gate={tmp_path / 'gate'}"]
    assert run_cli(fresh_redis.url, *words).returncode == 0
    return fresh_redis


def lose_all(server: RedisServer, folder: Path) -> None:
    """Kill it, and let it come back without any data."""
    (folder / "nothing").mkdir()
    server.restart_with(folder / "nothing")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """How a command ended, and what it said."""
    try:
        _out, err = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return process.returncode, err


def led_by(server: RedisServer) -> str | None:
    """Who leads the run."""
    with server.client() as client:
        return Client(client).run("r").info().coordinator


def test_who_leads_and_who_follows(emptied: RedisServer, tmp_path: Path) -> None:
    """Both commands end with exit code 5, a line, and never a word of a deletion."""
    leader = start_cli(emptied.url, "resume", "r")
    wait_for(lambda: led_by(emptied), 30, "somebody to lead the run")
    follower = start_cli(emptied.url, "resume", "r")
    assert follower.stderr is not None
    assert "following it" in follower.stderr.readline()
    lose_all(emptied, tmp_path)
    for process in (leader, follower):
        status, said = ended(process)
        assert status == 5, said
        (line,) = [line for line in said.splitlines() if FORGOTTEN in line]
        assert MEND in line
        assert "was deleted" not in said


@pytest.mark.parametrize("command", ["status", "resume", "pause", "export", "delete"])
def test_who_comes_later(emptied: RedisServer, tmp_path: Path, command: str) -> None:
    """It cannot know that there was such a run, and that there is none at all is no good sign."""
    lose_all(emptied, tmp_path)
    done = run_cli(emptied.url, command, "r")
    assert done.returncode == 2
    assert done.stderr.startswith("distflow: there is no run 'r', and no other: if there was one, ")
    assert f"{FORGOTTEN}: {MEND}" in done.stderr


def test_a_service(emptied: RedisServer, tmp_path: Path) -> None:
    """It says so of each run that it led, and serves on."""
    service = start_cli(emptied.url, "coordinator")
    wait_for(lambda: led_by(emptied), 30, "the service to lead the run")
    lose_all(emptied, tmp_path)
    words = ["submit", FLOW, "--run-id", "next", "--detach"]
    words += ["-p", f"log={tmp_path / 'log2'}", "-p", f"gate={tmp_path / 'gate'}"]
    assert run_cli(emptied.url, *words).returncode == 0
    with emptied.client() as client:
        run = Client(client).run("next")
        wait_for(lambda: run.info().coordinator, 30, "the service to lead the next run")
    service.terminate()
    status, said = ended(service)
    assert status == 0, said
    assert FORGOTTEN in said
    assert MEND in said
    assert "was deleted" not in said


def test_a_service_that_has_given_redis_up(emptied: RedisServer, tmp_path: Path) -> None:
    """Redis was away for longer than the service is patient: it led nothing by then."""
    stop, said = threading.Event(), list[str]()
    with emptied.client() as redis:
        client = Client(redis, patience_seconds=0.2)
        service = CoordinatorService(client.backend, stop, report=said.append)
        serving = threading.Thread(target=service.run, daemon=True)
        serving.start()
        try:
            wait_for(lambda: service.led, 30, "the service to lead the run")
            emptied.kill()
            wait_for(lambda: any("waiting for it" in line for line in said), 30, "it to wait")
            (tmp_path / "nothing").mkdir()
            emptied.restart_with(tmp_path / "nothing")
            wait_for(lambda: any(FORGOTTEN in line for line in said), 30, "it to say so")
        finally:
            stop.set()
            serving.join(30)
    assert not serving.is_alive()
    (line,) = [line for line in said if FORGOTTEN in line]
    assert MEND in line
    assert service.led == {}


def test_who_waits_in_python(emptied: RedisServer, tmp_path: Path) -> None:
    """The thread that leads, and who waits for it."""
    with emptied.client() as client:
        run = Client(client).run("r")
        run.resume()
        wait_for(lambda: run.info().coordinator, 30, "the run to be led")
        lose_all(emptied, tmp_path)
        with pytest.raises(RunForgotten, match=FORGOTTEN):
            run.wait(60)


def test_a_deleted_run_was_deleted(emptied: RedisServer, tmp_path: Path) -> None:
    """Another run is there, and Redis has not restarted."""
    words = ["-p", f"log={tmp_path / 'log'}", "-p", f"gate={tmp_path / 'gate'}", "--detach"]
    assert run_cli(emptied.url, "submit", FLOW, "--run-id", "other", *words).returncode == 0
    with emptied.client() as client:
        # In the second of its start, Redis does not tell whether a look came before it.
        wait_for(lambda: client.info("server")["uptime_in_seconds"] > 1, 30, "Redis to be older")
    leader = start_cli(emptied.url, "resume", "r")
    wait_for(lambda: led_by(emptied), 30, "somebody to lead the run")
    assert run_cli(emptied.url, "delete", "r", "--force").returncode == 0
    status, said = ended(leader)
    assert (status, said.splitlines()[-1]) == (1, "distflow: run r was deleted")


def test_a_worker_keeps_what_a_forgotten_run_would_have(
    fresh_redis: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Once the data are restored, the next batch delivers it."""
    scene = Scene(fresh_redis, start_worker, tmp_path)
    worker = scene.worker()
    scene.hold(effects="at_most_once")
    fresh_redis.pause()
    fresh_redis.copy_data(tmp_path / "backup")
    fresh_redis.proceed()
    fresh_redis.kill()
    scene.end_task()
    scene.wait_kept()
    lose_all(fresh_redis, tmp_path)
    said = "Redis has forgotten run held: it has restarted and came back without it"
    wait_for(lambda: said in worker.log(), 30, "the worker to say so")
    wait_for(lambda: not worker.children(), 30, "its work horse to end")
    assert len(scene.files()) == 1
    fresh_redis.restart_with(tmp_path / "backup")
    scene.worker()
    scene.pass_by()
    scene.wait_success()
