"""What a deletion leaves on Redis: nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from distflow.core.batches import Batch
from distflow.core.status import ACTIVE_RUNS, RunStatus
from distflow.dispatch.rq import RqDispatcher
from distflow.store.redis.store import RedisRunStore
from tests.integration.cli_scene import Scene
from tests.support.redis_server import RedisServer


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """An empty Redis with the command line in front of it."""
    scene = Scene(redis_server)
    yield scene
    scene.close()


def blocked_run(scene: Scene, run_id: str = "run-1") -> RedisRunStore:
    """A run that nobody leads: ``pay`` is unknown, ``paid`` is done, ``open`` has not run."""
    store, epoch = scene.open_run("pay", "paid", "open", run_id=run_id)
    scene.settle(store, epoch, "pay", "unknown")
    scene.settle(store, epoch, "paid", "success")
    store.set_status(RunStatus.BLOCKED, ACTIVE_RUNS, epoch=epoch)
    scene.leave(store, epoch)
    return store


def test_delete(scene: Scene) -> None:
    """Nothing of a deleted run is left, its jobs in the queues included. One with a task that
    nobody decided yet goes only by force.
    """
    store = blocked_run(scene)
    store.set_status(RunStatus.PAUSED, {RunStatus.BLOCKED})
    task = next(store.iter_tasks())[0]
    RqDispatcher(scene.client, "distflow").dispatch(
        [Batch("run-1-7-1", "default", (task,), "run-1", 7)]
    )
    assert scene.refused("delete", "run-1") == (
        "distflow: run run-1 has 1 unknown task, see `distflow status run-1`: decide, or delete it "
        "with --force"
    )
    assert store.read_status() == RunStatus.PAUSED
    result = scene.cli("delete", "run-1", "run-1", "--force")
    assert (result.exit_code, result.stdout) == (0, "deleted run run-1\n")
    left = {key.decode() for key in scene.client.keys("*")}
    assert left <= {"rq:queues"}


def test_delete_after_one_that_was_cut_off(scene: Scene) -> None:
    """A run that is gone is taken off the lists of runs, where its deletion died before that."""
    store = blocked_run(scene)
    scene.client.delete(*store.keys.all())
    assert scene.client.keys("distflow:*")
    assert "no run 'run-1'" in scene.refused("delete", "run-1")
    assert scene.client.keys("distflow:*") == []
