"""A Run in Python: it resumes, follows and takes over as the command line does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from distflow import Workflow
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.status import RunStatus
from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording
from tests.support.wait import wait_for
from tests.support.worker_process import ROOT


def test_resume_takes_over_from_a_dead_coordinator(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A resume that comes before the lease of a dead coordinator has lapsed waits for that, and
    then leads the run to its end.
    """
    start_worker(redis_server.url)
    settings = CoordinatorSettings(lease_seconds=1.0)
    client = Client(redis_server.client(), settings=settings)
    params = {"log": str(tmp_path / "log"), "size": 5}
    run = client.create(recording.small_dag, params)
    run.store.acquire_lease("a coordinator that dies", 1.0)
    run.resume()
    assert run.wait(30) == RunStatus.SUCCESS
    assert len(recording.lines(tmp_path / "log")) == 5


def test_two_resumes_at_once_lead_once(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The one that comes second follows the first: every task runs once."""
    start_worker(redis_server.url)
    client = Client(redis_server.client())
    params = {"log": str(tmp_path / "log"), "size": 10}
    first = client.create(recording.small_dag, params)
    second = client.run(first.run_id)
    first.resume()
    second.resume()
    assert first.wait(30) == second.wait(30) == RunStatus.SUCCESS
    assert len(recording.lines(tmp_path / "log")) == 10


def test_a_script_that_ends_leaves_its_run(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A process that submits and does not wait says how to go on, in one line, and releases the
    lease: a resume does not wait for that to lapse. One that waited says nothing.
    """
    script = (
        "import sys\n"
        "from distflow import connect\n"
        "from tests.support.tasks.recording import small_dag\n"
        "url, log, wait = sys.argv[1:]\n"
        "run = connect(url).submit(small_dag, {'log': log}, run_id='left' + wait)\n"
        "if wait:\n"
        "    run.wait()\n"
    )

    def play(wait: str) -> str:
        words = [sys.executable, "-c", script, redis_server.url, str(tmp_path / "log"), wait]
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stderr

    said = play("").splitlines()
    assert len(said) == 1
    assert said[0].endswith("continue it with `distflow resume left`")
    client = Client(redis_server.client())
    run = client.run("left")
    assert run.info().coordinator is None
    start_worker(redis_server.url)
    run.resume()
    assert run.wait(30) == RunStatus.SUCCESS
    assert play("2") == ""


def test_the_snapshot_of_a_charge_at_work_is_unknown(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A run that is hydrated from the snapshot of one whose charge is at work does not charge: for
    it the charge is unknown.
    """
    log, gate = tmp_path / "log", tmp_path / "gate"
    start_worker(redis_server.url)
    client = Client(redis_server.client())
    params = {"log": str(log), "gate": str(gate)}
    first = client.submit(recording.payment, params)
    wait_for(lambda: any(words[0] == "charge" for words in recording.lines(log)), 20, "the charge")
    snapshot = first.snapshot()
    assert snapshot["charge"].status == "unknown"
    second = client.submit(recording.payment, params, snapshot=snapshot)
    assert second.wait(30) == RunStatus.BLOCKED
    gate.touch()
    assert first.wait(30) == RunStatus.SUCCESS
    assert [words[0] for words in recording.lines(log)].count("charge") == 1


def test_paused_in_full_swing(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """From the moment at which a run is paused no worker claims anything, though jobs wait and are
    at work; what runs ends well, and each task has run once when it has gone on.
    """
    workers = [start_worker(redis_server.url) for _ in range(2)]
    log = tmp_path / "log"
    client = Client(redis_server.client())
    run = client.submit(recording.random_dag(size=200, log=str(log), seconds=0.02))
    wait_for(lambda: len(recording.lines(log)) > 20, 30, "tasks to run")
    run.pause()
    paused = len(recording.lines(log))
    assert run.wait(30) == RunStatus.PAUSED
    begun = recording.lines(log)
    # Each worker had claimed one at most that had not begun.
    assert paused <= len(begun) <= paused + len(workers) < 200
    assert run.info().counts["success"] == len(begun)
    assert run.info().counts["running"] == 0
    run.resume()
    assert run.wait(60) == RunStatus.SUCCESS
    assert len(recording.lines(log)) == 200


def test_what_was_submitted_is_what_runs(
    redis_server: RedisServer, start_worker: StartWorker
) -> None:
    """Arguments that the caller changes afterwards, and a run that took the place of the one that
    was made, are not mixed up with what this process remembers.
    """
    start_worker(redis_server.url)
    client = Client(redis_server.client())

    def create(argument: Any, **options: Any) -> Run:
        workflow = Workflow("told")
        workflow.add("tell", "tests.support.tasks.recording:echo", args=[argument])
        return client.create(workflow, **options)

    words, letters = ["as", "written"], {"a"}
    listed, lettered, first = create(words), create(letters), create("first", run_id="same")
    words.append("too late")
    letters.add("too late")
    client.store("same").delete_run(force=True)
    create("second", run_id="same")
    for made, told in ((listed, ["as", "written"]), (lettered, {"a"}), (first, "second")):
        assert made.executor().lead() == RunStatus.SUCCESS
        assert made.results()["tell"].data == [told]
