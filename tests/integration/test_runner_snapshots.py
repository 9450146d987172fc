"""Snapshots, hydration and contexts, in this process and on stock RQ workers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distflow import Snapshot, TaskResult, TaskStatus, Workflow
from distflow.errors import InvalidInput, SnapshotInvalid
from distflow.events.notice import Notice
from distflow.runs.client import Client
from tests.support.stages import Stage
from tests.support.tasks import behaving, recording

CONTEXTS = "tests.support.tasks.behaving"


def flow(second: str = "two", effects: Any = "normal") -> Workflow:
    """Three tasks in a row, whose middle one fails where it is told so."""
    dag = Workflow("flow")
    first = dag.add("first", behaving.echo, ("one",))
    dag.add("second", behaving.behave, ([second],), depends_on=[first], effects=effects)
    dag.add("third", behaving.echo, (first,), depends_on=["second"])
    return dag


def outcome(status: str, **fields: Any) -> TaskResult:
    """What a mapping knows of a task."""
    return TaskResult(TaskStatus(status), **fields)


def test_a_snapshot_is_gone_on_with(stage: Stage, tmp_path: Path) -> None:
    """What had succeeded does not run again, and its data are those of then; what had not is
    evaluated again: from the runner, and from a file.
    """
    for use in ("as it is", "through a file"):
        stage.log.write_text("")
        ended = stage.play(flow("raise"))
        assert ended.statuses() == {"first": "success", "second": "failure", "third": "skipped"}
        snapshot = ended.snapshot
        if use == "through a file":
            snapshot.dump(tmp_path / "snapshot")
            snapshot = Snapshot.load(tmp_path / "snapshot")
        mended = Workflow("mended")
        first = mended.add("first", behaving.echo, ("one",))
        mended.add("second", behaving.echo, ("mended",), depends_on=[first])
        mended.add("third", behaving.echo, (first,), depends_on=["second"])
        played = stage.play(mended, known=snapshot)
        assert played.status == "success"
        assert played.results["third"].data == "one"
        assert played.results["first"] == ended.results["first"]
        assert [len(stage.lines(name)) for name in ("first", "second", "third")] == [1, 2, 1]


def test_hydration(stage: Stage) -> None:
    """``success`` counts as done; ``failure``, ``cancelled``, ``skipped`` and missing entries are
    evaluated again; ``unknown`` waits for a person, and what follows it with it.
    """
    dag = Workflow("hydrated")
    statuses = ("success", "failure", "cancelled", "skipped", "unknown")
    for status in statuses:
        dag.add(status, behaving.echo, ("ran",))
        dag.add(f"after {status}", behaving.echo, depends_on=[status])
    dag.add("missing", behaving.echo, ("ran",))
    known = {status: outcome(status, data="known") for status in statuses}
    played = stage.play(dag, known=known)
    assert played.status == "blocked"
    assert list(played.results) == [task.name for task in dag.tasks]
    left = played.results.pop("after unknown")
    assert (left.status, left.message) == (
        "pending",
        "it waits for 'unknown', which is unknown",
    )
    assert played.results.pop("unknown").status == "unknown"
    assert set(played.statuses().values()) == {"success"}
    assert played.results["success"].data == "known"
    for name in ("failure", "cancelled", "skipped", "missing"):
        assert played.results[name].data == "ran"
    assert stage.lines("success") == stage.lines("unknown") == []


def test_what_execute_returned_is_a_snapshot(stage: Stage) -> None:
    """With the tasks that are pending, which it knows nothing of; no task may say so of itself."""
    dag = Workflow("stuck")
    dag.add("charged", behaving.echo)
    dag.add("after", behaving.echo, depends_on=["charged"])
    first = stage.play(dag, known={"charged": outcome("unknown")})
    assert first.statuses() == {"charged": "unknown", "after": "pending"}
    decided = {**first.results, "charged": outcome("success")}
    assert stage.play(dag, known=decided).statuses() == dict.fromkeys(first.results, "success")
    dag.add("liar", behaving.claim_pending)
    assert stage.play(dag, known=decided).results["liar"].error == (
        "InvalidInput: TaskResult: a task that has run is not pending"
    )


def test_a_success_satisfies_whatever_stands_before_it(stage: Stage) -> None:
    """A mapping may know a task and not its dependencies: the task is done all the same."""
    played = stage.play(flow("raise"), known={"second": outcome("success")})
    assert played.statuses() == dict.fromkeys(("first", "second", "third"), "success")
    assert stage.lines("second") == []


def test_an_unknown_name_is_refused(stage: Stage) -> None:
    """A snapshot of something else is refused by the name that does not fit; nothing runs."""
    with pytest.raises(SnapshotInvalid, match="the snapshot has task 'fourth', which the workflow"):
        stage.play(flow(), known={"fourth": outcome("success")})
    assert stage.log.read_text() == ""


@pytest.mark.parametrize("through_file", [False, True])
def test_a_changed_task_is_refused(stage: Stage, tmp_path: Path, through_file: bool) -> None:
    """A success of a task whose arguments have changed since is refused by name."""
    snapshot = stage.play(flow()).snapshot
    if through_file:
        snapshot.dump(tmp_path / "snapshot")
        snapshot = Snapshot.load(tmp_path / "snapshot")
    with pytest.raises(SnapshotInvalid, match="task 'second' has changed since the snapshot"):
        stage.play(flow("other"), known=snapshot)


def test_at_most_once_needs_an_origin(stage: Stage) -> None:
    """A bare mapping does not say of which run it is: the key that an ``at_most_once`` task gives
    to others would change, so that what was at work there would be done again here.
    """
    known = {"first": outcome("success")}
    dag = flow("two", "at_most_once")
    with pytest.raises(SnapshotInvalid, match=r"task 'second' may run at most once, .* origin"):
        stage.play(dag, known=known)
    assert stage.log.read_text() == ""
    played = stage.play(dag, known=known, origin="0123")
    assert (played.status, played.snapshot.origin) == ("success", "0123")
    builder = stage.builder().with_snapshot(known, new_keys=True)
    assert stage.play(dag, builder=builder).status == "success"
    done = {"second": outcome("success")}
    assert stage.play(dag, known=done).status == "success"


def test_a_bare_mapping_warns_of_other_keys(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Where a task that takes ``ctx`` is to run."""
    dag = Workflow("keys")
    dag.add("tells", behaving.tell)
    stage.play(dag, known={})
    assert "task 'tells' takes ctx, and the snapshot does not say" in caplog.text


def test_a_checkpoint_of_a_run_that_went_on(stage: Stage, tmp_path: Path) -> None:
    """What may run at most once and had not started then may have started since: it is unknown to
    who goes on from there, unless he says that it has not. What is over cannot have gone on.
    """
    # The first task waits for the checkpoint: workers would be faster.
    gate = tmp_path / "gate"
    dag = Workflow("flow")
    first = dag.add("first", recording.hold, (str(stage.log), str(gate)))
    once: Any = "at_most_once"
    dag.add("second", behaving.behave, (["two"],), depends_on=[first], effects=once)
    dag.add("third", behaving.echo, (first,), depends_on=["second"])
    taken: list[Snapshot] = []
    runner = stage.builder().build()

    def keep(notice: Notice) -> None:
        if notice.task == "first":
            taken.append(runner.snapshot())
            gate.touch()

    runner.on("task_start", keep)
    runner.execute(dag, {"log": str(stage.log)})
    played = stage.play(dag, known=taken[0])
    assert (played.status, played.results["second"].status) == ("blocked", "unknown")
    assert len(stage.lines("second")) == 1
    builder = stage.builder().with_snapshot(taken[0], gap="run")
    assert stage.play(dag, builder=builder).status == "success"
    assert stage.play(dag, known=runner.snapshot()).status == "success"
    assert len(stage.lines("second")) == 2


def test_a_started_task_never_starts_again(stage: Stage) -> None:
    """A failure at most once stays one in every run that is hydrated from it."""
    ended = stage.play(flow("raise", "at_most_once"))
    assert ended.results["second"].started
    played = stage.play(flow("raise", "at_most_once"), known=ended.snapshot)
    assert played.statuses() == {"first": "success", "second": "failure", "third": "skipped"}
    assert len(stage.lines("second")) == 1


def test_keys_are_kept(stage: Stage) -> None:
    """A task has the same key in a run that goes on from a snapshot, and another in any other."""
    dag = Workflow("keys")
    dag.add("tells", behaving.tell)
    first = stage.play(dag)
    known = {"tells": outcome("failure")}
    again = stage.play(dag, known=known, origin=first.snapshot.origin)
    other = stage.play(dag)
    keys = [played.results["tells"].data["key"] for played in (first, again, other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_context_factory(stage: Stage) -> None:
    """A factory makes the context from the parameters, once per run in each process."""
    dag = Workflow("context", context=behaving.remember)
    for name in ("one", "two"):
        dag.add(name, behaving.greeting, batch=False)
    played = stage.play(dag, {"who": "anna"})
    assert [result.data for result in played.results.values()] == ["hello anna"] * 2
    # A stock worker runs each job in a process of its own, and these share none.
    assert len(stage.lines("factory")) == (1 if stage.redis is None else 2)


def test_a_context_factory_sees_what_is_done(stage: Stage) -> None:
    """A factory with a second parameter is given the recorded results, read as it looks."""
    dag = Workflow("context", context=f"{CONTEXTS}:replay")
    dag.add("done", behaving.echo)
    dag.add("greets", behaving.greeting, depends_on=["done"])
    played = stage.play(dag, known={"done": outcome("success", data=[1, 2])})
    assert played.results["greets"].data == [1, {"done": [1, 2]}, False]


@pytest.mark.parametrize("name", ["optional", "variadic", "keyword"])
def test_which_factories_are_given_the_results(stage: Stage, name: str) -> None:
    """A second parameter named ``snapshot`` is filled though it has a default; another with a
    default, ``*args`` and keyword-only ones are not.
    """
    dag = Workflow("context", context=f"{CONTEXTS}:{name}")
    dag.add("greets", behaving.greeting)
    assert stage.play(dag).results["greets"].data == (0 if name == "optional" else "none")


def test_a_broken_context_fails_its_tasks(stage: Stage) -> None:
    """A factory that raises fails every task, and the error is its own."""
    dag = Workflow("context", context=behaving.broken)
    dag.add("greets", behaving.greeting)
    result = stage.play(dag).results["greets"]
    assert result.status == "failure"
    assert result.error == "OSError: the context cannot be made"


def test_on_redis_a_context_is_a_factory(on_redis: Stage) -> None:
    """Other processes need to make it: an object is refused, a factory overrides the workflow's."""
    dag = Workflow("context", context=behaving.broken)
    dag.add("greets", behaving.greeting)
    with pytest.raises(InvalidInput, match="context"):
        on_redis.play(dag, builder=on_redis.builder(SimpleNamespace(greeting="hello")))
    played = on_redis.play(dag, {"who": "bea"}, builder=on_redis.builder(behaving.remember))
    assert played.results["greets"].data == "hello bea"


def test_a_run_on_redis_tells_its_snapshot(on_redis: Stage) -> None:
    """``Run.snapshot`` knows what the tasks were, as an export does."""
    assert on_redis.redis is not None
    client = Client(on_redis.redis)
    run = client.submit(flow(), {"log": str(on_redis.log)})
    assert run.wait(20) == "success"
    with pytest.raises(SnapshotInvalid, match="task 'second' has changed since the snapshot"):
        client.submit(flow("other"), {"log": str(on_redis.log)}, snapshot=run.snapshot())
