"""Decisions at the command line: each does what it says, or nothing."""

from __future__ import annotations

import json

import pytest

from distflow.core.status import ACTIVE_RUNS, ENDED_RUNS, RunStatus
from distflow.store.memory.store import MemoryRunStore
from distflow.wire.codec import decode_result
from tests.support.command_line import MemoryScene
from tests.support.stores import claim


def blocked_run(scene: MemoryScene, run_id: str = "run-1") -> MemoryRunStore:
    """A run that nobody leads: ``pay`` is unknown, ``paid`` is done, ``open`` has not run."""
    store, epoch = scene.open_run("pay", "paid", "open", run_id=run_id)
    scene.settle(store, epoch, "pay", "unknown")
    scene.settle(store, epoch, "paid", "success")
    store.set_status(RunStatus.BLOCKED, ACTIVE_RUNS, epoch=epoch)
    scene.leave(store, epoch)
    return store


def ended_run(scene: MemoryScene, run_id: str, status: RunStatus, seconds_ago: float) -> None:
    """A run that ended a while ago and that nobody leads."""
    store, epoch = scene.open_run("a", run_id=run_id)
    store.set_status(status, ACTIVE_RUNS, epoch=epoch)
    scene.leave(store, epoch)
    if status in ENDED_RUNS:
        ended_ms = (store.read_info().as_of - seconds_ago) * 1000
        scene.backend.server.runs[run_id].ended_at = int(ended_ms)


@pytest.mark.parametrize(
    ("words", "status", "data"),
    [
        (("--done",), "success", None),
        (("--done", '{"id": 3}'), "success", {"id": 3}),
        (("--done=-2.5",), "success", -2.5),
        (("--fail", "--note", "the card was refused"), "failure", None),
    ],
)
def test_resolve(scene: MemoryScene, words: tuple[str, ...], status: str, data: object) -> None:
    """``--done`` and ``--fail`` make the unknown task final, with what the person said."""
    store = blocked_run(scene)
    result = scene.cli("resolve", "run-1", "pay", *words)
    assert result.exit_code == 0, result.stderr
    assert f"task 'pay' of run run-1 is {status} now" in result.stdout
    assert "distflow resume run-1" in result.stdout
    packed = store.read_results(["pay"])[0]
    assert packed is not None
    outcome = decode_result(packed)
    assert (outcome.status, outcome.data) == (status, data)
    entry = store.read_history("pay")[-1]
    assert (entry.kind, entry.note) == ("resolved", words[-1] if "--note" in words else "")


def test_resolve_retry(scene: MemoryScene) -> None:
    """``--retry`` lets the task start again, and the run may go on."""
    store = blocked_run(scene)
    document = json.loads(scene.cli("resolve", "run-1", "pay", "--retry", "--json").stdout)
    assert document == {
        "run_id": "run-1",
        "decision": "retry",
        "task": "pay",
        "status": "ready",
        "tasks": {"pay": "ready"},
        "unknown": 0,
        "coordinator": None,
    }
    assert store.read_results(["pay"]) == [None]
    assert store.read_progress()["pay"].started is False
    assert store.read_status() == RunStatus.RUNNING


def test_resolve_says_what_is_left(scene: MemoryScene) -> None:
    """Where other tasks are unknown still, or somebody leads the run, that is said."""
    store, epoch = scene.open_run("pay", "pay again")
    scene.settle(store, epoch, "pay", "unknown")
    scene.settle(store, epoch, "pay again", "unknown")
    text = scene.cli("resolve", "run-1", "pay again", "--done").stdout
    assert "1 task is still unknown: distflow status run-1" in text
    assert "anna continues the run" in text
    assert "resume" not in text


def test_resolve_several(scene: MemoryScene) -> None:
    """Every unknown task at once, and once more: then there is nothing to decide."""
    store, epoch = scene.open_run("pay", "pay again", "open")
    for task in ("pay", "pay again"):
        scene.settle(store, epoch, task, "unknown")
    words = ("resolve", "run-1", "--all-unknown", "--done", "[1]", "--json")
    document = json.loads(scene.cli(*words).stdout)
    assert document["tasks"] == {"pay": "success", "pay again": "success"}
    assert "task" not in document
    assert store.read_statuses(["pay", "open"]) == ["success", None]
    assert json.loads(scene.cli(*words).stdout)["tasks"] == {}
    said = scene.cli(*words[:-1]).stdout
    assert said == "run run-1 has no unknown task: there is nothing to decide\n"
    assert "anna leads run run-1" in scene.refused("resolve", "run-1", "pay", "--fail")
    scene.leave(store, epoch)
    both = scene.cli("resolve", "run-1", "pay", "pay again", "--fail").stdout
    assert both.count("is failure now") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pay",), "--done [JSON], --retry or --fail"),
        (("pay", "--done", "--fail"), "--done [JSON], --retry or --fail"),
        (("pay", "--retry", "--fail"), "--done [JSON], --retry or --fail"),
        (("pay", "--done", "{id: 3}"), "is not JSON"),
        (("pay", "--done", str(2**70)), "64 bits"),
        (("paid", "--done"), "task 'paid' is success"),
        (("--done",), "TASK…, or --all-unknown"),
        (("pay", "--all-unknown", "--done"), "TASK…, or --all-unknown"),
        (("pay", "paid", "--fail"), "task 'paid' is success"),
        (("open", "--retry"), "task 'open' is pending"),
        (("payy", "--done"), "did you mean 'pay'?"),
    ],
)
def test_resolve_refuses(scene: MemoryScene, words: tuple[str, ...], said: str) -> None:
    """A decision that cannot stand is one line, and changes nothing."""
    store = blocked_run(scene)
    before = store.read_results(["pay", "paid", "open"])
    assert said in scene.refused("resolve", "run-1", *words)
    assert store.read_results(["pay", "paid", "open"]) == before
    assert store.read_status() == RunStatus.BLOCKED


def test_delete(scene: MemoryScene) -> None:
    """Nothing of a deleted run is left, its jobs in the queues included. One with a task that
    nobody decided yet goes only by force.
    """
    store = blocked_run(scene)
    store.set_status(RunStatus.PAUSED, {RunStatus.BLOCKED})
    scene.queue_up()
    assert scene.refused("delete", "run-1") == (
        "distflow: run run-1 has 1 unknown task, see `distflow status run-1`: decide, or delete it "
        "with --force"
    )
    assert store.read_status() == RunStatus.PAUSED
    result = scene.cli("delete", "run-1", "run-1", "--force")
    assert (result.exit_code, result.stdout) == (0, "deleted run run-1\n")
    assert scene.backend.run_ids() == []
    assert not scene.backend.dispatcher.find_queued("run-1", {"default"})


def test_delete_is_all_or_nothing(scene: MemoryScene) -> None:
    """Where one of several runs cannot be deleted, none is."""
    ended_run(scene, "idle", RunStatus.PAUSED, 0.0)
    store, epoch = scene.open_run("a", run_id="led")
    assert "run led is led by anna" in scene.refused("delete", "idle", "led")
    assert "no run 'nope'" in scene.refused("delete", "idle", "nope")
    claim(store, epoch, "a", "t1")
    scene.leave(store, epoch)
    assert "run led has 1 task at work" in scene.refused("delete", "idle", "led")
    assert scene.cli("status", "idle").exit_code == 0
    document = json.loads(scene.cli("delete", "idle", "led", "--force", "--json").stdout)
    assert document == {"deleted": ["idle", "led"]}
    assert (scene.backend.run_ids(), scene.backend.server.runs) == ([], {})


def test_purge(scene: MemoryScene) -> None:
    """Only runs that ended long enough ago go; those that wait for a person never do."""
    day = 86_400
    ended_run(scene, "old", RunStatus.SUCCESS, 31 * day)
    ended_run(scene, "young", RunStatus.FAILURE, 29 * day)
    ended_run(scene, "blocked", RunStatus.BLOCKED, 90 * day)
    ended_run(scene, "paused", RunStatus.PAUSED, 90 * day)
    listed = scene.cli("purge", "--older-than", "30d", "--dry-run")
    assert listed.stdout == "would delete run old: success, ended 31 d ago\n"
    assert len(json.loads(scene.cli("runs", "--json").stdout)) == 4
    assert scene.cli("purge", "--older-than", "30d").stdout.startswith("deleted run old")
    document = json.loads(scene.cli("purge", "--older-than", "4w", "--json").stdout)
    assert document == {"deleted": ["young"], "dry_run": False}
    left = {run["run_id"] for run in json.loads(scene.cli("runs", "--json").stdout)}
    assert left == {"blocked", "paused"}
    assert "no run ended" in scene.cli("purge", "--older-than", "1s").stderr


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1y", "", "1e3d", "٣d"])
def test_purge_refuses_an_age(scene: MemoryScene, age: str) -> None:
    """What is no age deletes nothing."""
    ended_run(scene, "old", RunStatus.SUCCESS, 1e6)
    assert "such as 30d" in scene.refused("purge", f"--older-than={age}")
    assert scene.cli("status", "old").exit_code == 0
