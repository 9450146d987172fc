"""How each time is measured: a scene is set, something goes wrong, and a clock runs until it is
found. Each function returns the seconds, and waits for ``wait`` seconds at most.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from distflow.coordinator.settings import CoordinatorSettings
from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.support.cli import kill_cli, start_cli
from tests.support.scene import BRISK, Scene
from tests.support.tasks import recording, stuck
from tests.support.wait import wait_for
from tests.support.worker_process import SIMPLE, WorkerProcess

#: Commands lead with the lease of the real settings.
_REAL_LEASE = {"DISTFLOW_LEASE_SECONDS": f"{CoordinatorSettings().lease_seconds:g}"}

#: Seconds that setting a scene may take, on a busy machine.
_SETTING_SECONDS = 60.0


class Promise(NamedTuple):
    """One time that is promised."""

    name: str
    #: In which it must happen.
    seconds: float
    measure: Callable[[Scene, float], float]
    #: It must take so long: what is given up sooner is given up without evidence.
    least: float = 0.0


# Workers that are gone, or frozen


def _found(
    scene: Scene,
    wait: float,
    effects: str,
    hurt: Callable[[WorkerProcess], object],
    **worker: Any,
) -> float:
    """A worker inside a task is hurt."""
    scene.worker("q", **worker).wait_ready(_SETTING_SECONDS)
    scene.hold("q", effects)
    wait_for(scene.all_have_beaten, _SETTING_SECONDS, "beats")
    at = time.monotonic()
    hurt(scene.workers["q"])
    kind = "warning" if effects == "at_most_once" else "repair"
    return scene.wait_told("q", kind, wait)[0] - at


def killed(scene: Scene, wait: float) -> float:
    """SIGKILL to a stock worker and its work horse."""
    return _found(scene, wait, "normal", WorkerProcess.kill)


def horse_killed(scene: Scene, wait: float) -> float:
    """SIGKILL to the work horse alone: out of memory."""
    return _found(scene, wait, "normal", WorkerProcess.kill_horse)


def frozen(scene: Scene, wait: float) -> float:
    """SIGSTOP to a worker with the heartbeats of ``distflow worker``."""
    return _found(scene, wait, "idempotent", WorkerProcess.freeze, extra_args=BRISK)


def held(scene: Scene, wait: float) -> float:
    """The same inside a task that may not run twice: a person is warned."""
    return _found(scene, wait, "at_most_once", WorkerProcess.freeze, extra_args=BRISK)


def frozen_stock(scene: Scene, wait: float) -> float:
    """SIGSTOP to a worker with RQ's own flags: it is heard every 30 s."""
    return _found(scene, wait, "idempotent", WorkerProcess.freeze)


def frozen_simple(scene: Scene, wait: float) -> float:
    """SIGSTOP to a worker that is not heard while it works."""
    return _found(scene, wait, "idempotent", WorkerProcess.freeze, worker_class=SIMPLE)


def all_killed(scene: Scene, wait: float) -> float:
    """All workers of a coordinator go silent at once: it may be the network."""
    for number in range(3):
        scene.worker("q", name=f"worker {number}")
    for worker in scene.workers.values():
        worker.wait_ready(_SETTING_SECONDS)
    arguments = (str(scene.log("q")), str(scene.gate("q")))
    flow = stuck.single(stuck.hold, scene.log("q"), arguments[1], "q", batch=False)
    for number in range(2):
        flow.add(f"hold{number}", stuck.hold, arguments, queue="q", batch=False)
    scene.submit("q", flow)
    wait_for(lambda: len(recording.lines(scene.log("q"))) == 3, _SETTING_SECONDS, "the tasks")
    wait_for(scene.all_have_beaten, _SETTING_SECONDS, "beats")
    at = time.monotonic()
    for worker in scene.workers.values():
        worker.kill()
    return scene.wait_told("q", "repair", wait)[0] - at


# What Redis has lost


def entry_lost(scene: Scene, wait: float) -> float:
    """A queue is deleted, with a batch that nobody had begun."""
    with scene.server.client() as client:
        scene.submit("q", stuck.single(stuck.nap, scene.log("q"), 0.0, "q"))
        wait_for(lambda: client.llen("rq:queue:q"), _SETTING_SECONDS, "the batch")
        at = time.monotonic()
        client.delete("rq:queue:q")
    return scene.wait_told("q", "repair", wait)[0] - at


def index_lost(scene: Scene, wait: float) -> float:
    """The lists of runs are deleted while a task is at work."""
    scene.worker("q").wait_ready(_SETTING_SECONDS)
    scene.hold("q", "normal")
    scene.began("q")
    with scene.server.client() as client:
        at = time.monotonic()
        assert client.delete("distflow:runs", "distflow:active") == 2
        wait_for(lambda: client.exists("distflow:runs", "distflow:active") == 2, wait, "both")
    return time.monotonic() - at


def _lead(scene: Scene, flow: str, *params: str) -> tuple[subprocess.Popen[str], Run]:
    """A command that leads the run ``r``."""
    words = [word for param in params for word in ("-p", param)]
    flow = f"tests.support.tasks.{flow}"
    leader = start_cli(scene.server.url, "submit", flow, "--run-id", "r", *words, env=_REAL_LEASE)
    scene.at_end(lambda: kill_cli(leader))
    client = Client(scene.server.client())
    scene.at_end(client.redis.close)
    wait_for(lambda: "r" in client.run_ids(), _SETTING_SECONDS, "the run")
    run = client.run("r")
    wait_for(lambda: run.info().coordinator, _SETTING_SECONDS, "it to lead")
    return leader, run


class _Blind:
    """A command that leads the run ``r``, and is stopped for a while: it does not see the events of
    that time.
    """

    def __init__(self, scene: Scene, flow: str, *params: str) -> None:
        scene.worker("default").wait_ready(_SETTING_SECONDS)
        self._leader, self.run = _lead(scene, flow, *params)
        self._redis: Any = Client(self.run.engine.backend).redis

    def stop(self) -> None:
        """Stop the leader; returns when no reply can reach it any more."""
        os.kill(self._leader.pid, signal.SIGSTOP)
        wait_for(lambda: not self._is_reading(), 10, "the end of its last read")

    def _is_reading(self) -> bool:
        return any(each["cmd"] == "xread" and "b" in each["flags"] for each in self._clients())

    def _clients(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._redis.client_list()
        return found

    def go_on(self, wait: float) -> float:
        """Delete all events, let the leader go on; returns how long it takes until it has found
        that out.
        """
        assert self._redis.delete("distflow:{r}:events") == 1
        at = time.monotonic()
        os.kill(self._leader.pid, signal.SIGCONT)
        wait_for(lambda: self.run.info().repairs.get("events_lost"), wait, "the repair")
        return time.monotonic() - at


def events_lost(scene: Scene, wait: float) -> float:
    """The events of a run are deleted that tell how its task has ended."""
    log, gate = scene.log("q"), scene.gate("q")
    blind = _Blind(scene, "recording:holding", f"log={log}", f"gate={gate}")
    scene.began("q")
    wait_for(lambda: blind.run.info().counts["running"], 10, "its claim")
    blind.stop()
    gate.touch()
    wait_for(lambda: blind.run.info().counts["success"], 20, "its outcome")
    wait_for(lambda: not blind.run.store.read_beats(), 20, "its batch to end")
    return blind.go_on(wait)


def events_lost_idle(scene: Scene, wait: float) -> float:
    """The same of a decision, while nothing of the run is at work."""
    blind = _Blind(scene, "timing:waiting", f"log={scene.log('q')}")
    wait_for(lambda: blind.run.store.read_progress().keys() >= {"patient", "unsure"}, 60, "both")
    wait_for(lambda: not blind.run.store.read_beats(), 20, "its batches to end")
    # The coordinator has looked at that, and looks seldom from now on.
    at_rest = time.monotonic() + 5
    wait_for(lambda: time.monotonic() > at_rest, 6, "it to rest")
    blind.stop()
    blind.run.resolve("unsure", "done", 1)
    return blind.go_on(wait)


def redis_away(scene: Scene, wait: float) -> float:
    """Redis is gone for good: the command ends with 5."""
    leader, _run = _lead(
        scene, "recording:holding", f"log={scene.log('q')}", f"gate={scene.gate('q')}"
    )
    at = time.monotonic()
    scene.server.close()
    assert leader.wait(wait) == 5
    return time.monotonic() - at


PROMISES = [
    Promise("a killed worker is found", 5.0, killed, 3.0),
    Promise("a killed work horse is found", 5.0, horse_killed, 3.0),
    Promise("a frozen `distflow worker` is found", 10.0, frozen, 3.0),
    Promise("what it holds is named", 10.0, held, 3.0),
    Promise("a frozen `rq worker` is found", 45.0, frozen_stock, 3.0),
    Promise("a frozen SimpleWorker is found", 430.0, frozen_simple, 30.0),
    Promise("workers that all go silent are given time", 15.0, all_killed, 10.0),
    Promise("an entry that a queue has lost is sent again", 7.0, entry_lost, 5.0),
    Promise("lost events are found", 10.0, events_lost),
    Promise("lost events are found while nothing is at work", 35.0, events_lost_idle),
    Promise("a run that the lists have lost is listed", 300.0, index_lost),
    Promise("a command without Redis ends with 5", 75.0, redis_away, 60.0),
]
