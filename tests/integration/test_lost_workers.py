"""Workers that are lost are found in seconds, and no other is taken for lost: real processes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from distflow import TaskStatus
from distflow.coordinator.settings import CoordinatorSettings
from tests.support.scene import BRISK, Scene
from tests.support.tasks import recording, stuck
from tests.support.wait import stretched, wait_for
from tests.support.worker_process import SIMPLE

SPAWNING = "rq.worker.SpawnWorker"

#: Seconds that tasks hold the interpreter lock, and that Redis is away.
LONG = 6
PAUSE = 5.0


@pytest.fixture(scope="module")
def make_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Scene]]:
    """Makes scenes; all of them end with the module."""
    with ExitStack() as made:

        def make(name: str) -> Scene:
            scene = Scene(tmp_path_factory.mktemp(name))
            made.callback(scene.close)
            return scene

        yield make


# Workers that are gone, or frozen


@pytest.fixture(scope="module")
def lost(make_scene: Callable[[str], Scene]) -> tuple[Scene, float]:
    """Four workers inside a task each: one is killed, three are frozen; and when."""
    scene = make_scene("lost")
    scene.worker("killed")
    for queue in ("again", "held", "once"):
        scene.worker(queue, extra_args=BRISK)
    for worker in scene.workers.values():
        worker.wait_ready()
    for queue, effects in (
        ("killed", "normal"),
        ("again", "idempotent"),
        ("held", "normal"),
        ("once", "at_most_once"),
    ):
        scene.hold(queue, effects)
    # Its coordinator has seen a beat and a heartbeat of each.
    wait_for(scene.all_have_beaten, 30, "beats")
    at = time.monotonic()
    scene.workers["killed"].kill()
    for queue in ("again", "held", "once"):
        scene.workers[queue].freeze()
    scene.worker("again", name="second")
    return scene, at


def test_a_killed_worker_is_found_in_seconds(lost: tuple[Scene, float]) -> None:
    """Worker and horse of a stock `rq worker`, default flags: found within 5 s."""
    scene, killed_at = lost
    told_at, notice = scene.wait_told("killed", "repair", 10)
    assert told_at - killed_at < stretched(5), told_at - killed_at
    name = scene.workers["killed"].name
    silent = "no heartbeat since .+ UTC, and none of its processes is connected"
    seen = rf"worker {name} was lost: {silent}"
    assert re.fullmatch(rf"hold: failure; {seen}", notice.message)
    result = scene.result("killed")
    assert result.status == "failure"
    assert re.fullmatch(rf"WorkerLost: {seen}", result.error)
    assert scene.runs["killed"].info().repairs == {"worker_lost": 1}


def test_a_frozen_worker_gives_up_what_may_run_twice(lost: tuple[Scene, float]) -> None:
    """SIGSTOP to worker and horse, by `distflow worker`'s flags: within 10 s an `idempotent` task
    is dispatched again. The worker comes back: its late result is refused, and in the history.
    """
    scene, frozen_at = lost
    told_at, notice = scene.wait_told("again", "repair", 15)
    assert told_at - frozen_at < stretched(10), told_at - frozen_at
    name = scene.workers["again"].name
    seen = rf"worker {name} is frozen: connected, but no heartbeat since .+ UTC"
    assert re.fullmatch(rf"hold: waiting; {seen}", notice.message)
    scene.began("again", 2)
    run = scene.runs["again"]
    scene.gate("again").touch()
    result = scene.result("again")
    assert (result.status, result.worker) == ("success", scene.workers["second"].name)
    packed = run.store.read_results(["hold"])
    scene.workers["again"].thaw()
    wait_for(lambda: _history(run)[-1] == ("refused", name), 20, "the late result")
    assert run.store.read_results(["hold"]) == packed
    assert run.info().repairs == {"worker_frozen": 1}


def _history(run: Any) -> list[tuple[str, str]]:
    return [(entry.kind, entry.by) for entry in run.store.read_history()]


@pytest.mark.parametrize("queue", ["held", "once"])
def test_a_frozen_worker_holds_the_rest(lost: tuple[Scene, float], queue: str) -> None:
    """A task that may not run twice is held, and the run says by whom, since when. The worker wakes
    up: nothing was lost.
    """
    scene, frozen_at = lost
    told_at, notice = scene.wait_told(queue, "warning", 15)
    assert told_at - frozen_at < stretched(10), told_at - frozen_at
    name = scene.workers[queue].name
    assert f"worker {name} is frozen inside hold" in notice.message
    run = scene.runs[queue]
    info = run.info()
    (held,) = info.held
    assert (held.task, held.worker) == ("hold", name)
    # By the last beat that was seen, which a busy machine sees late.
    assert abs(info.as_of - held.since - (time.monotonic() - frozen_at)) < stretched(3)
    scene.gate(queue).touch()
    scene.workers[queue].thaw()
    assert scene.result(queue).status == TaskStatus.SUCCESS
    assert run.info().held == ()
    assert run.info().repairs == {}
    assert recording.lines(scene.log(queue)) == [["hold"], ["hold", "done"]]


# Workers that only seem to be


@pytest.fixture(scope="module")
def seized(make_scene: Callable[[str], Scene]) -> Scene:
    """Workers of every kind inside a task that holds the interpreter lock, and one whose parent was
    killed.
    """
    scene = make_scene("seized")
    scene.worker("stock")
    scene.worker("brisk", extra_args=BRISK)
    scene.worker("simple", worker_class=SIMPLE, extra_args=BRISK)
    scene.worker("spawning", worker_class=SPAWNING)
    scene.worker("orphan")
    for worker in scene.workers.values():
        worker.wait_ready()
    for queue in scene.workers:
        task = stuck.nap if queue == "orphan" else stuck.seize
        options = {"effects": "idempotent"}
        scene.submit(queue, stuck.single(task, scene.log(queue), LONG, queue, **options))
    for queue in scene.workers:
        scene.began(queue)
    scene.workers["orphan"].kill_parent()
    return scene


@pytest.mark.parametrize("queue", ["stock", "brisk", "simple", "spawning", "orphan"])
def test_no_false_alarm(seized: Scene, queue: str) -> None:
    """A task that holds the interpreter lock sends no beat; a horse whose parent is dead goes on:
    each is left alone, ends, and was called once.
    """
    result = seized.result(queue)
    assert result.status == TaskStatus.SUCCESS
    assert result.metrics.duration >= LONG - 0.5
    assert len(recording.lines(seized.log(queue))) == 1
    assert seized.mishaps(queue) == []


@pytest.fixture(scope="module")
def away(make_scene: Callable[[str], Scene]) -> dict[str, Scene]:
    """Workers inside tasks, and a Redis that answers nobody for 5 s; then time to judge them."""
    scenes = {how: make_scene(how) for how in ("frozen", "paused")}
    # Nothing that its coordinators write besides is due: they look on while nobody may write.
    scenes["paused"].settings = CoordinatorSettings(unbegun_seconds=60.0)
    for scene in scenes.values():
        scene.worker("stock")
        scene.worker("brisk", extra_args=BRISK)
        scene.worker("simple", worker_class=SIMPLE)
    for scene in scenes.values():
        for worker in scene.workers.values():
            worker.wait_ready()
        for queue in scene.workers:
            scene.hold(queue, "idempotent")
    for scene in scenes.values():
        wait_for(scene.all_have_beaten, 30, "beats")
    back_at = time.monotonic() + PAUSE
    with scenes["paused"].server.client() as client:
        client.client_pause(int(PAUSE * 1000), all=False)
    scenes["frozen"].server.pause()
    wait_for(lambda: time.monotonic() > back_at, PAUSE + 1, "the end of the pause")
    scenes["frozen"].server.proceed()
    # Whoever was to be taken for lost would be so by then.
    wait_for(lambda: time.monotonic() > back_at + 5, 6, "the next looks")
    for scene in scenes.values():
        for queue in scene.workers:
            scene.gate(queue).touch()
    return scenes


@pytest.mark.parametrize("how", ["frozen", "paused"])
@pytest.mark.parametrize("queue", ["stock", "brisk", "simple"])
def test_redis_away_for_a_while_is_no_lost_worker(
    away: dict[str, Scene], how: str, queue: str
) -> None:
    """Redis stopped, or refusing what writes: no beat came, and nobody was lost."""
    scene = away[how]
    assert scene.result(queue).status == TaskStatus.SUCCESS
    assert scene.mishaps(queue) == []
    assert recording.lines(scene.log(queue)) == [["hold"], ["hold", "done"]]
