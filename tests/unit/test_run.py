"""A Run and a Client from Python, on runs in memory: made, led, followed, decided and refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from distflow import Snapshot, Workflow, connect
from distflow.backends.memory import MemoryBackend
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.model import Task
from distflow.core.run import RunSpec
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import (
    InvalidInput,
    RedisUnavailable,
    RunExists,
    RunGone,
    RunNotFound,
    SnapshotInvalid,
    TaskNotFound,
    WrongState,
)
from distflow.runs.client import Client
from distflow.runs.run import Run
from distflow.runs.run_writer import write_run
from distflow.runs.transfer import import_run
from distflow.store.memory.store import MemoryRunStore
from tests.support.stores import claim, final, finish, make_spec
from tests.support.tasks import recording
from tests.support.wait import wait_for


@pytest.fixture
def client() -> Client:
    """Of runs in memory, on which whoever leads them works."""
    return Client(MemoryBackend(), settings=CoordinatorSettings(lease_seconds=5.0))


def flow(*values: Any) -> Workflow:
    """A task for each value, which returns it; they do not depend on each other."""
    made = Workflow("flow")
    for number, value in enumerate(values or (1,)):
        made.add(f"t{number}", recording.echo, (value,))
    return made


def call(function: str, *names: str, **fields: Any) -> Workflow:
    """Tasks that call what a test has set here."""
    made = Workflow("called")
    for name in names or ("only",):
        made.add(name, f"{__name__}:{function}", **fields)
    return made


#: What the task :func:`meddle` does.
meddling: list[Callable[[], Any]] = []


def meddle() -> Any:
    """A task in the middle of which something happens."""
    return meddling.pop()()


# Submitting


def test_a_failure_is_told_with_its_reason(client: Client, tmp_path: Path) -> None:
    """The event of a failed task says why, so that a log is enough to know."""
    told: list[str] = []
    run = client.submit(
        recording.effects,
        {"log": str(tmp_path / "log")},
        listener=lambda notice: told.append(f"{notice.kind} {notice.task} {notice.message}"),
    )
    assert run.wait(30) == RunStatus.FAILURE
    assert "task_end reckless ValueError: after the money had moved" in told


def test_a_wait_says_where_nobody_leads(client: Client, tmp_path: Path) -> None:
    """A timeout that comes before the lease of a dead coordinator would have lapsed says already
    that nobody leads the run; where somebody does, it does not.
    """
    run = client.submit(recording.small_dag, {"log": str(tmp_path / "log")}, detach=True)
    with pytest.raises(TimeoutError, match=f"nobody coordinates it.*distflow resume {run.run_id}"):
        run.wait(timeout=0.1)
    run.store.acquire_lease("anna", 60.0)
    with pytest.raises(TimeoutError, match=r"is still running$"):
        run.wait(timeout=0.1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (recording.prepare, "not from the task 'prepare': call it in a function that @workflow"),
        (len, "decorate it with @workflow"),
        ("recording:small_dag", "pass a @workflow function"),
        (None, "pass a @workflow function"),
    ],
)
def test_only_a_workflow_is_submitted(client: Client, given: Any, told: str) -> None:
    """What is none is named, with the mend, and nothing is written."""
    with pytest.raises(InvalidInput, match=told):
        client.submit(given)
    assert client.run_ids() == []


def test_a_decision_that_is_none_is_refused(client: Client, tmp_path: Path) -> None:
    """Before anything else is looked at: whatever else is wrong, it says what may be decided."""
    run = client.submit(recording.small_dag, {"log": str(tmp_path / "log")}, detach=True)
    maybe: Any = "maybe"
    with pytest.raises(InvalidInput, match="one of 'done', 'fail', 'retry', not 'maybe'"):
        run.resolve("chained", maybe)


def test_a_snapshot_names_its_run(client: Client, tmp_path: Path) -> None:
    """Its JSON form says what it was taken of, and its file can be imported: it is an export."""
    run = client.submit(recording.small_dag, {"log": "x"}, run_id="taken", detach=True)
    snapshot = run.snapshot()
    document = json.loads(snapshot.to_json())
    assert (document["run_id"], document["workflow"]) == ("taken", run.info().workflow)
    assert snapshot.run_id == "taken"
    snapshot.dump(tmp_path / "file")
    assert Snapshot.load(tmp_path / "file").origin == run.info().origin
    # It has the graph as well: elsewhere, the run goes on.
    assert import_run(tmp_path / "file", client.store, run_id="elsewhere") == "elsewhere"


def test_a_snapshot_with_a_gap_is_refused(client: Client, tmp_path: Path) -> None:
    """A charge that had not started when a snapshot of a live run was taken may have since: the
    charge comes in as unknown, unless a person says otherwise; and it is told.
    """
    log, gate = tmp_path / "log", tmp_path / "gate"
    gate.touch()
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
    second = client.submit(recording.payment, params, snapshot=snapshot, accept_gap=True)
    assert second.wait(30) == RunStatus.SUCCESS


class _Interrupted(MemoryRunStore):
    """A person interrupts the submit while its one call is under way."""

    def create_run(
        self, spec: RunSpec, operation: str, tasks: Sequence[Task] | None = None
    ) -> None:
        super().create_run(spec, operation, tasks)
        if tasks is not None:
            raise KeyboardInterrupt


def test_an_interrupted_submit_leaves_nothing(client: Client) -> None:
    """A small run is made in one call: whether that was heard or not, nobody may find it; what
    another has made under this name stays.
    """
    workflow = Workflow("told")
    workflow.add("tell", "tests.support.tasks.recording:echo", args=[1])
    backend: Any = client.backend
    store = _Interrupted("mine", server=backend.server)
    with pytest.raises(KeyboardInterrupt):
        write_run(store, make_spec("mine"), workflow.compile())
    assert client.run_ids() == []
    other = client.create(workflow, run_id="mine")
    with pytest.raises(RunExists):
        write_run(store, make_spec("mine"), workflow.compile())
    assert other.status() == RunStatus.RUNNING


def test_a_wait_tells_how_the_run_stands_now(client: Client, tmp_path: Path) -> None:
    """Not how it stood when this process led it no more: another has gone on with it since."""
    run = client.create(recording.small_dag, {"log": str(tmp_path / "log"), "size": 5})
    run.pause()
    run.lead_in_background(reopen=False)
    wait_for(lambda: f"distflow-{run.run_id}" not in {t.name for t in threading.enumerate()})
    another = client.run(run.run_id)
    another.resume()
    assert another.wait(30) == run.wait(30) == RunStatus.SUCCESS


# Leading and waiting


def test_a_run_is_led_in_the_background(client: Client) -> None:
    """What it returns is found by name, in the graph's order; the run is found by its id."""
    run = client.submit(flow(1, 2), run_id="mine")
    assert run.wait() == run.status() == RunStatus.SUCCESS
    assert [(name, each.data) for name, each in run.results().items()] == [("t0", [1]), ("t1", [2])]
    found = client.run("mine")
    assert (repr(found), found.info().total, client.run_ids()) == ("<Run mine>", 2, ["mine"])
    with pytest.raises(RunNotFound):
        client.run("other")
    with pytest.raises(InvalidInput, match="'a b'"):
        client.run("a b")


def test_who_waits_is_told_why_the_session_failed(client: Client) -> None:
    """The run was deleted while it was led: that raises where somebody waits for it."""
    run = client.create(call("meddle"), run_id="gone")
    meddling.append(lambda: run.store.delete_run(force=True))
    run.lead_in_background(reopen=False)
    with pytest.raises((RunGone, RunNotFound)):
        run.wait(20)


def test_who_waits_is_told_that_the_session_could_not_go_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is there still: what ended the session is what there is to know."""
    backend: Any = client.backend

    def refuse(_batches: Any) -> None:
        raise RedisUnavailable("it is away")

    monkeypatch.setattr(backend.dispatcher, "dispatch", refuse)
    run = client.submit(flow())
    with pytest.raises(RedisUnavailable, match="it is away"):
        run.wait(20)
    assert run.status() == RunStatus.RUNNING


def test_nobody_waits_for_ever_where_nobody_leads(client: Client) -> None:
    """After as long as a lease lasts, it is said what to type."""
    client.settings = CoordinatorSettings(lease_seconds=0.5)
    run = client.submit(flow(), detach=True)
    with pytest.raises(WrongState, match=f"distflow resume {run.run_id}.*distflow coordinator"):
        run.wait(20)
    with pytest.raises(InvalidInput, match="timeout"):
        run.wait(-1)


def test_a_paused_run_goes_on_when_it_is_resumed(client: Client) -> None:
    """What ran when it was paused has ended; nothing more had begun."""
    run = client.create(call("meddle", "a", "b", batch=False))
    meddling[:] = [lambda: 2, run.pause]
    run.lead_in_background(reopen=False)
    assert run.wait(20) == RunStatus.PAUSED
    assert len(meddling) == 1
    run.resume()
    assert run.wait(20) == RunStatus.SUCCESS
    assert meddling == []
    assert not run.unpause()


def test_a_run_that_another_leads_is_unpaused_and_followed(client: Client) -> None:
    """Who resumes does not take it over."""
    run = client.submit(flow(), detach=True)
    run.store.acquire_lease("berta", 60.0)
    run.pause()
    run.resume()
    with pytest.raises(TimeoutError, match=r"is still running$"):
        run.wait(0.1)
    assert run.info().coordinator == "berta"
    run.store.delete_run(force=True)
    with pytest.raises(RunNotFound):
        run.wait(20)


def test_a_cancellation_says_who_and_how_soon(client: Client) -> None:
    """Whoever leads carries it out; one that has ended is not cancelled."""
    run = client.submit(flow(), detach=True)
    run.cancel()
    assert (run.info().reason or "").startswith("cancelled by ")
    run.cancel("out of money", grace_seconds=0)
    run.lead_in_background(reopen=False)
    assert run.wait(20) == RunStatus.CANCELLED
    assert {each.status for each in run.results().values()} == {TaskStatus.CANCELLED}
    with pytest.raises(WrongState):
        run.cancel()


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf"), 2e9, "soon"])
def test_a_grace_that_is_none_is_refused(client: Client, grace: Any) -> None:
    """And the run goes on."""
    run = client.submit(flow(), detach=True)
    with pytest.raises(InvalidInput, match="grace_seconds"):
        run.cancel(grace_seconds=grace)
    assert run.status() == RunStatus.RUNNING


# Deciding


def undecided(client: Client) -> Run:
    """A run of two charges that nobody knows of, and a receipt."""
    made = Workflow("charges")
    charges = [
        made.add(name, f"{__name__}:meddle", effects="at_most_once") for name in ("one", "two")
    ]
    made.add("receipt", recording.echo, (charges,))
    run = client.create(made)
    epoch = run.store.acquire_lease("anna", 60.0)
    for name in ("one", "two"):
        claim(run.store, epoch, name, f"token-{name}", batch=name)
        done = final(name, f"token-{name}", "unknown", started=True)
        finish(run.store, epoch, done, batch=name)
    run.store.release_lease("anna", epoch)
    return run


def test_decisions_are_made_one_by_one_or_together(client: Client) -> None:
    """All or none; with a note for the history. The run goes on from there."""
    run = undecided(client)
    assert run.unknown_tasks() == ["one", "two"]
    with pytest.raises(TaskNotFound, match="'tow'"):
        run.resolve(["one", "tow"], "fail")
    assert run.unknown_tasks() == ["one", "two"]
    assert run.resolve("one", "done", 5, note="seen at the bank") == TaskStatus.SUCCESS
    assert run.resolve(["two"], "done", 7) == {"two": TaskStatus.SUCCESS}
    assert run.unknown_tasks() == []
    assert run.store.read_history("one")[-1].note == "seen at the bank"
    run.resume()
    assert run.wait(20) == RunStatus.SUCCESS
    assert run.results()["receipt"].data == [[5, 7]]
    with pytest.raises(WrongState):
        run.resolve("one", "fail")


def test_what_is_no_decision_changes_nothing(client: Client) -> None:
    """Neither a task that is no name, nor a note that is no text, nor no data where they are
    needed.
    """
    run = undecided(client)
    anything: Any = 7
    for words in ((anything, "done", 1), ("one", "done")):
        with pytest.raises(InvalidInput):
            run.resolve(*words)
    with pytest.raises(InvalidInput, match="note"):
        run.resolve("one", "fail", note=anything)
    assert run.unknown_tasks() == ["one", "two"]


def test_the_same_submit_goes_on(client: Client) -> None:
    """It goes on with what did not succeed, and leaves alone what did."""
    first = client.submit(flow(), run_id="p", detach=True)
    assert client.submit(flow(), run_id="p", detach=True, or_resume=True).run_id == "p"
    first.cancel()
    first.lead_in_background(reopen=False)
    assert first.wait(20) == RunStatus.CANCELLED
    assert client.submit(flow(), run_id="p", or_resume=True).wait(20) == RunStatus.SUCCESS
    assert client.submit(flow(), run_id="p", or_resume=True).wait(20) == RunStatus.SUCCESS
    with pytest.raises(RunExists):
        client.submit(flow(), run_id="p")
    with pytest.raises(InvalidInput, match="or_resume needs the run_id"):
        client.submit(flow(), or_resume=True)


def test_another_was_faster(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look for the run and its creation: it is found then."""
    create = Client.create

    def create_twice(self: Client, *arguments: object, **options: object) -> object:
        create(self, *arguments, **options)  # type: ignore[arg-type]
        return create(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "create", create_twice)
    assert client.submit(flow(), run_id="p", detach=True, or_resume=True).run_id == "p"
    assert client.run_ids() == ["p"]


# What a client is made of


@pytest.mark.parametrize("given", [None, "redis://h", 7])
def test_a_client_is_made_of_a_backend(given: Any) -> None:
    """A URL is for ``connect``, which the refusal names."""
    with pytest.raises(InvalidInput, match="connect"):
        Client(given)


def test_runs_in_memory_have_no_redis(client: Client) -> None:
    """Whoever asks for it is told so; nobody is registered there."""
    for ask in (lambda: client.redis, lambda: client.prefix):
        with pytest.raises(InvalidInput, match="not on Redis"):
            ask()
    assert (client.workers(), client.coordinators()) == ([], [])
    with pytest.raises(InvalidInput, match="durability"):
        client.submit(flow(), durability="waitaof")


def test_a_prefix_is_text() -> None:
    """Before anything is connected to."""
    prefix: Any = 7
    with pytest.raises(InvalidInput, match="prefix"):
        connect("redis://h", prefix=prefix)


def test_what_is_asked_of_a_run_is_checked(client: Client) -> None:
    """By name, before anything is written."""
    wrong: Any = {"a": 1}
    for options in ({"snapshot": wrong}, {"listener": 7}, {"run_id": "a b"}, {"concurrency": 0}):
        (name,) = options
        with pytest.raises(InvalidInput, match=name.replace("_", ".")):
            client.submit(flow(), **options)
    assert client.run_ids() == []


def test_whoever_is_registered_hears_of_every_run(client: Client) -> None:
    """Of a client's runs that are led from here, until it says that it hears no more."""
    told: list[str] = []

    def hear(notice: Any) -> None:
        told.append(notice.run_id)

    client.on("workflow_end", hear)
    client.submit(flow(), run_id="first").wait(20)
    client.off("workflow_end", hear)
    client.submit(flow(), run_id="second").wait(20)
    assert told == ["first"]


def test_progress_may_end_a_submit(client: Client) -> None:
    """It is told how far the writing is; what it raises leaves nothing behind."""

    def stop(written: int, total: int) -> None:
        told.append((written, total))
        if written:
            raise KeyboardInterrupt

    told: list[tuple[int, int]] = []
    known = {"t0": {"status": "success", "data": [1]}}
    with pytest.raises(KeyboardInterrupt):
        client.create(flow(1, 2), snapshot=Snapshot(known, origin="0f"), progress=stop)
    assert (told[0], told[-1]) == ((0, 2), (2, 2))
    assert client.run_ids() == []


def test_what_is_too_large_is_named(client: Client) -> None:
    """The parameter, the task or the graph, before anything is written."""
    large = "x" * 20_000_000
    for made, options, named in (
        (flow(large), {}, "'t0'"),
        (flow("x" * 1000, "x" * 1000), {"max_graph_bytes": 1500}, "--max-graph-bytes"),
        (flow().build({"small": 1, "huge": large}), {}, "'huge'"),
    ):
        with pytest.raises(InvalidInput, match=named):
            client.create(made, **options)  # type: ignore[arg-type]
    assert client.run_ids() == []
