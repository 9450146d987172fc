"""``distflow watch``: it follows a run, and leaves it to its coordinator."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from distflow.core.status import ACTIVE_RUNS, RunStatus
from tests.support.command_line import MemoryScene


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks again at once."""
    monkeypatch.setattr("distflow.runs.session.FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr("distflow.cli.show._POLL_SECONDS", 0.01)
    monkeypatch.setattr("distflow.cli.ui.waits._STILL_SECONDS", 0.02)


@pytest.mark.parametrize(
    ("outcome", "verdict", "code"),
    [
        ("success", RunStatus.SUCCESS, 0),
        ("failure", RunStatus.FAILURE, 1),
        ("unknown", RunStatus.BLOCKED, 3),
    ],
)
def test_watch(scene: MemoryScene, outcome: str, verdict: RunStatus, code: int) -> None:
    """``watch`` follows a run that another leads to its end, with the exit code of submit."""
    store, epoch = scene.open_run("a", "b")
    scene.settle(store, epoch, "a", "success")
    store.renew_lease("anna", epoch, 60.0, queued=1, waiting=0)

    def end() -> None:
        scene.settle(store, epoch, "b", outcome, error="OSError: no")
        store.set_status(verdict, ACTIVE_RUNS)
        scene.leave(store, epoch)

    scene.during(end, said="distflow worker default")
    done = scene.cli("watch", "run-1", "--json")
    assert done.exit_code == code, done.stderr
    assert json.loads(done.stdout)["status"] == verdict
    said = f"{outcome}: b: OSError: no"
    assert (said in done.stderr.splitlines()) == (outcome != "success")


def test_a_watch_that_is_interrupted(scene: MemoryScene) -> None:
    """Ctrl-C of a watch leaves the run to its coordinator, and says so."""
    store, epoch = scene.open_run("a")
    store.renew_lease("anna", epoch, 60.0, queued=1, waiting=0)
    scene.during(lambda: os.kill(os.getpid(), signal.SIGINT), said="no workers")
    done = scene.cli("watch", "run-1")
    assert done.exit_code == 130
    assert re.fullmatch(r"anna leads .*: distflow watch run-1", done.stdout.splitlines()[-1])
    assert store.read_status() == RunStatus.RUNNING


def test_watch_a_run_that_nobody_leads(scene: MemoryScene) -> None:
    """``watch`` says that nothing will happen, and goes on watching until somebody leads."""
    store, epoch = scene.open_run("a")
    scene.leave(store, epoch)

    def lead() -> None:
        epoch = store.acquire_lease("bert", 60.0)
        store.begin_batch(epoch, "b1", "w1", "job-1")
        scene.settle(store, epoch, "a", "success")
        store.set_status(RunStatus.SUCCESS, ACTIVE_RUNS)

    scene.during(lead, said="distflow resume run-1")
    done = scene.cli("watch", "run-1")
    assert done.exit_code == 0, done.stderr
    assert "run run-1: success" in done.stdout


def test_watch_of_a_run_that_rests(scene: MemoryScene) -> None:
    """A run that stands still is told at once, each time with its exit code."""
    store, epoch = scene.open_run("a")
    store.set_status(RunStatus.PAUSED, ACTIVE_RUNS)
    scene.leave(store, epoch)
    done = scene.cli("watch", "run-1")
    assert done.exit_code == 4
    assert done.stdout.splitlines()[-1].endswith(": distflow resume run-1")
