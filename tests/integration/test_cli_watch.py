"""``distflow watch``: it follows a run, and leaves it to its coordinator."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from rq import Worker
from rq.command import PUBSUB_CHANNEL_TEMPLATE

from distflow.backends.redis_rq import RedisBackend
from distflow.cli.ui.waits import describe_wait
from distflow.core.status import ACTIVE_RUNS, RunStatus
from tests.integration.cli_scene import Scene
from tests.support.cli import start_cli
from tests.support.redis_server import RedisServer


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """An empty Redis with the command line in front of it."""
    scene = Scene(redis_server)
    yield scene
    scene.close()


@pytest.mark.parametrize(
    ("outcome", "verdict", "code"),
    [
        ("success", RunStatus.SUCCESS, 0),
        ("failure", RunStatus.FAILURE, 1),
        ("unknown", RunStatus.BLOCKED, 3),
    ],
)
def test_watch(scene: Scene, outcome: str, verdict: RunStatus, code: int) -> None:
    """``watch`` follows a run that another leads to its end, with the exit code of submit."""
    store, epoch = scene.open_run("a", "b")
    scene.settle(store, epoch, "a", "success")
    watching = start_cli(scene.url, "watch", "run-1", "--json")
    scene.settle(store, epoch, "b", outcome, error="OSError: no")
    store.set_status(verdict, ACTIVE_RUNS)
    scene.leave(store, epoch)
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == code, err
    assert json.loads(out)["status"] == verdict


def test_a_watch_that_is_interrupted(scene: Scene) -> None:
    """Ctrl-C of a watch leaves the run to its coordinator, and says so. What that one published
    is not taken for the reason of a standstill: it may have died.
    """
    store, epoch = scene.open_run("a")
    store.renew_lease("anna", epoch, 60.0, queued=1, waiting=0)
    # A queue that has a worker, as far as RQ knows.
    worker: Any = Worker(["default"], connection=scene.client)
    worker.register_birth()
    listening = scene.client.pubsub()
    listening.subscribe(PUBSUB_CHANNEL_TEMPLATE % worker.name)
    try:
        stall, own = (
            describe_wait(
                RedisBackend(scene.client, patience_seconds=0.0),
                "run-1",
                store.read_info().counts,
                {"default"},
                leading=leading,
            )
            for leading in (False, True)
        )
    finally:
        listening.close()
        worker.register_death()
    assert (stall, own) == ("", "the workers on its queues are busy with other work")
    watching = start_cli(scene.url, "watch", "run-1")
    assert watching.stderr is not None
    assert "no workers" in watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == 130, err
    assert out.endswith("anna leads it now; watch it: distflow watch run-1\n")


def test_watch_a_run_that_nobody_leads(scene: Scene) -> None:
    """``watch`` says that nothing will happen, and goes on watching until somebody leads."""
    store, epoch = scene.open_run("a")
    scene.leave(store, epoch)
    watching = start_cli(scene.url, "watch", "run-1")
    assert watching.stderr is not None
    assert "distflow resume run-1" in watching.stderr.readline()
    epoch = store.acquire_lease("bert", 60.0)
    store.begin_batch(epoch, "b1", "w1", "job-1")
    scene.settle(store, epoch, "a", "success")
    store.set_status(RunStatus.SUCCESS, ACTIVE_RUNS)
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == 0, err
    assert "run run-1: success" in out
