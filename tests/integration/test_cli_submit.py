"""submit and resume as a person types them: exit codes, lines, take-overs, bad input."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from distflow.faults import AFTER, FAULT_VARIABLE
from distflow.runs.client import Client
from tests.conftest import StartWorker
from tests.integration.cli_runs import (
    FLOWS,
    StartCli,
    begun,
    dag,
    end,
    held,
    run_of,
    started_commands,
    starts,
)
from tests.support.cli import command, kill_cli, run_cli
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_for
from tests.support.worker_process import ROOT


@pytest.fixture
def start() -> Iterator[StartCli]:
    """Starts commands, and ends them with the test."""
    with started_commands() as start_command:
        yield start_command


def test_resume_unpauses_and_follows(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """A paused run that is still led goes on under its coordinator: both commands end with 0, and
    nothing ran twice.
    """
    start_worker(redis_server.url)
    leader = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "u")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    assert run_cli(redis_server.url, "pause", "u").returncode == 0
    follower = start(redis_server.url, "resume", "u")
    assert follower.stderr is not None
    assert follower.stderr.readline() == "it was paused: unpausing it\n"
    assert re.fullmatch(r"led by .*: following it\n", follower.stderr.readline())
    (tmp_path / "gate").touch()
    assert (end(leader)[0], end(follower)[0]) == (0, 0)
    assert starts(tmp_path) == {"hold": 1, "receipt": 1}


def test_resume_takes_over_from_the_dead(
    redis_server: RedisServer, start_worker: StartWorker, start: StartCli, tmp_path: Path
) -> None:
    """A resume that follows takes over when the coordinator is killed, and nothing runs twice."""
    start_worker(redis_server.url)
    leader = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "t")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    follower = start(redis_server.url, "resume", "t")
    assert follower.stderr is not None
    assert "following it" in follower.stderr.readline()
    kill_cli(leader)
    assert follower.stderr.readline() == "its coordinator is gone: taking the run over\n"
    (tmp_path / "gate").touch()
    assert end(follower)[0] == 0
    assert starts(tmp_path) == {"hold": 1, "receipt": 1}


def test_resume_by_force(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """--force takes the run from a living coordinator at once; that one says so, follows, and
    ends with the run's exit code.
    """
    start_worker(redis_server.url)
    patient = {"DISTFLOW_LEASE_SECONDS": "60"}
    first = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "x", env=patient)
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    run = run_of(redis_client, "x")
    owner = run.info().coordinator
    second = start(redis_server.url, "resume", "x", "--force")
    wait_for(lambda: run.info().coordinator not in {owner, None}, 20, "the take-over")
    (tmp_path / "gate").touch()
    assert end(second)[0] == 0
    code, _out, lines = end(first)
    assert code == 0
    assert "somebody else took the run over, or decided a task of it: following it" in lines


def test_an_interrupted_submit_leaves_nothing(
    redis_server: RedisServer, redis_client: Redis, start: StartCli, tmp_path: Path
) -> None:
    """Ctrl-C while a large run is written: what was written is removed, and that is said."""
    fault = tmp_path / "fault"
    frozen = {FAULT_VARIABLE: f"append_graph{AFTER}#1=freeze@{fault}"}
    words = ["submit", *dag(tmp_path / "log", 5000), "--run-id", "r"]
    process = start(redis_server.url, *words, env=frozen)
    stat = Path(f"/proc/{process.pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 60, "it to stop")
    assert redis_client.exists("distflow:{r}:graph")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    code, out, lines = end(process)
    assert (code, out, lines[-1]) == (130, "", "interrupted: no run was created")
    assert redis_client.keys("distflow*") == []


def test_nobody_reads_the_output(
    redis_server: RedisServer, redis_client: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A reader that goes away does not end the run that the command leads."""
    start_worker(redis_server.url)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command("submit", f"{FLOWS}:effects", "-p", f"log={tmp_path / 'log'}", "--run-id", "b"),
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        cwd=ROOT,
        env={**os.environ, "DISTFLOW_REDIS_URL": redis_server.url},
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1
    assert run_of(redis_client, "b").status() == "failure"


def test_a_full_disk(redis_server: RedisServer, redis_client: Redis) -> None:
    """What cannot be printed is one line and an exit code of its own; where that was the id of a
    new run, the line before tells how to go on with it.
    """
    for words, lines in ((["runs", "--json"], 1), ([*dag(Path("log"))], 2)):
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            done = subprocess.run(
                command(*(words if lines == 1 else ["submit", *words])),
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "DISTFLOW_REDIS_URL": redis_server.url},
                timeout=60,
                check=False,
            )
        said = done.stderr.splitlines()
        assert (done.returncode, len(said)) == (74, lines), said
        assert said[-1] == "distflow: cannot continue: No space left on device"
    run_id = Client(redis_client).run_ids()[0]
    assert said[0] == f"run {run_id} was created: continue it with `distflow resume {run_id}`"


def test_terminal(redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path) -> None:
    """On a terminal a bar with the counts and the tasks at work is drawn in place, no line is
    wider than the terminal, and the last lines stay.
    """
    start_worker(redis_server.url)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("submit", *held(tmp_path), "--run-id", "tty"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={
            **os.environ,
            "DISTFLOW_REDIS_URL": redis_server.url,
            "TERM": "xterm",
            "COLUMNS": "80",
        },
    )
    os.close(theirs)
    seen = ""
    try:
        while "0/2" not in seen or "hold " not in seen:
            seen += os.read(ours, 4096).decode(errors="replace")
        (tmp_path / "gate").touch()
        with suppress(OSError):  # EIO: the other side is closed
            while piece := os.read(ours, 4096):
                seen += piece.decode(errors="replace")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert "━" in plain
    assert "1 running, 1 queued" in plain
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= 80
    assert "run tty: success" in plain.splitlines()[-1]
