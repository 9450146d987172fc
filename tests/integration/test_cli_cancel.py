"""Runs that are stopped: by a signal, pause, cancel or their timeout."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from distflow.errors import InvalidInput
from tests.conftest import StartWorker
from tests.integration.cli_runs import (
    StartCli,
    begun,
    end,
    held,
    run_of,
    started_commands,
    starts,
)
from tests.support.cli import kill_cli, run_cli
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording
from tests.support.wait import wait_for

#: What nohup, and & in a script, let a command ignore; and what nothing should.
IGNORED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)


@pytest.fixture
def start() -> Iterator[StartCli]:
    """Starts commands, and ends them with the test."""
    with started_commands() as start_command:
        yield start_command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupted_and_resumed(
    number: signal.Signals,
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """A signal leaves the run resumable: 130, the last line says how, and the resume says what it
    keeps and ends with 0; the task that was at work ran once.
    """
    start_worker(redis_server.url)
    process = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "i")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    process.send_signal(number)
    code, _out, lines = end(process)
    assert (code, lines[-1]) == (130, "continue: distflow resume i")
    assert run_of(redis_client, "i").status() == "interrupted"
    resumed = start(redis_server.url, "resume", "i")
    assert resumed.stderr is not None
    assert resumed.stderr.readline() == "resume i: 0 successes kept, 1 at work, 1 not run yet\n"
    (tmp_path / "gate").touch()
    assert end(resumed)[0] == 0
    assert starts(tmp_path)["hold"] == 1


def test_what_was_started_in_the_background_outlives_the_terminal(
    redis_server: RedisServer, start_worker: StartWorker, start: StartCli, tmp_path: Path
) -> None:
    """With nohup, or with & in a script: neither the hang-up nor the Ctrl-C is for it. SIGTERM is,
    also where that was ignored by whoever started it.
    """
    start_worker(redis_server.url)
    words = ["submit", *held(tmp_path), "--run-id", "i"]
    process = start(redis_server.url, *words, ignored=IGNORED)
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    code, _out, lines = end(process)
    assert (code, lines[-1]) == (143, "continue: distflow resume i")
    assert lines.count("handing the run over; a second signal exits at once") == 1


def test_a_container_that_is_stopped_hands_its_run_over(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """SIGTERM: 143, the run is nobody's and still running, and a service that is there goes on with
    it before a lease could lapse; the task that was at work ran once.
    """
    start_worker(redis_server.url)
    lease = {"DISTFLOW_LEASE_SECONDS": "60"}
    process = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "i", env=lease)
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    start(redis_server.url, "coordinator")
    run = run_of(redis_client, "i")
    wait_for(run.engine.backend.coordinators, 30, "the service")
    process.send_signal(signal.SIGTERM)
    code, _out, lines = end(process)
    assert (code, lines[-1]) == (143, "a coordinator will lead it: distflow watch i")
    assert " running after " in lines[-2]
    wait_for(lambda: run.info().coordinator is not None, 20, "another to lead it")
    (tmp_path / "gate").touch()
    wait_for(lambda: run.status() == "success", 30, "its end")
    assert starts(tmp_path)["hold"] == 1


def test_second_interrupt_ends_at_once(
    fresh_redis: RedisServer, start_worker: StartWorker, start: StartCli, tmp_path: Path
) -> None:
    """Where Redis hangs the first Ctrl-C cannot be written down; the second ends the command."""
    start_worker(fresh_redis.url)
    process = start(fresh_redis.url, "submit", *held(tmp_path), "--run-id", "i")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    fresh_redis.pause()
    try:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        wait_for(lambda: "interrupted" in process.stderr.readline(), 20)  # type: ignore[union-attr]
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130
    finally:
        fresh_redis.proceed()


def test_pause_and_resume(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """Paused, a run lets its task end, starts no other, and its submit ends with 4; the resume
    ends with 0.
    """
    start_worker(redis_server.url)
    process = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "p")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    paused = run_cli(redis_server.url, "pause", "p", "--json")
    assert (paused.returncode, json.loads(paused.stdout)["status"]) == (0, "paused")
    (tmp_path / "gate").touch()
    code, _out, lines = end(process)
    assert (code, lines[-1]) == (4, "continue: distflow resume p")
    assert [words[0] for words in recording.lines(tmp_path / "log")] == ["hold"]
    assert run_cli(redis_server.url, "resume", "p").returncode == 0


def test_cancel_a_led_run(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """Its coordinator starts nothing more and ends with 1; the command waits for that and ends
    with 0.
    """
    start_worker(redis_server.url)
    process = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "c")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    canceller = start(redis_server.url, "cancel", "c")
    wait_for(lambda: run_of(redis_client, "c").status() == "cancelling", 20, "the cancellation")
    (tmp_path / "gate").touch()
    code, _out, lines = end(process)
    assert code == 1
    assert any(line.startswith("run c: cancelled (cancelled by ") for line in lines)
    assert end(canceller)[0] == 0
    assert [words[0] for words in recording.lines(tmp_path / "log")] == ["hold"]


@pytest.mark.parametrize("effects", ["normal", "at_most_once"])
def test_the_grace_of_a_cancellation_counts_for_whoever_leads(
    effects: str,
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """The coordinator, another process with a grace of 10 s of its own, kills the task at work at
    once where the one who cancels says so; one that may not run twice is unknown then. Nobody can
    lengthen the grace again.
    """
    worker = start_worker(redis_server.url)
    words = [*held(tmp_path), "-p", f"effects={effects}", "--run-id", "g"]
    process = start(redis_server.url, "submit", *words)
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    (horse,) = worker.horses()
    run = run_of(redis_client, "g")
    run.cancel()
    run.cancel(grace_seconds=0)
    run.cancel(grace_seconds=60)
    wait_for(lambda: horse not in worker.horses(), 3, "the work horse to be gone")
    code, outcome = (1, "cancelled") if effects == "normal" else (3, "unknown")
    assert end(process)[0] == code
    assert run.results()["hold"].status == outcome
    with pytest.raises(InvalidInput, match="grace_seconds must be seconds, 0 or more, not -1"):
        run.cancel(grace_seconds=-1)


def test_cancel_leads_where_nobody_does(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """After its coordinator's death the command carries the cancellation out itself: with a grace
    of 0 the task at work is killed.
    """
    start_worker(redis_server.url)
    leader = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "n")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    kill_cli(leader)
    done = run_cli(redis_server.url, "cancel", "n", "--grace", "0", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["status"], document["tasks"]["cancelled"]) == ("cancelled", 2)
    assert [words[0] for words in recording.lines(tmp_path / "log")] == ["hold"]
