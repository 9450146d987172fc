"""``distflow run``: everything that a run needs is started, and ended again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from distflow.local.private_redis import PrivateRedis
from distflow.runs.client import Client
from tests.integration.cli_runs import (
    StartCli,
    begun,
    dag,
    end,
    held,
    started_commands,
    starts,
)
from tests.support.cli import kill_cli, run_cli
from tests.support.tasks import recording
from tests.support.wait import wait_for


@pytest.fixture
def start() -> Iterator[StartCli]:
    """Starts commands, and ends them with the test."""
    with started_commands() as start_command:
        yield start_command


def run_locally(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``distflow run`` in a data folder."""
    return run_cli("", "run", *words, "--data", str(data))


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder; a server that a killed command left there is stopped at the end."""
    folder = tmp_path / "data"
    yield folder
    PrivateRedis.start(folder).stop()


def test_run_needs_no_server(data_dir: Path, tmp_path: Path) -> None:
    """All in one: a private Redis and two workers, all gone at the end; the run is found again
    by --data, with the options that it was given. A run id that has succeeded is refused.
    """
    words = [*dag(tmp_path / "log", 10), "--run-id", "r", "--no-batch"]
    done = run_locally(data_dir, *words)
    assert (done.returncode, done.stdout) == (0, "r\n"), done.stderr
    assert not (data_dir / "redis.sock").exists()
    assert len(list(data_dir.glob("worker-*.log"))) == 2
    with PrivateRedis.start(data_dir) as server, Redis.from_url(server.url) as redis:
        assert Client(redis).run("r").info().counts["success"] == 10
        assert Client(redis).run("r").info().durability == "aof-always"
        assert not Client(redis).run("r").info().options.batch
    again = run_locally(data_dir, *words)
    assert again.returncode == 2
    assert "run r has succeeded" in again.stderr


def test_run_goes_on_after_it_was_killed(data_dir: Path, start: StartCli, tmp_path: Path) -> None:
    """SIGKILL to the command midway; the run goes on with its own parameters, which need not be
    given again, and no task that had succeeded ran again. Other ones are refused.
    """
    log = tmp_path / "log"
    words = ["run", dag(log)[0], "--run-id", "k", "--data", str(data_dir)]
    process = start("", *words, *dag(log, 30)[1:], "-p", "seconds=0.02")
    wait_for(lambda: len(recording.lines(log)) > 8, 60, "some tasks to have begun")
    kill_cli(process)
    with PrivateRedis.start(data_dir) as server, Redis.from_url(server.url) as redis:
        run = Client(redis).run("k")
        wait_for(lambda: run.info().coordinator is None, 20, "the lease to lapse")
        succeeded = {name for name, result in run.results().items() if result.status == "success"}
    assert 0 < len(succeeded) < 30
    other = run_cli("", *words, "-p", "seconds=0.5")
    assert other.returncode == 2
    assert "run k has another value for parameter 'seconds'" in other.stderr
    ended = run_cli("", *words, "-p", "seconds=0.02")
    assert ended.returncode == 0, ended.stderr
    assert "resume k: " in ended.stderr
    began = starts(tmp_path)
    assert set(began) == {f"t{number}" for number in range(30)}
    assert all(began[name] == 1 for name in succeeded)


def test_run_interrupted(data_dir: Path, start: StartCli, tmp_path: Path) -> None:
    """Ctrl-C ends workers and server too; what ran was let end, so that it does not run again.
    The last line is a command that ends the run as it stands, workers included.
    """
    words = ["run", *held(tmp_path), "--run-id", "i", "--workers", "1", "--data", str(data_dir)]
    process = start("", *words)
    wait_for(lambda: begun(tmp_path), 60, "the task to begin")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    last = f"run {held(tmp_path)[0]} --run-id i --workers 1 --data {data_dir}"
    said = f"continue: distflow {last}\n"
    wait_for(lambda: process.stderr.readline() == said, 30)  # type: ignore[union-attr]
    (tmp_path / "gate").touch()
    assert end(process) == (130, "i\n", [])
    ended = run_cli("", *last.split())
    assert ended.returncode == 0, ended.stderr
    assert starts(tmp_path) == {"hold": 1, "receipt": 1}


def test_what_waits_for_a_person_goes_on_with_workers(
    data_dir: Path, start: StartCli, tmp_path: Path
) -> None:
    """Where a worker was killed inside an at-most-once task, each command that tells what to do
    next names one that starts workers as well, and that ends the run.
    """
    words = [*held(tmp_path), "-p", "effects=at_most_once", "--run-id", "b"]
    process = start("", "run", *words, "--data", str(data_dir))
    wait_for(lambda: begun(tmp_path), 60, "the task to begin")
    os.kill(int(recording.lines(tmp_path / "log")[0][2]), signal.SIGKILL)
    again = f"distflow run {words[0]} --run-id b --data {data_dir}"
    code, _out, lines = end(process)
    assert (code, lines[-1]) == (3, f"continue: {again}")
    resolved = run_cli("", "resolve", "b", "hold", "--data", str(data_dir), "--done", "1")
    assert f"continue the run: {again}" in resolved.stdout
    assert again in run_cli("", "status", "b", "--data", str(data_dir)).stdout
    ended = run_cli("", *again.split()[1:])
    assert ended.returncode == 0, ended.stderr
    assert starts(tmp_path) == {"hold": 1, "receipt": 1}
