"""Which failures are tried again, in this process and on RQ workers; and that each is told why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from distflow import Retry, Workflow
from tests.conftest import StartWorker
from tests.integration.cli_runs import StartCli, started_commands
from tests.support.cli import run_cli
from tests.support.redis_server import RedisServer
from tests.support.stages import Stage
from tests.support.tasks import retrying
from tests.support.wait import wait_for


@pytest.fixture
def start() -> Iterator[StartCli]:
    """Starts commands, and ends them with the test."""
    with started_commands() as start_command:
        yield start_command


def test_each_failure_by_its_kind(stage: Stage) -> None:
    """Classes, ``RetryAfter`` and ``GiveUp`` decide; subclasses count, by the class or its name."""
    dag = Workflow("kinds")
    chosen: dict[str, Retry] = {
        "busy": Retry(1, on=(ConnectionError, KeyError)),
        "named": Retry(1, on=f"{retrying.__name__}:Busy"),
        "spared": Retry(1, not_on=ConnectionError),
        "later": Retry(1, delay=600.0, on=KeyError),
        "never": Retry(5),
        "wrong": Retry(5, on=ConnectionError),
        "listed": Retry(delays=[0.01, 600.0]),
    }
    kinds = {"named": "busy", "spared": "busy", "listed": "busy"}
    for name, retry in chosen.items():
        dag.add(name, retrying.fail_with, (kinds.get(name, name),), retry=retry)
    played = stage.play(dag)
    statuses = played.statuses()
    failed = {name for name, status in statuses.items() if status == "failure"}
    assert failed == {"spared", "never", "wrong"}
    calls = {name: len(stage.lines(name)) for name in chosen}
    assert calls == {name: 1 if name in failed else 2 for name in chosen}
    assert played.results["never"].error == "GiveUp: there is no such customer"
    told = {n.task: n.message for n in played.notices if n.kind == "task_retry"}
    assert told["busy"].startswith("Busy: come back later; it runs again")
    assert told["later"].startswith("RetryAfter: it asked to be tried again after 0.01 s; ")


def test_a_wait_says_what_failed(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """Where a retry is shown its error is: as it happens, in ``status`` and in ``show``."""
    start_worker(redis_server.url)
    words = (f"{retrying.__name__}:waiting", "-p", f"log={tmp_path / 'log'}", "--run-id", "w")
    submitted = start(redis_server.url, "submit", *words)
    wait_for(lambda: redis_client.hexists("distflow:{w}:progress", "patient"), 20, "the wait")
    status = run_cli(redis_server.url, "status", "w").stdout
    (line,) = [line for line in status.splitlines() if line.startswith("waiting")]
    assert line.endswith("after Busy: come back later")
    assert "Busy: come back later" in run_cli(redis_server.url, "show", "w", "patient").stdout
    run_cli(redis_server.url, "cancel", "w", "--grace", "0")
    _out, err = submitted.communicate(timeout=30)
    assert "retry: patient: attempt 1 failed: Busy: come back later; it runs again in" in err
