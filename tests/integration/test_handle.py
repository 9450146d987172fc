"""A Run in Python: it resumes, follows and takes over as the command line does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from distflow import Snapshot, Workflow
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.model import Task
from distflow.core.run import RunSpec
from distflow.core.status import RunStatus
from distflow.errors import InvalidInput, RunExists, SnapshotInvalid
from distflow.runs.client import Client
from distflow.runs.run import Run
from distflow.runs.run_writer import write_run
from distflow.runs.transfer import import_run
from distflow.store.redis.store import RedisRunStore
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.stores import make_spec
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


def test_a_failure_is_told_with_its_reason(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The event of a failed task says why, so that a log is enough to know."""
    start_worker(redis_server.url)
    told: list[str] = []
    client = Client(redis_server.client())
    run = client.submit(
        recording.effects,
        {"log": str(tmp_path / "log")},
        listener=lambda notice: told.append(f"{notice.kind} {notice.task} {notice.message}"),
    )
    assert run.wait(30) == RunStatus.FAILURE
    assert "task_end reckless ValueError: after the money had moved" in told


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
    assert said[0].endswith("go on with it by `distflow resume left`")
    client = Client(redis_server.client())
    run = client.run("left")
    assert run.info().coordinator is None
    start_worker(redis_server.url)
    run.resume()
    assert run.wait(30) == RunStatus.SUCCESS
    assert play("2") == ""


def test_a_wait_says_where_nobody_leads(redis_server: RedisServer, tmp_path: Path) -> None:
    """A timeout that comes before the lease of a dead coordinator would have lapsed says already
    that nobody leads the run; where somebody does, it does not.
    """
    client = Client(redis_server.client())
    run = client.submit(recording.small_dag, {"log": str(tmp_path / "log")}, detach=True)
    with pytest.raises(TimeoutError, match=f"nobody coordinates it.*distflow resume {run.run_id}"):
        run.wait(timeout=0.1)
    run.store.acquire_lease("anna", 60.0)
    with pytest.raises(TimeoutError, match=r"is still running$"):
        run.wait(timeout=0.1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (recording.prepare, "not of the task 'prepare': call it in a function that @workflow"),
        (len, "decorate it with @workflow"),
        ("recording:small_dag", "pass what @workflow made"),
        (None, "pass what @workflow made"),
    ],
)
def test_only_a_workflow_is_submitted(redis_server: RedisServer, given: Any, told: str) -> None:
    """What is none is named, with the mend, and nothing is written."""
    client = Client(redis_server.client())
    with pytest.raises(InvalidInput, match=told):
        client.submit(given)
    assert client.run_ids() == []


def test_a_decision_that_is_none_is_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    """Before anything else is looked at: whatever else is wrong, it says what may be decided."""
    client = Client(redis_server.client())
    run = client.submit(recording.small_dag, {"log": str(tmp_path / "log")}, detach=True)
    maybe: Any = "maybe"
    with pytest.raises(InvalidInput, match="one of 'done', 'fail', 'retry', not by 'maybe'"):
        run.resolve("chained", maybe)


def test_a_snapshot_names_its_run(redis_server: RedisServer, tmp_path: Path) -> None:
    """Its JSON form says what it was taken of, and its file can be imported: it is an export."""
    client = Client(redis_server.client())
    run = client.submit(recording.small_dag, {"log": "x"}, run_id="taken", detach=True)
    snapshot = run.snapshot()
    document = json.loads(snapshot.to_json())
    assert (document["run_id"], document["workflow"]) == ("taken", run.info().workflow)
    assert snapshot.run_id == "taken"
    snapshot.dump(tmp_path / "file")
    assert Snapshot.load(tmp_path / "file").origin == run.info().origin
    # It has the graph as well: elsewhere, the run goes on.
    assert import_run(tmp_path / "file", client.store, run_id="elsewhere") == "elsewhere"


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


def test_a_snapshot_with_a_gap_is_refused(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A charge that had not started when a snapshot of a live run was taken may have since: the
    charge comes in as unknown, unless a person says otherwise; and it is told.
    """
    log, gate = tmp_path / "log", tmp_path / "gate"
    gate.touch()
    client = Client(redis_server.client())
    params = {"log": str(log), "gate": str(gate)}
    first = client.create(recording.payment, params)
    snapshot = first.snapshot()
    assert (snapshot.live, snapshot.once) == (True, 1)
    with pytest.raises(SnapshotInvalid, match="--gap unknown"):
        client.submit(recording.payment, params, snapshot=snapshot, gap="refuse")
    assert client.run_ids() == [first.run_id]
    careful = client.create(recording.payment, params, snapshot=snapshot)
    assert careful.unknown_tasks() == ["charge"]
    assert "'charge' comes in as unknown" in careful.warnings[0]
    start_worker(redis_server.url)
    second = client.submit(recording.payment, params, snapshot=snapshot, accept_gap=True)
    assert second.wait(30) == RunStatus.SUCCESS


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


class _Interrupted(RedisRunStore):
    """A person interrupts the submit while its one call is under way."""

    def create_run(
        self, spec: RunSpec, operation: str, tasks: Sequence[Task] | None = None
    ) -> None:
        super().create_run(spec, operation, tasks)
        if tasks is not None:
            raise KeyboardInterrupt


def test_an_interrupted_submit_leaves_nothing(redis_server: RedisServer) -> None:
    """A small run is made in one call: whether that was heard or not, nobody may find it; what
    another has made under this name stays.
    """
    client = Client(redis_server.client())
    workflow = Workflow("told")
    workflow.add("tell", "tests.support.tasks.recording:echo", args=[1])
    store = _Interrupted(redis_server.client(), "mine")
    with pytest.raises(KeyboardInterrupt):
        write_run(store, make_spec("mine"), workflow.compile())
    assert client.run_ids() == []
    other = client.create(workflow, run_id="mine")
    with pytest.raises(RunExists):
        write_run(store, make_spec("mine"), workflow.compile())
    assert other.status() == RunStatus.RUNNING


def test_a_wait_tells_how_the_run_stands_now(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Not how it stood when this process led it no more: another has gone on with it since."""
    start_worker(redis_server.url)
    client = Client(redis_server.client())
    run = client.create(recording.small_dag, {"log": str(tmp_path / "log"), "size": 5})
    run.pause()
    run.lead_in_background(reopen=False)
    wait_for(lambda: f"distflow-{run.run_id}" not in {t.name for t in threading.enumerate()})
    another = client.run(run.run_id)
    another.resume()
    assert another.wait(30) == run.wait(30) == RunStatus.SUCCESS
