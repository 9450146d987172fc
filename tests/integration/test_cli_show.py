"""What the commands that look say of runs in every state."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from rq.suspension import resume, suspend

from distflow.core.model import Task
from distflow.core.status import ACTIVE_RUNS, RunStatus
from tests.integration.cli_scene import Scene
from tests.support.redis_server import RedisServer

COUNTS = [
    *("total", "success", "failure", "skipped", "cancelled", "unknown"),
    *("running", "queued", "waiting", "pending"),
]


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """An empty Redis with the command line in front of it."""
    scene = Scene(redis_server)
    yield scene
    scene.close()


def cost(scene: Scene, *words: str) -> tuple[dict[str, int], int]:
    """What a command asks of Redis: calls by command, and bytes of the replies."""
    scene.client.config_resetstat()
    assert scene.cli(*words).exit_code in (0, 1)
    sent = scene.client.info("stats")["total_net_output_bytes"]
    stats = scene.client.info("commandstats")
    calls = {name: told["calls"] for name, told in stats.items() if name != "cmdstat_info"}
    return calls, sent


def test_looking_costs_the_same_whatever_the_size(scene: Scene) -> None:
    """Of a run with thousands of tasks, some of the last of which failed, as much is read as of a
    small one: by ``status`` while it is led, and by ``watch`` and ``status`` when it has ended.
    """
    costs = []
    # The first of all makes the server know the scripts.
    for run_id, total in (("first", 20), ("small", 20), ("large", 12_000)):
        names = [f"t{number:05}" for number in range(total)]
        tasks = [Task(name, "pkg:f", continue_on_error=name > names[-4]) for name in names]
        store, epoch = scene.open_graph(tasks, run_id)
        for name in (names[-1], names[-5], *names[:3]):
            scene.settle(store, epoch, name, "failure", error="OSError: no")
        told = [cost(scene, "status", run_id, *more) for more in ((), ("--json",))]
        store.set_status(RunStatus.FAILURE, ACTIVE_RUNS)
        scene.leave(store, epoch)
        told += [cost(scene, "watch", run_id), cost(scene, "status", run_id)]
        costs.append(told)
    for (small_calls, small_bytes), (large_calls, large_bytes) in zip(*costs[1:], strict=True):
        assert small_calls == large_calls
        assert abs(small_bytes - large_bytes) < 200


def test_status_says_that_workers_are_suspended(scene: Scene) -> None:
    """Of a run that stands, with the command that lets them go on."""
    store, epoch = scene.open_run("a")
    store.renew_lease("anna", epoch, 60.0, queued=1, waiting=0)
    suspend(scene.client)
    said = "waits for  its workers: they are suspended\n           rq resume\n"
    assert said in scene.cli("status", "run-1").stdout
    resume(scene.client)
    assert "suspended" not in scene.cli("status", "run-1").stdout


def test_runs(scene: Scene) -> None:
    """Runs are listed newest first; one whose keys are gone is passed over, and left alone."""
    for run_id in ("first", "ghost", "last"):
        scene.open_run("a", "b", run_id=run_id)
    scene.client.delete(*scene.client.keys("distflow:{ghost}:*"))
    result = scene.cli("runs")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["RUN", "last", "first"]
    assert "0/2" in result.stdout
    documents = json.loads(scene.cli("runs", "--json").stdout)
    assert [document["run_id"] for document in documents] == ["last", "first"]
    assert documents[0]["tasks"]["total"] == 2
    assert scene.client.zscore("distflow:runs", "ghost") is not None
