"""Runs leave by ``export`` and arrive by ``import``."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from distflow.core.model import Task
from distflow.runs.client import Client
from tests.integration.cli_scene import Scene
from tests.support.cli import command
from tests.support.redis_server import RedisServer
from tests.support.stores import list_active_runs


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """An empty Redis with the command line in front of it."""
    scene = Scene(redis_server)
    yield scene
    scene.close()


def half_a_run(scene: Scene) -> None:
    """A run that nobody leads: ``a`` is done, ``b`` has not run and may run at most once."""
    tasks = [Task("a", "pkg:work"), Task("b", "pkg:work", effects="at_most_once")]
    store, epoch = scene.open_graph(tasks)
    scene.settle(store, epoch, "a", "success", data=[1, 2])
    scene.leave(store, epoch)


def test_an_import_of_0_1_with_a_gap(scene: Scene) -> None:
    """That release asked for the person's word when the run was resumed: so does this one."""
    half_a_run(scene)
    scene.client.hset(scene.store().keys.meta, "gap", 1)
    assert "--accept-gap" in scene.refused("resume", "run-1")
    assert "distflow resume run-1 --accept-gap" in scene.cli("status", "run-1").stdout


def test_a_run_whose_keys_were_restored(scene: Scene) -> None:
    """It is on no list: it is found by its keys, in its place by age; and is listed once it is led,
    but left to no service unasked.
    """
    half_a_run(scene)
    scene.open_run("a", run_id="younger")
    keys = scene.store().keys.all()
    dumps = {key: dump for key in keys if (dump := scene.client.dump(key)) is not None}
    scene.cli("delete", "run-1", "--force")
    for key, dump in dumps.items():
        scene.client.restore(key, 0, dump)
    scene.client.set("distflow:{a b}:meta", "of somebody else")
    assert scene.client.zrange("distflow:runs", 0, -1) == [b"younger"]
    listed = json.loads(scene.cli("runs", "--json").stdout)
    assert [run["run_id"] for run in listed] == ["younger", "run-1"]
    assert list_active_runs(scene.client) == ["younger"]
    executor = Client(scene.client).run("run-1").executor()
    executor.begin(force=True)
    executor.end()
    assert scene.client.zrange("distflow:runs", 0, -1) == [b"run-1", b"younger"]


def test_export_spares_the_terminal(scene: Scene) -> None:
    """Bytes are not written to a terminal."""
    half_a_run(scene)
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            command("export", "run-1", "-o", "-", "--redis", scene.url),
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert "a terminal cannot show msgpack" in done.stderr
