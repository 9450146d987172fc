"""Bytes that somebody else has put into Redis: nothing of them is executed."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distflow import Client, connect
from distflow.core.status import RunStatus
from tests.conftest import StartWorker
from tests.integration.cli_runs import dag, end, started_commands
from tests.support.cli import command, run_cli
from tests.support.redis_server import RedisServer
from tests.support.tasks import guarded
from tests.support.tasks.recording import lines, small_dag
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING

SAFE = ("-S", "distflow_worker.SafeSerializer")
SETTINGS = ("-c", "distflow_worker.settings")
PATTERNS = guarded.__name__


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Client]:
    """Of the shared server."""
    with connect(redis_server.url).redis as redis:
        yield Client(redis)


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, witness: Path) -> None:
        self._witness = witness

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._witness}",)


@pytest.fixture
def attack(tmp_path: Path) -> bytes:
    """A pickle that leaves a witness, as it did here: the test can see it if it is loaded."""
    witness = tmp_path / "witness"
    data = pickle.dumps(Attack(witness))
    pickle.loads(data)
    witness.unlink()
    return data


def witnessed(tmp_path: Path) -> bool:
    """Whether the attack was loaded by anybody."""
    return (tmp_path / "witness").exists()


def enqueue(redis: Any, job: str, data: bytes, **more: str) -> None:
    """Put a job with these data into RQ's queue, as anybody may who can write to Redis."""
    now = "2026-01-01T00:00:00Z"
    fields = {"data": zlib.compress(data), "created_at": now, "origin": "default"}
    redis.hset(f"rq:job:{job}", mapping={**fields, **more})
    redis.rpush("rq:queue:default", job)


def poison(redis: Any, attack: bytes) -> int:
    """Replace everything that RQ would unpickle; returns in how many jobs."""
    jobs = list(redis.scan_iter("rq:job:*"))
    for job in jobs:
        redis.hset(job, mapping={"data": zlib.compress(attack), "meta": attack, "result": attack})
        name = job.decode().rpartition(":")[2]
        redis.xadd(f"rq:results:{name}", {"type": 1, "return_value": attack})
    return len(jobs)


@pytest.mark.parametrize("worker_class", [FORKING, FAST])
def test_allowed_functions_only(
    worker_class: str,
    client: Client,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    """A worker with ``DISTFLOW_ALLOW`` runs what it allows; each other task, which no other worker
    takes, is a failure that names function, host and patterns, and nothing is imported for it.
    """
    client.settings = replace(client.settings, misfit_seconds=0.5)
    log, forbidden = tmp_path / "log", tmp_path / "forbidden"
    allow = {"DISTFLOW_ALLOW": PATTERNS, "FORBIDDEN_WITNESS": str(forbidden)}
    options = (*SAFE, *SETTINGS)
    start_worker(redis_server.url, worker_class=worker_class, extra_args=options, env=allow)
    run = client.submit(guarded.temptations(str(log)))
    assert run.wait(timeout=40) == RunStatus.FAILURE
    results = run.results()
    good = results.pop("good")
    assert (good.status.value, good.data) == ("success", "done")
    assert set(results) == {"module", "imported", "unnamed", "condition", "import"}
    for name, result in results.items():
        assert result.status.value == "failure", name
        assert str(result.error).startswith("NotAllowed: function "), name
        assert f"DISTFLOW_ALLOW={PATTERNS!r}" in str(result.error)
        assert "worker " in str(result.error), name
    assert lines(log) == [["work"]]
    assert not Path(f"{log}.out").exists()
    assert not forbidden.exists()


def test_the_front_that_trusts_nobody(
    client: Client, redis_server: RedisServer, tmp_path: Path, attack: bytes
) -> None:
    """``distflow worker --allow`` imports and unpickles as little."""
    client.settings = replace(client.settings, misfit_seconds=0.5)
    with started_commands() as start:
        enqueue(client.redis, "evil", attack)
        start(redis_server.url, "worker", "--allow", PATTERNS)
        run = client.submit(guarded.temptations(str(tmp_path / "log")))
        assert run.wait(timeout=40) == RunStatus.FAILURE
    done = [name for name, result in run.results().items() if result.status.value == "success"]
    assert done == ["good"]
    assert not witnessed(tmp_path)
    assert client.redis.zscore("rq:failed:default", "evil")


@pytest.mark.parametrize(
    ("words", "env"), [(("--allow", "x,,y"), {}), ((), {"DISTFLOW_ALLOW": " "})]
)
def test_patterns_that_are_none(
    redis_server: RedisServer, words: tuple[str, ...], env: dict[str, str]
) -> None:
    """An empty pattern is a mistake, and one line."""
    done = run_cli(redis_server.url, "worker", "--burst", *words, env=env)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "has an empty pattern" in done.stderr


@pytest.mark.parametrize("worker_class", [FORKING, FAST])
def test_jobs_of_strangers(
    worker_class: str,
    client: Client,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    attack: bytes,
) -> None:
    """A worker with SafeSerializer refuses pickles that call, plain ones that name a function to
    call, and what is no job; its log says so, and it goes on with distflow's jobs.
    """
    worker = start_worker(redis_server.url, worker_class=worker_class, extra_args=SAFE)
    touch = (f"touch {tmp_path / 'witness'}",)
    enqueue(client.redis, "evil-1", attack)
    enqueue(client.redis, "evil-2", pickle.dumps(("os.system", None, touch, {})))
    enqueue(client.redis, "evil-3", pickle.dumps("distflow_worker.batch.run_batch"))
    run = client.submit(small_dag, {"log": str(tmp_path / "log"), "size": 2})
    assert run.wait(timeout=40) == RunStatus.SUCCESS
    assert client.redis.zcard("rq:failed:default") == 3
    assert "refused: a pickle with STACK_GLOBAL" in worker.log()
    assert "refused: a job that calls 'os.system'" in worker.log()
    assert not witnessed(tmp_path)


@pytest.mark.parametrize("worker_class", [FORKING, FAST])
def test_callbacks_of_strangers(
    worker_class: str,
    client: Client,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    attack: bytes,
) -> None:
    """With SafeJob nothing is imported for the callbacks that a job names, and no webhook of it is
    called: the worker goes on with distflow's jobs.
    """
    forbidden = tmp_path / "forbidden"
    start_worker(
        redis_server.url,
        worker_class=worker_class,
        extra_args=(*SAFE, "-j", "distflow_worker.SafeJob"),
        env={"FORBIDDEN_WITNESS": str(forbidden)},
    )
    callback = "tests.support.tasks.forbidden.always"
    names = ("success_callback_name", "failure_callback_name", "stopped_callback_name")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        webhooks = json.dumps([{"url": url, "job_status": "failed", "timeout": 1}])
        calling = dict.fromkeys(names, callback)
        enqueue(client.redis, "evil", attack, webhooks=webhooks, **calling)
        run = client.submit(small_dag, {"log": str(tmp_path / "log"), "size": 2})
        assert run.wait(timeout=40) == RunStatus.SUCCESS
        assert client.redis.zscore("rq:failed:default", "evil")
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not forbidden.exists()


def test_nothing_is_unpickled_but_by_workers(
    client: Client,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    attack: bytes,
) -> None:
    """Whoever coordinates or looks at a run loads no pickle: not the jobs that wait, not those that
    failed, not RQ's results.
    """
    looks = ("status run --tasks", "show run t0", "runs", "graph --run run", "export run -o -")
    with started_commands() as start:
        leader = start(redis_server.url, "submit", *dag(tmp_path / "log"), "--run-id", "run")
        wait_for(lambda: poison(client.redis, attack), 20, "a job that waits")
        watcher = start(redis_server.url, "watch", "run")
        start_worker(redis_server.url, extra_args=SAFE)
        wait_for(lambda: client.redis.zcard("rq:failed:default"), 20, "a poisoned job to fail")
        poison(client.redis, attack)
        for words in looks:
            done = subprocess.run(
                command(*words.split(), "--redis", redis_server.url),
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        for process in (leader, watcher):
            code, _out, told = end(process)
            assert code == 0, "\n".join(told)
    assert not witnessed(tmp_path)
