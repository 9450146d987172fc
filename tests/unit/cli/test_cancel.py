"""pause and cancel: what they say, and what they refuse."""

from __future__ import annotations

import json
import re

import pytest

from distflow.core.model import Task
from distflow.core.status import ACTIVE_RUNS, RunStatus
from tests.support.command_line import MemoryScene
from tests.support.stores import claim

QUICK = "builtins:bool"


@pytest.mark.parametrize(("at_work", "said"), [(0, "0 of its tasks still run"), (1, "still runs")])
def test_pause(scene: MemoryScene, at_work: int, said: str) -> None:
    """What still runs is counted, and the command that goes on is told."""
    store, epoch = scene.open_run("a", "b")
    for number in range(at_work):
        claim(store, epoch, "a", f"t{number}")
    done = scene.cli("pause", "run-1")
    assert (done.exit_code, done.stdout) == (0, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("run run-1 is paused")
    assert first.endswith(said)
    assert second.endswith(": distflow resume run-1")
    assert store.read_status() == RunStatus.PAUSED


def test_pause_in_json(scene: MemoryScene) -> None:
    """The status document, alone on stdout."""
    scene.open_run("a")
    done = scene.cli("pause", "run-1", "--json")
    assert json.loads(done.stdout)["status"] == "paused"


def test_what_has_ended_is_not_stopped(scene: MemoryScene) -> None:
    """Neither paused nor cancelled; why is said."""
    for run_id, status in (("s", RunStatus.SUCCESS), ("c", RunStatus.CANCELLED)):
        store, epoch = scene.open_run("a", run_id=run_id)
        store.set_status(status, ACTIVE_RUNS)
        scene.leave(store, epoch)
    assert scene.refused("pause", "s").startswith("distflow: run s is success: only a running ")
    again = "distflow: run c is cancelled: there is nothing to cancel"
    assert scene.refused("cancel", "c") == again


def test_cancel_leads_where_nobody_does(staffed: MemoryScene) -> None:
    """The command carries the cancellation out itself, and ends with 0."""
    store, epoch = staffed.open_graph([Task("a", QUICK), Task("b", QUICK)])
    staffed.leave(store, epoch)
    done = staffed.cli("cancel", "run-1", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert (document["status"], document["tasks"]["cancelled"]) == ("cancelled", 2)
    assert "run run-1: cancelled (cancelled by " in done.stderr


def test_cancel_waits_for_who_leads(staffed: MemoryScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that another leads is cancelled by that one; the command follows, and ends with 0."""
    monkeypatch.setattr("distflow.runs.session.FOLLOW_SECONDS", 0.01)
    store, epoch = staffed.open_run("a")

    def cancel() -> None:
        assert store.read_status() == RunStatus.CANCELLING
        staffed.settle(store, epoch, "a", "cancelled")
        store.set_status(RunStatus.CANCELLED, {RunStatus.CANCELLING})
        staffed.leave(store, epoch)

    staffed.during(cancel, said="led by anna: following it")
    assert staffed.cli("cancel", "run-1").exit_code == 0


def test_a_cancellation_that_takes_too_long(
    staffed: MemoryScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command does not wait for ever: exit 4, and who is at it is said."""
    monkeypatch.setattr("distflow.cli.cancel._PATIENCE_SECONDS", -1e3)
    store, _epoch = staffed.open_run("a")
    done = staffed.cli("cancel", "run-1", "--grace", "0")
    assert done.exit_code == 4
    assert re.fullmatch(r"anna leads .*: distflow watch run-1", done.stderr.splitlines()[-1])
    assert store.read_status() == RunStatus.CANCELLING


def test_a_grace_is_no_negative_number(scene: MemoryScene) -> None:
    """It is refused before anything is changed."""
    scene.open_run("a")
    assert "--grace" in scene.refused("cancel", "run-1", "--grace", "-1")
    assert scene.store().read_status() == RunStatus.RUNNING
