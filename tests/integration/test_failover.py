"""A primary that freezes is replaced by the Sentinels, and everybody follows within seconds."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from distflow import connect
from tests.support.cli import command, kill_cli, start_cli
from tests.support.redis_server import redis_binaries, version_name, waitaof_binary
from tests.support.sentinels import SentinelSet
from tests.support.session_process import SessionProcess
from tests.support.tasks import recording
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, WorkerProcess

#: Seconds within which all work goes on, the 3 s included after which Sentinels act.
GOES_ON_SECONDS = 15.0

FLOW = "tests.support.tasks.relaying:relay"

#: Queue -> how its worker is started.
CONNECTED = {"RQ_CONNECTION_CLASS": "distflow_worker.WorkerRedis"}
OWN, STOCK = "own", "stock"
BUSY = {"busy-own": (OWN, None), "busy-fast": (OWN, FAST), "busy-stock": (STOCK, None)}
IDLE = {"idle-own": (OWN, None), "idle-fast": (OWN, FAST), "idle-stock": (STOCK, None)}

BINARIES = {version_name(each): each for each in (*redis_binaries(), waitaof_binary())}


class Scene:
    """Workers of every kind, half of them at work, and two runs: one that its submit leads, and one
    that a service leads.
    """

    def __init__(self, binary: Path, folder: Path) -> None:
        self.folder = folder
        self._started = ExitStack()
        self.set = SentinelSet(binary)
        self._started.callback(self.set.close)
        self.url = self.set.url
        self.client = connect(self.url)
        self._started.callback(self.client.redis.close)
        self.workers: list[str] = []
        for queue, (kind, worker_class) in {**BUSY, **IDLE}.items():
            # Two of each busy kind: one run holds each.
            for number in range(2 if queue in BUSY else 1):
                self._start_worker(f"{queue}-{number}", queue, kind, worker_class)
        for name in self.workers:
            wait_for(partial(self.client.redis.hget, f"rq:worker:{name}", "state"), 60, name)
        self.coordinator = start_cli(self.url, "coordinator")
        self._started.callback(kill_cli, self.coordinator)
        wait_for(self.client.coordinators, 30, "the coordinator")
        self.submit = start_cli(self.url, *self._submit("led"))
        self._started.callback(kill_cli, self.submit)
        self.run("left", "--detach")
        for run_id in ("led", "left"):
            wait_for(partial(self._has_begun, run_id), 60, f"the tasks of {run_id}")

    def _start_worker(self, name: str, queue: str, kind: str, worker_class: str | None) -> None:
        if kind == STOCK:
            worker: SessionProcess = WorkerProcess(self.url, [queue], name=name, env=CONNECTED)
        else:
            words = ["worker", queue, "--name", name, "--redis", self.url]
            words += ["-w", worker_class] if worker_class else []
            worker = SessionProcess(name, command(*words))
        self._started.callback(worker.close)
        self._started.callback(lambda: print(f"--- {name}\n{worker.log()}"))  # noqa: T201
        self.workers.append(name)

    def _submit(self, run_id: str) -> list[str]:
        parameters = {
            "log": self.log(run_id),
            "gate": self.gate,
            "busy": ",".join(BUSY),
            "idle": ",".join(IDLE),
        }
        words = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        return ["submit", FLOW, "--run-id", run_id, *words]

    def run(self, run_id: str, *more: str) -> None:
        """Submit a run and leave it."""
        words = [*self._submit(run_id), *more]
        done = subprocess.run(
            [*command(*words), "--redis", self.url], capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr

    @property
    def gate(self) -> Path:
        """What the tasks of the busy queues wait for."""
        return self.folder / "gate"

    def log(self, run_id: str) -> Path:
        """What the tasks of a run wrote."""
        return self.folder / run_id

    def lines(self, run_id: str) -> list[list[str]]:
        """The same, in words."""
        return recording.lines(self.log(run_id))

    def expected(self) -> list[list[str]]:
        """What the tasks of a run write, each once, sorted."""
        held = [f"hold-{queue}" for queue in BUSY]
        steps = [[f"step-{queue}"] for queue in IDLE]
        return sorted([*([name] for name in held), *([name, "done"] for name in held), *steps])

    def _has_begun(self, run_id: str) -> bool:
        return len(self.lines(run_id)) == len(BUSY)

    def is_done(self, run_id: str) -> bool:
        """Whether every task of a run was run."""
        return len(self.lines(run_id)) >= len(self.expected())

    def unheard(self) -> set[str]:
        """The workers of which no process listens for commands."""
        counts: Any = self.client.redis.pubsub_numsub(*map("rq:pubsub:{}".format, self.workers))
        return {
            name for name, (_channel, count) in zip(self.workers, counts, strict=True) if not count
        }

    def close(self) -> None:
        """End everything."""
        self.gate.touch()
        self._started.close()


@pytest.fixture(params=list(BINARIES.values()), ids=list(BINARIES))
def scene(request: Any, tmp_path: Path) -> Iterator[Scene]:
    """Everybody is there, and at work."""
    with ExitStack() as made:
        scene = Scene(request.param, tmp_path)
        made.callback(scene.close)
        yield scene


def goes_on(scene: Scene, since: float) -> None:
    """All tasks are done, and whoever waits has its answer, in time; everybody listens again."""
    scene.gate.touch()
    status = start_cli(scene.url, "status", "led", "--json")
    for run_id in ("led", "left"):
        left = GOES_ON_SECONDS - (time.monotonic() - since)
        wait_for(partial(scene.is_done, run_id), left, f"the tasks of {run_id}")
    out, err = status.communicate(timeout=30)
    assert (status.returncode, json.loads(out)["run_id"]) == (0, "led"), err
    assert scene.submit.wait(30) == 0
    wait_for(lambda: not set(scene.workers) & scene.unheard(), 15, "all to be subscribed again")


def nothing_was_lost(scene: Scene, *run_ids: str) -> None:
    """Each task ran once, and no worker was taken for lost."""
    for run_id in run_ids:
        run = scene.client.run(run_id)
        assert run.wait(30) == "success"
        assert sorted(scene.lines(run_id)) == scene.expected()
        assert set(run.info().repairs) <= {"redis_restarted"}


@pytest.mark.timeout(200)
def test_a_frozen_primary(scene: Scene) -> None:
    """SIGSTOP to the primary, and to a Sentinel: their connections stay, and nobody is told. Every
    kind of worker, idle and busy, `submit`, the service and a status command go on with the new one
    within 15 s; nothing happens twice. The old one wakes up, and is left alone.
    """
    scene.set.sentinels[0].freeze()
    scene.set.primary.freeze()
    goes_on(scene, time.monotonic())
    scene.set.sentinels[0].thaw()
    scene.set.primary.thaw()
    wait_for(lambda: not scene.set.primary.callers(), 5, "nobody to talk to the old primary")
    # It takes itself for the primary until a Sentinel demotes it.
    scene.run("later", "--detach")
    wait_for(lambda: scene.is_done("later"), 30, "the tasks of another run")
    wait_for(lambda: scene.set.primary.role() == "slave", 30, "the old primary to be demoted")
    assert scene.set.primary.callers() == []
    nothing_was_lost(scene, "led", "left", "later")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("scene", [waitaof_binary()], ids=version_name, indirect=True)
def test_a_failover_that_is_ordered(scene: Scene) -> None:
    """The primary is made a replica, and tells those who wait: each looks for the new one."""
    scene.set.fail_over()
    goes_on(scene, time.monotonic())
    wait_for(lambda: scene.set.primary.role() == "slave", 30, "the old primary to be demoted")
    wait_for(lambda: not scene.set.primary.callers(), 5, "nobody to talk to the old primary")
    nothing_was_lost(scene, "led", "left")
