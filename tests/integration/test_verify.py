"""Verify hooks on stock workers: they are asked what became of a charge whose worker was killed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.status import RunStatus
from distflow.runs.client import Client
from distflow.runs.decisions import who_am_i
from distflow.runs.run import Run
from tests.conftest import StartWorker
from tests.support.cli import run_cli
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording, verifying
from tests.support.wait import wait_for

#: Lost workers are found soon. A beat comes each second: one that is late alone loses nothing.
BRISK = CoordinatorSettings(stale_seconds=0.8, watch_seconds=0.2, network_seconds=0.3)


@pytest.fixture
def client(redis_server: RedisServer) -> Client:
    """Coordinates briskly."""
    return Client(redis_server.client(), settings=BRISK)


def calls(log: Path, kind: str) -> Counter[str]:
    """How often charges began, or hooks were asked, by task."""
    return Counter(words[1] for words in recording.lines(log) if words[0] == kind)


def decisions(run: Run, task: str) -> list[tuple[str, str]]:
    """What was decided of a task, in order."""
    return [
        (entry.status, entry.note)
        for entry in run.store.read_history(task)
        if entry.kind in ("resolved", "asked")
    ]


def history_of(url: str, run: Run) -> list[str]:
    """What ``distflow show`` says of what became of ``waits``."""
    shown = run_cli(url, "show", run.run_id, "waits").stdout
    return shown.partition("history\n")[2].splitlines()


def test_hooks_decide(
    client: Client, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Done and failed are outcomes with no second charge; not done runs again; a hook that raises,
    talks or cannot tell leaves the decision to a person. All of it is in the history.
    """
    log = tmp_path / "log"
    for _ in range(2):
        start_worker(redis_server.url)
    answers = ["done", "failed", "not_done", "raises_not_done", "cannot", "raises", "talks"]
    run = client.submit(verifying.charges(answers, str(log)))
    assert run.wait(60) == RunStatus.BLOCKED
    results = run.results()
    assert {name: results[name].status.value for name in answers} == {
        "done": "success",
        "failed": "failure",
        "not_done": "success",
        "raises_not_done": "success",
        "cannot": "unknown",
        "raises": "unknown",
        "talks": "unknown",
    }
    assert results["done"].data == results["after done"].data == "job-1"
    assert (results["done"].attempt, results["failed"].started) == (1, True)
    assert results["failed"].error == "the card was refused"
    assert results["not_done"].data == "charged at attempt 2"
    assert results["after failed"].status == "skipped"
    assert "after cannot" not in results
    assert calls(log, "charge") == {name: 2 if name.endswith("not_done") else 1 for name in answers}
    # What the first attempt saved is there for the second, and for the hook.
    assert ["charge", "not_done", "2", "job-1"] in recording.lines(log)
    assert ["verify", "not_done", "1", "job-1"] in recording.lines(log)
    assert calls(log, "verify") == dict.fromkeys(answers, 1)
    assert decisions(run, "not_done") == [
        ("retry", "it was not done: the gateway has no such job"),
    ]
    assert decisions(run, "failed") == [("fail", "the card was refused")]
    assert decisions(run, "cannot") == [("undecided", "it cannot tell")]
    assert decisions(run, "raises") == [
        ("undecided", "it raised LookupError: the gateway does not answer")
    ]
    assert "it returned a str" in decisions(run, "talks")[0][1]


def test_what_kills_its_worker_ends(
    client: Client, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A hook that does is asked four times, and its charge never starts again. A charge that does,
    and that was not done each time, is run three times more. Then a person decides.
    """
    log = tmp_path / "log"
    for _ in range(2):
        start_worker(redis_server.url)
    run = client.submit(verifying.charges(["dies", "not_done"], str(log), deaths=99))
    assert run.wait(60) == RunStatus.BLOCKED
    assert calls(log, "verify") == {"dies": 4, "not_done": 4}
    assert calls(log, "charge") == {"dies": 1, "not_done": 4}
    assert "lost its worker each time" in decisions(run, "dies")[0][1]
    said = decisions(run, "not_done")
    assert [decision for decision, _note in said] == ["retry", "retry", "retry", "undecided"]
    assert "after 3 such rounds" in said[-1][1]


def test_a_person_is_faster_than_the_hook(
    client: Client, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """While a hook is asked the run is not blocked. What a person decides meanwhile stands, and
    the hook's answer is none.
    """
    log = tmp_path / "log"
    worker = start_worker(redis_server.url)
    run = client.submit(verifying.charges(["waits"], str(log)))
    wait_for(lambda: calls(log, "verify"), 30, "the hook to be asked")
    assert run.status() == RunStatus.RUNNING
    beats = run.store.read_beats
    wait_for(lambda: [beat.task for beat in beats().values()] == ["waits"], 10, "a beat")
    status = run_cli(redis_server.url, "status", run.run_id).stdout
    assert (
        f"waits for  the verify hook of waits, which {worker.name} is asking; or a decision"
        in status
    )
    shown = run_cli(redis_server.url, "show", run.run_id, "waits").stdout
    assert "verify     tests.support.tasks.verifying:look_up" in shown
    assert 'saved      {"job": "job-1"}' in shown
    run.resolve("waits", "done", "by hand")
    verifying.open_gates(log)
    assert run.wait(30) == RunStatus.SUCCESS
    assert run.results()["after waits"].data == "by hand"
    assert decisions(run, "waits") == [("done", "")]
    (decided,) = [line for line in history_of(redis_server.url, run) if " resolved" in line]
    assert f"resolved, attempt 1: done, by {who_am_i()}" in decided


def test_a_resume_asks_again(
    client: Client, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Whoever leads the run next asks the hook once more: it may know by then."""
    log = tmp_path / "log"
    start_worker(redis_server.url)
    run = client.submit(verifying.charges(["waits"], str(log)))
    wait_for(lambda: calls(log, "verify"), 30, "the hook to be asked")
    run.pause()
    assert run.wait(30) == RunStatus.PAUSED
    # The hook that is being asked goes on, and its answer counts.
    verifying.open_gates(log)
    wait_for(lambda: run.info().counts["success"], 30, "the answer")
    run.resume()
    assert run.wait(30) == RunStatus.SUCCESS
    assert calls(log, "charge") == {"waits": 1}
