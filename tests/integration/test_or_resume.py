"""``submit --or-resume``: the same command makes a run, and goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from distflow import Client, connect
from distflow.cli import main
from distflow.core.model import Task
from distflow.core.run import RunSpec
from distflow.core.status import RunStatus
from distflow.store.redis.store import RedisRunStore
from tests.conftest import StartWorker
from tests.integration.cli_runs import StartCli, begun, dag, end, held, started_commands, starts
from tests.support.cli import kill_cli
from tests.support.redis_server import RedisServer
from tests.support.stores import claim, final, finish
from tests.support.wait import wait_for


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Client]:
    """Of the shared server."""
    with connect(redis_server.url).redis as redis:
        yield Client(redis)


@pytest.fixture
def start() -> Iterator[StartCli]:
    """Starts commands, and ends them with the test."""
    with started_commands() as start_command:
        yield start_command


def submit(server: RedisServer, *words: str) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(main, ["submit", *words, "--redis", server.url], prog_name="distflow")


def test_a_killed_submit_is_typed_again(
    redis_server: RedisServer, start_worker: StartWorker, start: StartCli, tmp_path: Path
) -> None:
    """It takes the run up; once more, and there is nothing to do. Nothing runs twice."""
    words = ["submit", *held(tmp_path), "--run-id", "r", "--or-resume"]
    start_worker(redis_server.url)
    first = start(redis_server.url, *words)
    wait_for(lambda: begun(tmp_path), 20, "a task to begin")
    kill_cli(first)
    (tmp_path / "gate").touch()
    code, out, lines = end(start(redis_server.url, *words))
    assert (code, out) == (0, "r\n"), lines
    assert "run r exists already: continuing it" in lines
    # Its parameters are the run's own.
    code, out, lines = end(
        start(redis_server.url, *words[:2], "--run-id", "r", "--or-resume", "--detach")
    )
    assert (code, out) == (0, "r\n"), lines
    assert lines[-1].startswith("run r: success after")
    assert set(starts(tmp_path).values()) == {1}


def test_a_dead_end_names_what_helps(redis_server: RedisServer, client: Client) -> None:
    """What failed and may run at most once is decided, not resumed."""
    with redis_server.client() as redis:
        store = RedisRunStore(redis, "r")
        store.create_run(
            RunSpec("r", "tests.support.tasks.recording:effects", {}, "o"),
            "made",
            [Task("pay", "m:f", effects="at_most_once")],
        )
        epoch = store.acquire_lease("anna", 60.0)
        claim(store, epoch, "pay", "t1")
        finish(store, epoch, final("pay", "t1", "failure", started=True))
        store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)
        store.release_lease("anna", epoch)
    words = ["tests.support.tasks.recording:effects", "--run-id", "r", "--or-resume", "--detach"]
    told = submit(redis_server, *words)
    assert told.exit_code == 1
    assert "distflow resolve r pay" in told.stderr
    assert "distflow resume" not in told.stderr


def test_what_is_another_run(redis_server: RedisServer, client: Client, tmp_path: Path) -> None:
    """Another workflow, or another parameter, under this id: refused, and the run stays."""
    words = [*dag(tmp_path / "log"), "--detach", "--or-resume"]
    assert submit(redis_server, *words, "--run-id", "r").exit_code == 0
    made = client.run("r").info().created_at
    again = submit(redis_server, *words, "--run-id", "r")
    assert again.exit_code == 0
    other = submit(redis_server, *held(tmp_path), "--run-id", "r", "--or-resume")
    assert other.exit_code == 2
    assert "run r is of workflow tests.support.tasks.recording:random_dag, not" in other.stderr
    changed = submit(redis_server, *words, "-p", "seed=9", "--run-id", "r")
    assert changed.exit_code == 2
    assert "has another value for parameter 'seed': leave it out to continue" in changed.stderr
    assert client.run("r").info().created_at == made
    for options in ([], ["--run-id", "r", "--dry-run"]):
        refused = submit(redis_server, *words, *options)
        assert refused.exit_code == 2
        assert "--or-resume needs the --run-id to continue, and no --dry-run" in refused.stderr
