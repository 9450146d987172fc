"""Commands on a Redis that answers with a refusal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from distflow.authoring.params import load_workflow
from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.support.cli import command, run_cli, start_cli
from tests.support.refusing import RefusingServer
from tests.support.session_process import SessionProcess
from tests.support.wait import wait_for

_FLOW = "tests.support.tasks.refused:idle"


@pytest.fixture(scope="module")
def server() -> Iterator[RefusingServer]:
    """One for all."""
    server = RefusingServer()
    yield server
    server.close()


@pytest.fixture
def run(server: RefusingServer, tmp_path: Path) -> Iterator[Run]:
    """A run that nobody leads."""
    server.control.flushall()
    with server.client() as redis:
        yield Client(redis).create(load_workflow(_FLOW), {"log": str(tmp_path / "log")}, run_id="x")


@pytest.mark.usefixtures("run")
def test_who_looks_is_told_what_redis_refuses(server: RefusingServer, tmp_path: Path) -> None:
    """One line with the mend, exit code 5: in the time that a command takes, and a second."""
    looking = (
        *(["status", "x"], ["runs"], ["show", "x", "t0"], ["watch", "x"], ["graph", "--run", "x"]),
        ["export", "x", "-o", str(tmp_path / "export")],
    )
    with server.refusing("BUSY"):
        started = [start_cli(server.url, *words) for words in looking]
        said = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [5] * len(looking)
    for out, err in said:
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith("distflow: Redis refuses with BUSY: it has been running one script")
        assert line.endswith("wait until it ends, or `redis-cli SCRIPT KILL`")


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("word", ["READONLY", "MISCONF", "NOREPLICAS", "OOM"])
def test_who_looks_sees_what_can_be_read(server: RefusingServer, word: str) -> None:
    """Redis refuses what writes alone: that is why nothing moves."""
    with server.refusing(word):
        done = run_cli(server.url, "status", "x")
    assert done.returncode == 0, done.stderr
    assert "nobody" in done.stdout
    assert done.stderr.startswith(f"warning: Redis refuses with {word}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("run")
def test_a_redis_that_is_well_is_not_spoken_of(server: RefusingServer) -> None:
    """And the question leaves nothing behind."""
    for words in (["status", "x"], ["runs"]):
        done = run_cli(server.url, *words)
        assert (done.returncode, done.stderr) == (0, "")
    assert server.control.zrange("distflow:runs", 0, -1) == [b"x"]


def test_who_looks_is_not_held_back(server: RefusingServer) -> None:
    """By a Redis that takes writes, and does them later."""
    server.control.flushall()
    server.control.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    try:
        done = run_cli(server.url, "runs", timeout=30)
    finally:
        server.control.execute_command("CLIENT", "UNPAUSE")
    assert done.returncode == 0
    assert done.stderr.startswith("there are no runs: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    "words", [["submit", _FLOW, "-p", "log=x", "--detach"], ["delete", "x"], ["cancel", "x"]]
)
def test_who_changes_something_waits(server: RefusingServer, words: list[str]) -> None:
    """It says what is refused, tries on, and does it when it may."""
    with server.refusing("NOREPLICAS"):
        process = SessionProcess("person", command(*words, "--redis", server.url))
        try:
            wait_for(lambda: "refuses with NOREPLICAS" in process.log(), 30, "a word")
            assert "trying again" in process.log()
            assert not process.has_ended()
            server.control.config_set("min-replicas-to-write", 0)
            assert process.process.wait(30) == 0
            assert "Redis works again after" in process.log()
        finally:
            process.close()


def test_a_service_can_be_stopped_meanwhile(server: RefusingServer) -> None:
    """It waits for as long as it takes, but not when it is told to end."""
    process = SessionProcess("service", command("coordinator", "--redis", server.url))
    try:
        wait_for(lambda: "is ready" in process.log(), 30, "it to be ready")
        with server.refusing("NOREPLICAS"):
            wait_for(lambda: "refuses with NOREPLICAS" in process.log(), 30, "it to be refused")
            process.process.send_signal(signal.SIGTERM)
            assert process.process.wait(20) == 0
            assert "Traceback" not in process.log()
    finally:
        process.close()


@pytest.mark.parametrize("fast", [False, True])
def test_a_worker_can_be_stopped_meanwhile(server: RefusingServer, *, fast: bool) -> None:
    """An idle one ends within seconds: that it has ended need not be registered."""
    more = ("-w", "distflow_worker.FastWorker") if fast else ()
    words = command("worker", "--redis", server.url, "--name", "w", *more)
    process = SessionProcess("worker", words)
    try:
        wait_for(lambda: server.control.hget("rq:worker:w", "state"), 30, "it to listen")
        with server.refusing("NOREPLICAS"):
            wait_for(lambda: "refuses with NOREPLICAS" in process.log(), 30, "it to be refused")
            process.process.send_signal(signal.SIGTERM)
            assert process.process.wait(15) == 0
            assert "Traceback" not in process.log()
    finally:
        process.close()
        server.control.flushall()
