"""Promises 1, 3 and 4 under SIGKILL: of the coordinator, of workers, of Redis itself.

The witness is a file that the tasks append to: not what Redis says, but what was done.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from redis import Redis

from distflow.runs.client import Client
from tests.conftest import StartWorker
from tests.support.cli import kill_cli, run_cli, start_cli, status_of
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording
from tests.support.wait import wait_for

#: How often the coordinator of a 200-task run is killed; `make chaos` asks for 20.
KILLS = int(os.environ.get("DISTFLOW_KILLS", "2"))

FLOWS = "tests.support.tasks.recording"


def starts(log: Path) -> Counter[str]:
    """How often each task began."""
    return Counter(words[0] for words in recording.lines(log))


def done(url: str, run_id: str) -> int:
    """Tasks that succeeded so far; 0 before there is a run."""
    with Redis.from_url(url) as client:
        return int(client.hget(f"distflow:{{{run_id}}}:meta", "n_success") or 0)


@pytest.mark.parametrize("seed", range(KILLS))
def test_coordinator_killed_anywhere(
    seed: int, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A 200-task DAG whose coordinator is killed at a random moment: a resume ends it with 0, and
    every task ran exactly once.
    """
    url, log = redis_server.url, tmp_path / "log"
    for _ in range(2):
        start_worker(url)
    words = ["submit", f"{FLOWS}:random_dag", "--run-id", "killed"]
    words += ["-p", f"seed={seed}", "-p", f"log={log}"]
    coordinator = start_cli(url, *words)
    moment = random.Random(seed).randrange(1, 190)
    wait_for(lambda: done(url, "killed") >= moment, 60, f"{moment} tasks to be done")
    kill_cli(coordinator)
    before = done(url, "killed")
    resumed = run_cli(url, "resume", "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert before < 200, "the run ended before the kill: it shows nothing"
    assert starts(log) == {f"t{number}": 1 for number in range(200)}


def test_redis_killed_and_started_again(
    fresh_redis: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """SIGKILL to a Redis that writes every command to disk, and to all that hang on it: after its
    restart a resume runs nothing that had succeeded.
    """
    url, log = fresh_redis.url, tmp_path / "log"
    workers = [start_worker(url) for _ in range(2)]
    words = ["submit", f"{FLOWS}:random_dag", "--run-id", "r", "-p", f"log={log}"]
    words += ["-p", "size=100", "-p", "seconds=0.02"]
    coordinator = start_cli(url, *words)
    wait_for(lambda: done(url, "r") >= 20, 60, "20 tasks to be done")
    fresh_redis.kill()
    for worker in workers:
        worker.kill()
    kill_cli(coordinator)
    fresh_redis.restart()
    succeeded = {
        name
        for name, result in Client(fresh_redis.client()).run("r").results().items()
        if result.status == "success"
    }
    noted = starts(log)
    assert succeeded <= set(noted)
    for _ in range(2):
        start_worker(url)
    resumed = run_cli(url, "resume", "r")
    # A task that was at work when its worker died was lost: an attempt that failed.
    while resumed.returncode == 1:
        resumed = run_cli(url, "resume", "r")
    assert resumed.returncode == 0, resumed.stderr
    after = starts(log)
    assert all(after[name] == noted[name] for name in succeeded)
    assert set(after) == {f"t{number}" for number in range(100)}
    assert sum(after.values()) <= 100 + len(workers)


def test_every_worker_killed(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """All workers die, others come: the coordinator goes on by itself, and what had succeeded does
    not run again.
    """
    url, log = redis_server.url, tmp_path / "log"
    workers = [start_worker(url) for _ in range(2)]
    words = ["submit", f"{FLOWS}:random_dag", "--run-id", "w", "-p", f"log={log}"]
    words += ["-p", "size=60", "-p", "seconds=0.02"]
    coordinator = start_cli(url, *words)
    wait_for(lambda: done(url, "w") >= 10, 60, "10 tasks to be done")
    for worker in workers:
        worker.kill()
    for _ in range(2):
        start_worker(url)
    coordinator.communicate(timeout=60)
    status = status_of(url, "w")
    assert status["tasks"]["running"] == 0
    while status["status"] != "success":
        resumed = run_cli(url, "resume", "w")
        assert resumed.returncode in (0, 1), resumed.stderr
        status = status_of(url, "w")
    after = starts(log)
    assert set(after) == {f"t{number}" for number in range(60)}
    assert sum(after.values()) <= 60 + len(workers)


def test_worker_killed_inside_a_charge(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """At most once: the charge whose worker died is `unknown`, the run waits for a person with
    exit code 3, nothing runs behind it, and no resume starts it again.
    """
    url, log, gate = redis_server.url, tmp_path / "log", tmp_path / "gate"
    worker = start_worker(url)
    words = [
        "submit",
        f"{FLOWS}:payment",
        "--run-id",
        "p",
        "-p",
        f"log={log}",
        "-p",
        f"gate={gate}",
    ]
    coordinator = start_cli(url, *words)
    wait_for(lambda: starts(log)["charge"], 30, "the charge to begin")
    worker.kill()
    start_worker(url)
    out, err = coordinator.communicate(timeout=30)
    assert coordinator.returncode == 3, (out, err)
    assert "charge" in err
    gate.touch()
    again = run_cli(url, "resume", "p")
    assert again.returncode == 3, again.stderr
    assert starts(log) == {"prepare": 1, "charge": 1}
    decided = run_cli(url, "resolve", "p", "charge", "--done", '"charged 7"')
    assert decided.returncode == 0, decided.stderr
    ended = run_cli(url, "resume", "p")
    assert ended.returncode == 0, ended.stderr
    assert recording.lines(log)[-1] == ["receipt", "charged", "7"]
    assert starts(log) == {"prepare": 1, "charge": 1, "receipt": 1}


def test_late_outcome_of_an_unknown_task(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A frozen worker that was given up comes back and tells how the charge really ended: the very
    token that was lost is believed.
    """
    url, log, gate = redis_server.url, tmp_path / "log", tmp_path / "gate"
    worker = start_worker(url)
    words = [
        "submit",
        f"{FLOWS}:payment",
        "--run-id",
        "z",
        "-p",
        f"log={log}",
        "-p",
        f"gate={gate}",
    ]
    coordinator = start_cli(url, *words)
    wait_for(lambda: starts(log)["charge"], 30, "the charge to begin")
    # The parent dies and the horse is frozen: to everybody else the worker is gone.
    horses = worker.horses()
    worker.freeze()
    with redis_server.client() as client:
        client.client_kill_filter(_type="pubsub")
    coordinator.communicate(timeout=30)
    assert coordinator.returncode == 3
    assert horses
    gate.touch()
    worker.thaw()
    wait_for(lambda: status_of(url, "z")["tasks"]["unknown"] == 0, 30, "the late outcome")
    start_worker(url)
    ended = run_cli(url, "resume", "z")
    assert ended.returncode == 0, ended.stderr
    assert starts(log) == {"prepare": 1, "charge": 1, "charged": 1, "receipt": 1}


@pytest.mark.parametrize(
    ("effects", "lost", "code"), [("normal", 0, 1), ("normal", 1, 0), ("idempotent", 0, 0)]
)
def test_worker_killed_in_another_task(
    effects: str,
    lost: int,
    code: int,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    """A lost `normal` task is a failed attempt unless its Retry allows for it; an `idempotent` one
    is dispatched again at once, without using an attempt.
    """
    url, log, gate = redis_server.url, tmp_path / "log", tmp_path / "gate"
    worker = start_worker(url)
    words = [
        "submit",
        f"{FLOWS}:holding",
        "--run-id",
        "h",
        "-p",
        f"log={log}",
        "-p",
        f"gate={gate}",
    ]
    words += ["-p", f"effects={effects}", "-p", f"lost={lost}"]
    coordinator = start_cli(url, *words)
    wait_for(lambda: starts(log)["hold"], 30, "the task to begin")
    worker.kill()
    gate.touch()
    start_worker(url)
    out, err = coordinator.communicate(timeout=30)
    assert coordinator.returncode == code, (out, err)
    attempts = [words[1] for words in recording.lines(log) if words[0] == "hold"]
    assert attempts == ["1"] * (1 if code else 2)


def test_at_most_once_and_not_done(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """NotDone is retried; any other error of an at_most_once task is a failure that stays, over
    every resume.
    """
    url, log = redis_server.url, tmp_path / "log"
    start_worker(url)
    first = run_cli(url, "submit", f"{FLOWS}:effects", "--run-id", "e", "-p", f"log={log}")
    assert first.returncode == 1, first.stderr
    assert run_cli(url, "resume", "e").returncode == 1
    assert starts(log) == {"careful": 3, "reckless": 1}
