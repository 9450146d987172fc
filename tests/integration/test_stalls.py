"""What a run that stands still waits for, as RQ knows its workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rq import Worker
from rq.command import PUBSUB_CHANNEL_TEMPLATE

from distflow.backends.redis_rq import RedisBackend
from distflow.cli.ui.waits import describe_wait
from tests.integration.cli_scene import Scene
from tests.support.redis_server import RedisServer


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """An empty Redis with the command line in front of it."""
    scene = Scene(redis_server)
    yield scene
    scene.close()


def test_whoever_leads_knows_that_its_batches_wait(scene: Scene) -> None:
    """What a coordinator published is not taken for the reason of a standstill by who watches it:
    it may have died.
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
