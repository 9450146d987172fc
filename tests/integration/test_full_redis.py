"""A Redis that has reached its maxmemory: it can be seen and mended, and runs go on with room."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from distflow.core.model import Task
from distflow.core.status import RunStatus
from tests.integration.cli_runs import begun, end, held, started_commands, starts
from tests.integration.cli_scene import Scene
from tests.support.full import fill, make_room
from tests.support.redis_server import RedisPool, redis_binaries, version_name
from tests.support.wait import wait_for


@pytest.fixture(params=redis_binaries(), ids=version_name)
def scene(request: pytest.FixtureRequest, redis_pool: RedisPool) -> Iterator[Scene]:
    """A Redis that is full, on each server: ``run-1`` stands half-way, ``ended`` has ended."""
    made = Scene(redis_pool.get(request.param))
    names = [Task(name, "pkg.tasks:work") for name in ("good", "bad", "lost", "open")]
    store, epoch = made.open_graph(names)
    made.settle(store, epoch, "good", "success", data="x" * 1000)
    made.settle(store, epoch, "bad", "failure", error="ValueError: no")
    made.settle(store, epoch, "lost", "unknown")
    made.leave(store, epoch)
    ended, epoch = made.open_run("only", run_id="ended")
    made.settle(ended, epoch, "only", "success")
    ended.set_status(RunStatus.SUCCESS, {RunStatus.RUNNING}, epoch=epoch)
    ended.end_batch(epoch, "b1")
    made.leave(ended, epoch)
    fill(made.client)
    yield made
    make_room(made.client)
    made.close()


def test_status(scene: Scene) -> None:
    """Where the run stands, and what it waits for."""
    result = scene.cli("status", "run-1", "--tasks")
    assert result.exit_code == 0, result.output
    assert "bad" in result.stdout
    document = json.loads(scene.cli("status", "run-1", "--json", "--tasks").stdout)
    assert document["tasks"]["success"] == 1
    assert document["results"]["good"]["data"] == "x" * 1000


def test_runs(scene: Scene) -> None:
    """Which runs there are."""
    listed = json.loads(scene.cli("runs", "--json").stdout)
    assert {run["run_id"] for run in listed} == {"run-1", "ended"}
    assert scene.cli("runs").exit_code == 0


def test_show(scene: Scene) -> None:
    """What became of a task."""
    document = json.loads(scene.cli("show", "run-1", "bad", "--json").stdout)
    assert document["status"] == "failure"
    assert scene.cli("show", "run-1", "lost").exit_code == 0


def test_graph(scene: Scene) -> None:
    """What the run is made of."""
    assert "good" in scene.cli("graph", "--run", "run-1").stdout


def test_export(scene: Scene, tmp_path: Path) -> None:
    """What is known can be kept elsewhere."""
    result = scene.cli("export", "run-1", "-o", tmp_path / "file")
    assert result.exit_code == 0, result.output
    make_room(scene.client)
    assert scene.cli("import", tmp_path / "file", "--run-id", "copy").exit_code == 0
    assert scene.store("copy").read_info().counts["success"] == 1


def test_watch(scene: Scene) -> None:
    """A run that stands is told of, with the exit code of its status."""
    assert scene.cli("watch", "ended").exit_code == 0


def test_pause(scene: Scene) -> None:
    """Nothing more starts."""
    result = scene.cli("pause", "run-1")
    assert result.exit_code == 0, result.output
    assert scene.store().read_status() == "paused"


def test_cancel(scene: Scene) -> None:
    """A run that nobody leads is cancelled to its end, as far as it can: an unknown task waits for
    a person.
    """
    result = scene.cli("cancel", "run-1", "--grace", "0")
    assert result.exit_code == 3, result.output
    info = scene.store().read_info()
    assert (info.status, info.counts["cancelled"]) == ("blocked", 1)


def test_resolve(scene: Scene) -> None:
    """A decision is kept: what nobody knows is the last thing to lose."""
    result = scene.cli("resolve", "run-1", "lost", "--fail")
    assert result.exit_code == 0, result.output
    assert scene.store().read_info().counts["unknown"] == 0


def test_delete(scene: Scene) -> None:
    """Every key of a run goes."""
    result = scene.cli("delete", "run-1", "--force")
    assert result.exit_code == 0, result.output
    assert list(scene.client.scan_iter("*{run-1}*")) == []
    assert b"run-1" not in scene.client.zrange("distflow:runs", 0, -1)


def test_purge(scene: Scene) -> None:
    """What ended long ago goes."""
    result = scene.cli("purge", "--older-than", "0s")
    assert result.exit_code == 0, result.output
    assert scene.client.zrange("distflow:runs", 0, -1) == [b"run-1"]
    assert list(scene.client.scan_iter("*{ended}*")) == []


@contextmanager
def _at_work(scene: Scene, folder: Path, *leader: str) -> Iterator[list[subprocess.Popen[str]]]:
    """A worker inside the first of two tasks of the run ``led``, and who leads it, while Redis is
    filled; then the task ends. The processes: the worker, then the leader.
    """
    make_room(scene.client)
    with started_commands() as start:
        processes = [start(scene.url, "worker"), start(scene.url, *leader)]
        if "submit" not in leader:
            scene.cli("submit", *held(folder), "--run-id", "led", "--detach")
        wait_for(lambda: begun(folder), 30, "the task to begin")
        fill(scene.client)
        (folder / "gate").touch()
        store = scene.store("led")
        wait_for(lambda: store.read_info().counts["success"] == 1, 20, "the outcome")
        try:
            yield processes
        finally:
            # A work horse that waits for room would keep the pipe open of which the end is read.
            make_room(scene.client)


def _says_so(process: subprocess.Popen[str]) -> bool:
    assert process.stderr is not None
    return "OOM" in process.stderr.readline()


def test_a_led_run_goes_on_with_room(scene: Scene, tmp_path: Path) -> None:
    """A worker keeps what it has done and takes nothing more; who leads the run says that it waits
    for room, and goes on; nothing is lost, and nothing runs twice.
    """
    submit = ("submit", *held(tmp_path), "--run-id", "led")
    with _at_work(scene, tmp_path, *submit) as (worker, leader):
        wait_for(partial(_says_so, leader), 20, "a word of it")
        assert (worker.poll(), leader.poll()) == (None, None)
        assert set(starts(tmp_path)) == {"hold"}
        make_room(scene.client)
        assert end(leader)[0] == 0
        assert worker.poll() is None
    assert set(starts(tmp_path).values()) == {1}
    assert len(starts(tmp_path)) == 2


def test_a_led_run_is_cancelled(scene: Scene, tmp_path: Path) -> None:
    """Who leads it hears of that, though it waits for room."""
    submit = ("submit", *held(tmp_path), "--run-id", "led")
    with _at_work(scene, tmp_path, *submit) as (_worker, leader):
        wait_for(partial(_says_so, leader), 20, "a word of it")
        result = scene.cli("cancel", "led")
        assert result.exit_code == 0, result.output
        assert end(leader)[0] == 1
    assert scene.store("led").read_info().counts["cancelled"] == 1


def test_a_service_goes_on(scene: Scene, tmp_path: Path) -> None:
    """It leads its runs still, and ends one that is cancelled."""
    with _at_work(scene, tmp_path, "coordinator") as (_worker, service):
        store = scene.store("led")
        store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=1.0)
        wait_for(lambda: store.read_status() == RunStatus.CANCELLED, 20, "the end of the run")
        assert service.poll() is None
