"""Outcomes that workers hold while Redis is away or refuses: none is thrown away."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from distflow import Workflow
from distflow.core.batching import BatchLimits, Estimates
from distflow.core.model import TaskResult
from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.conftest import StartWorker
from tests.support.cli import start_cli
from tests.support.redis_server import RedisServer
from tests.support.tasks import overrunning, recording, stuck
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING, SIMPLE, WorkerProcess


class Scene:
    """A worker inside a task, whose Redis goes; nobody leads its run meanwhile."""

    def __init__(self, server: RedisServer, start_worker: StartWorker, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.spool, self.log, self.gate = folder / "spool", folder / "log", folder / "gate"
        self._start_worker = start_worker
        self._epoch = 0

    def worker(self, *, seconds: str = "3600", **options: Any) -> WorkerProcess:
        """Start one that tells outcomes for so long."""
        env = {"DISTFLOW_SPOOL": str(self.spool), "DISTFLOW_OUTCOME_SECONDS": seconds}
        worker: WorkerProcess = self._start_worker(self.server.url, env=env, **options)
        return worker

    def client(self) -> Client:
        """Of the server, which may have been started again."""
        return Client(self.server.client())

    def submit(
        self, workflow: Workflow, run_id: str = "held", estimates: Estimates | None = None
    ) -> Run:
        """Make a run, and send its first batches; whoever does that leads it no more."""
        client = self.client()
        client.engine.estimates = estimates or client.engine.estimates
        run = client.create(workflow, run_id=run_id)
        executor = run.executor()
        executor.begin()
        client.backend.dispatcher.dispatch(executor.take_batches())
        executor.end()
        return run

    def hold(self, **options: Any) -> Run:
        """A run whose task a worker is inside of."""
        run = self.submit(stuck.single(stuck.hold, self.log, str(self.gate), "default", **options))
        wait_for(lambda: ["hold"] in recording.lines(self.log), 20, "the task to begin")
        return run

    def end_task(self) -> None:
        """Let the task end."""
        self.gate.touch()
        wait_for(lambda: ["hold", "done"] in recording.lines(self.log), 20, "the task to end")

    def files(self) -> list[Path]:
        """The outcomes on disk."""
        return sorted(self.spool.glob("*.outcome"))

    def wait_kept(self, count: int = 1) -> None:
        """Return when so many are there."""
        wait_for(lambda: len(self.files()) == count, 20, "the outcome to be on disk")

    def pass_by(self, run_id: str = "other") -> None:
        """Let a worker take a batch of another run."""
        other = self.submit(stuck.single(stuck.nap, self.folder / "other", 0.0, "default"), run_id)
        wait_for(other.results, 30, "another run's task to end")

    def result(self, run_id: str = "held") -> TaskResult | None:
        """Of the run's one task."""
        results = self.client().run(run_id).results()
        return next(iter(results.values()), None)

    def wait_success(self) -> TaskResult:
        """The task's success; there is nothing on disk any more, and it ran once."""
        wait_for(lambda: not self.files(), 30, "nothing to be on disk")
        result = self.result()
        assert result is not None
        assert result.status == "success"
        assert recording.lines(self.log) == [["hold"], ["hold", "done"]]
        return result


@pytest.fixture
def scene(fresh_redis: RedisServer, start_worker: StartWorker, tmp_path: Path) -> Scene:
    """A server of its own, and workers."""
    return Scene(fresh_redis, start_worker, tmp_path)


def horse_of(worker: WorkerProcess) -> list[int]:
    """The processes of a worker."""
    return [pid for pid in (worker.pid, *worker.children()) if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


KINDS = pytest.mark.parametrize("kind", [FORKING, FAST, SIMPLE])


@KINDS
def test_a_worker_tells_until_redis_is_back(scene: Scene, kind: str) -> None:
    """A stock worker ends when its Redis goes; its work horse has the outcome on disk, and tells it
    as soon as it can.
    """
    worker = scene.worker(worker_class=kind)
    scene.hold()
    scene.server.kill()
    scene.end_task()
    scene.wait_kept()
    if kind == FORKING:
        assert worker.process.wait(30) != 0
        assert horse_of(worker)
    scene.server.restart()
    wait_for(scene.result, 30, "the outcome")
    scene.wait_success()


@KINDS
def test_the_next_batch_delivers_what_a_killed_worker_held(scene: Scene, kind: str) -> None:
    """Its host's supervisor kills what is left of it; a batch of another run, by another worker,
    brings the outcome to Redis.
    """
    worker = scene.worker(worker_class=kind)
    scene.hold(effects="at_most_once")
    scene.server.kill()
    scene.end_task()
    scene.wait_kept()
    worker.kill()
    scene.server.restart()
    assert scene.result() is None
    next_worker = scene.worker()
    scene.pass_by()
    assert scene.wait_success().worker == worker.name
    line = "run held: the outcome success of task hold, attempt 1, was kept on this host: RECORDED"
    assert line in next_worker.log()


@KINDS
def test_the_time_is_up(scene: Scene, kind: str) -> None:
    """A process need not wait for its Redis for ever: it ends, and the outcome stays."""
    scene.worker(worker_class=kind, seconds="1.5")
    scene.hold()
    scene.server.kill()
    scene.end_task()
    scene.wait_kept()
    scene.server.restart()
    scene.worker()
    # Whoever tells it, or delivers it.
    scene.pass_by()
    scene.wait_success()


@pytest.mark.parametrize(
    ("refuse", "allow"),
    [
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    ],
    ids=["NOREPLICAS", "READONLY"],
)
def test_a_redis_that_refuses_is_away_as_well(scene: Scene, refuse: str, allow: str) -> None:
    """It is told again until Redis takes writes, and is on disk meanwhile."""
    scene.worker()
    scene.hold()
    with scene.server.client() as client:
        client.execute_command(*refuse.split())
        scene.end_task()
        scene.wait_kept()
        assert scene.result() is None
        client.execute_command(*allow.split())
    wait_for(scene.result, 30, "the outcome")
    scene.wait_success()


def test_every_outcome_of_a_group_is_kept(scene: Scene) -> None:
    """Short idempotent tasks that were claimed together: the first of them ends Redis. Whichever
    ran before their claims were given back, on a slow machine, are kept.
    """
    worker = scene.worker(worker_class=SIMPLE)
    # It imports what it needs, so that the group is quick.
    scene.pass_by("before")
    flow = Workflow("group")
    # As the coordinator knows them, each takes a millisecond.
    known = Estimates(BatchLimits())
    for number in range(5):
        function, what = (stuck.kill, scene.server.pid) if number == 0 else (stuck.nap, 0.0)
        flow.add(f"n{number}", function, (str(scene.log), what), effects="idempotent")
        known.learn(f"tests.support.tasks.stuck:{function.__name__}", 0.001)
    scene.submit(flow, estimates=known)

    def are_kept() -> bool:
        return 0 < len(scene.files()) == len(recording.lines(scene.log))

    wait_for(are_kept, 20, "all outcomes to be on disk")
    worker.kill()
    ran = [name for (name,) in recording.lines(scene.log)]
    scene.server.restart()
    assert scene.client().run("held").results() == {}
    scene.worker()
    scene.pass_by()
    wait_for(lambda: not scene.files(), 20, "nothing to be on disk")
    results = scene.client().run("held").results()
    assert {name: result.status for name, result in results.items()} == dict.fromkeys(
        ran, "success"
    )


def test_a_timeout_that_a_guardian_saw_is_kept(scene: Scene) -> None:
    """The work horse is ended; what its guardian knows outlives the outage, and the guardian."""
    worker = scene.worker()
    flow = Workflow("overrunning")
    flow.add("swallow", overrunning.swallow, (str(scene.log),), timeout=3.0)
    scene.submit(flow)
    wait_for(lambda: recording.lines(scene.log), 20, "the task to begin")
    scene.server.kill()
    scene.wait_kept()
    horse = int(recording.lines(scene.log)[0][1])
    assert not _is_alive(horse)
    worker.kill()
    _kill_guardians(worker)
    scene.server.restart()
    scene.worker()
    scene.pass_by()
    wait_for(lambda: not scene.files(), 20, "nothing to be on disk")
    result = scene.result()
    assert result is not None
    assert (result.status, (result.error or "").split(":")[0]) == ("failure", "TaskTimeout")


def _kill_guardians(worker: WorkerProcess) -> None:
    """They lead sessions of their own; their command lines are those of their worker."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"\0{worker.name}\0".encode() in entry.read_bytes():
                os.kill(int(entry.parent.name), signal.SIGKILL)


# What fences them


def keep_one(scene: Scene, **options: Any) -> None:
    """Leave the success of a task on disk, and Redis as it was before."""
    worker = scene.worker()
    scene.hold(**options)
    scene.server.kill()
    scene.end_task()
    scene.wait_kept()
    worker.kill()
    scene.server.restart()


def test_a_claim_that_was_given_up_is_not_overruled(scene: Scene) -> None:
    """Its coordinator has recorded a failure meanwhile: the outcome is evidence, as for a live
    worker that comes too late.
    """
    keep_one(scene)
    run = scene.client().run("held")
    run.resume()
    wait_for(scene.result, 30, "the loss to be found")
    packed = run.store.read_results(["hold"])
    scene.worker()
    scene.pass_by()
    wait_for(lambda: not scene.files(), 20, "nothing to be on disk")
    assert run.store.read_results(["hold"]) == packed
    assert "refused" in {entry.kind for entry in run.store.read_history("hold")}


def test_an_unknown_task_is_told_how_it_ended(scene: Scene) -> None:
    """It was given up as unknown: the truth is believed, and the run ends well."""
    keep_one(scene, effects="at_most_once")
    run = scene.client().run("held")
    run.resume()
    wait_for(lambda: (found := scene.result()) and found.status == "unknown", 30, "the loss")
    scene.worker()
    scene.pass_by()
    scene.wait_success()


@pytest.mark.parametrize("again", [False, True])
def test_a_run_that_is_gone_drops_them(scene: Scene, *, again: bool) -> None:
    """Deleted; or deleted, and made again under its id: that one is another, and hears nothing."""
    keep_one(scene)
    client = scene.client()
    client.run("held").store.delete_run(force=True)
    if again:
        scene.submit(stuck.single(stuck.hold, scene.log, str(scene.gate), "nobody"))
    scene.worker()
    scene.pass_by()
    wait_for(lambda: not scene.files(), 20, "nothing to be on disk")
    if again:
        run = client.run("held")
        assert run.results() == {}
        assert run.store.read_history() == []


def test_another_redis_is_not_asked(
    scene: Scene, redis_server: RedisServer, start_worker: StartWorker
) -> None:
    """Workers of another Redis on the same host leave the outcome where it is."""
    keep_one(scene)
    scene.server, own = redis_server, scene.server
    scene.worker()
    scene.pass_by()
    assert len(scene.files()) == 1
    scene.server = own
    scene.worker()
    scene.pass_by()
    scene.wait_success()


def test_a_worker_that_starts_delivers(scene: Scene) -> None:
    """The run may wait for that very outcome, so that no batch comes."""
    keep_one(scene, effects="at_most_once")
    worker = start_cli(
        scene.server.url, "worker", "--burst", "idle", env={"DISTFLOW_SPOOL": str(scene.spool)}
    )
    _out, err = worker.communicate(timeout=30)
    assert worker.returncode == 0, err
    assert "task hold, attempt 1, was kept on this host: RECORDED" in err
    scene.wait_success()
