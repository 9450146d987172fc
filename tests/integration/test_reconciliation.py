"""What is lost between Redis, RQ and a coordinator is found and repaired; each repair is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from distflow import Workflow
from distflow.coordinator.settings import CoordinatorSettings
from distflow.events.notice import Notice
from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.conftest import StartWorker
from tests.support.cli import start_cli
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording, stuck
from tests.support.wait import wait_for

#: What is lost is found soon; a beat comes each second, and one that is late alone loses nothing.
BRISK = CoordinatorSettings(
    stale_seconds=1.5, watch_seconds=0.2, unbegun_seconds=3.0, idle_seconds=0.5, index_seconds=0.3
)

#: A worker outlasts a restart of Redis with this.
PATIENT = {"RQ_CONNECTION_CLASS": "distflow_worker.WorkerRedis"}

Lead = Callable[..., tuple[Run, list[Notice]]]


@pytest.fixture
def lead(fresh_redis: RedisServer) -> Iterator[Lead]:
    """``lead(workflow)``: a run that a thread of this process leads, and what is told of it."""
    clients: list[Redis] = []

    def start(workflow: Workflow, **options: Any) -> tuple[Run, list[Notice]]:
        clients.append(fresh_redis.client())
        client = Client(clients[-1], settings=BRISK)
        told: list[Notice] = []
        return client.submit(workflow, listener=told.append, **options), told

    yield start
    for client in clients:
        client.close()


def steps(log: Path, count: int, *, queue: str = "default", seconds: float = 0.0) -> Workflow:
    """A chain of tasks, each in a batch of its own."""
    flow = Workflow("steps")
    before: list[Any] = []
    for number in range(count):
        args = (str(log), seconds)
        before = [
            flow.add(f"s{number}", stuck.nap, args, queue=queue, batch=False, depends_on=before)
        ]
    return flow


def ends(run: Run) -> None:
    """Wait until the run has succeeded."""
    run.wait(60)
    assert run.status() == "success"


def repairs(run: Run, told: list[Notice], kind: str) -> list[str]:
    """The repairs of a kind, as the history has them; the counter and the notices say the same, and
    there are no others.
    """
    entries = [entry for entry in run.store.read_history() if entry.kind == "repaired"]
    assert {entry.status for entry in entries} == {kind}
    assert run.info().repairs == {kind: len(entries)}
    notes = [entry.note for entry in entries]
    assert [notice.message for notice in told if notice.kind == "repair"] == notes
    return notes


def test_an_entry_lost_between_pop_and_begin(
    fresh_redis: RedisServer, start_worker: StartWorker, lead: Lead, tmp_path: Path
) -> None:
    """A worker on two queues is killed when it has popped a batch: RQ has it nowhere any more. It
    is sent again, and another worker runs it once.
    """
    log = tmp_path / "log"
    dying = start_worker(
        fresh_redis.url, ["urgent", "default"], worker_class="tests.support.tasks.dying.DyingWorker"
    )
    run, told = lead(steps(log, 2))
    assert dying.process.wait(20) == -signal.SIGKILL
    start_worker(fresh_redis.url, ["urgent", "default"])
    ends(run)
    (note,) = repairs(run, told, "entry_lost")
    first = f"{run.run_id}-{run.info().epoch}-1"
    assert note == f"batch {first} vanished from its queue, and is sent again"
    assert recording.lines(log) == [["s0"], ["s1"]]


def test_every_key_of_rq_is_deleted(
    fresh_redis: RedisServer, start_worker: StartWorker, lead: Lead, tmp_path: Path
) -> None:
    """Jobs, queues and the registrations of workers, while one of them works: what was queued is
    sent again, the same workers run it, and nothing runs twice.
    """
    log, gate = tmp_path / "log", tmp_path / "gate"
    start_worker(fresh_redis.url, ["default", "other"])
    flow = Workflow("both")
    flow.add("held", stuck.hold, (str(log), str(gate)))
    for number in range(3):
        flow.add(f"n{number}", stuck.nap, (str(log), 0.0), batch=False)
    run, told = lead(flow)
    wait_for(lambda: recording.lines(log), what="the first task to begin")
    with fresh_redis.client() as client:
        wait_for(lambda: client.llen("rq:queue:default"), what="a batch to be queued")
        client.delete(*client.keys("rq:*"))
    wait_for(lambda: [n for n in told if n.kind == "repair"], 20, "the repair")
    gate.touch()
    ends(run)
    assert repairs(run, told, "entry_lost")
    assert sorted(recording.lines(log)) == [["held"], ["held", "done"], ["n0"], ["n1"], ["n2"]]


def test_a_job_that_a_worker_could_not_read(
    fresh_redis: RedisServer, start_worker: StartWorker, lead: Lead, tmp_path: Path
) -> None:
    """A worker with another serializer: RQ has the job as failed. The run says which worker that
    was, and what it reads; another runs the task.
    """
    log = tmp_path / "log"
    odd = start_worker(fresh_redis.url, extra_args=["-S", "rq.serializers.JSONSerializer"])
    run, told = lead(steps(log, 1))
    wait_for(lambda: [n for n in told if n.kind == "repair"], 20, "the repair")
    odd.stop()
    start_worker(fresh_redis.url)
    ends(run)
    notes = repairs(run, told, "entry_refused")
    assert f"worker {odd.name}" in notes[0]
    assert "JSONSerializer" in notes[0]
    assert "distflow_worker.SafeSerializer" in notes[0]
    assert recording.lines(log) == [["s0"]]


def test_events_that_somebody_deleted(
    fresh_redis: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The first task has ended, and the event that tells of it is gone before the coordinator has
    read it: it reads all again, and schedules what follows.
    """
    log, gate = tmp_path / "log", tmp_path / "gate"
    start_worker(fresh_redis.url)
    flow = "tests.support.tasks.recording:holding"
    words = ["submit", flow, "--run-id", "r", "-p", f"log={log}", "-p", f"gate={gate}"]
    long_lease = {"DISTFLOW_LEASE_SECONDS": "60"}
    coordinator = start_cli(fresh_redis.url, *words, env=long_lease)
    try:
        wait_for(lambda: recording.lines(log), 20, "the first task to begin")
        with fresh_redis.client() as client:
            run = Client(client).run("r")
            wait_for(lambda: run.info().counts["running"], what="its claim")
            os.kill(coordinator.pid, signal.SIGSTOP)
            gate.touch()
            wait_for(lambda: run.info().counts["success"], what="its outcome")
            wait_for(lambda: not run.store.read_beats(), what="its batch to end")
            client.delete("distflow:{r}:events")
            os.kill(coordinator.pid, signal.SIGCONT)
            _out, err = coordinator.communicate(timeout=60)
            assert coordinator.returncode == 0, err
            assert "repair: " in err
            assert run.info().repairs == {"events_lost": 1}
    finally:
        coordinator.kill()
        coordinator.communicate()
    assert [line[0] for line in recording.lines(log)] == ["hold", "receipt"]


def older(server: RedisServer, folder: Path) -> Callable[[], None]:
    """Keep what the server has on disk now; what is returned lets it come back with that."""
    kept = folder / "older"
    server.pause()
    server.copy_data(kept)
    server.proceed()
    return partial(server.restart_with, kept)


def test_redis_comes_back_with_older_data(
    fresh_redis: RedisServer, start_worker: StartWorker, lead: Lead, tmp_path: Path
) -> None:
    """From when the coordinator led the run already: all is read again, what is missing is named,
    and what was forgotten runs again.
    """
    log, gates = tmp_path / "log", [tmp_path / "gate1", tmp_path / "gate2"]
    worker = start_worker(fresh_redis.url)
    flow = Workflow("three")
    first = flow.add("first", stuck.hold, (str(log), str(gates[0])), effects="idempotent")
    held = flow.add(
        "held", stuck.hold, (str(log), str(gates[1])), effects="idempotent", depends_on=[first]
    )
    flow.add("last", stuck.nap, (str(log), 0.0), depends_on=[held])
    run, told = lead(flow)
    wait_for(lambda: ["first"] in recording.lines(log), 20, "the first task to begin")
    restore = older(fresh_redis, tmp_path)
    epoch = run.info().epoch
    gates[0].touch()
    wait_for(lambda: ["held"] in recording.lines(log), 20, "the second task to begin")
    wait_for(lambda: {"first", "held"} <= {n.task for n in told}, 20, "its coordinator to know")
    worker.kill()
    restore()
    gates[1].touch()
    start_worker(fresh_redis.url)
    ends(run)
    assert run.info().epoch == epoch
    assert run.info().repairs == {"data_lost": 1, "worker_lost": 1}
    (note,) = [n.message for n in told if n.kind == "repair" and "restarted" in n.message]
    assert note.startswith("Redis restarted; Redis has lost first: success")
    assert recording.lines(log)[:2] == [["first"], ["first", "done"]]


def _tells(told: list[Notice], count: int) -> bool:
    """Whether so many repairs were told."""
    return len([notice for notice in told if notice.kind == "repair"]) == count


def test_restarts_that_lose_nothing(
    fresh_redis: RedisServer, start_worker: StartWorker, lead: Lead, tmp_path: Path
) -> None:
    """Redis is killed and started again, with all that it had acknowledged: each time is told, and
    none is a loss.
    """
    log, gate = tmp_path / "log", tmp_path / "gate"
    start_worker(fresh_redis.url, extra_args=["-c", "distflow_worker.settings"], env=PATIENT)
    flow = Workflow("two")
    first = flow.add("first", stuck.nap, (str(log), 0.0))
    flow.add("held", stuck.hold, (str(log), str(gate)), depends_on=[first])
    run, told = lead(flow)
    wait_for(lambda: ["held"] in recording.lines(log), 20, "the second task to begin")
    wait_for(lambda: "held" in {n.task for n in told}, 20, "its coordinator to know")
    for count in (1, 2, 3):
        fresh_redis.kill()
        fresh_redis.restart()
        wait_for(partial(_tells, told, count), 20, "the restart to be told")
    gate.touch()
    ends(run)
    notes = repairs(run, told, "redis_restarted")
    assert notes == ["Redis restarted: no recorded data is missing; the run is read again"] * 3
    assert recording.lines(log) == [["first"], ["held"], ["held", "done"]]


def test_outcomes_that_somebody_deleted(
    fresh_redis: RedisServer, start_worker: StartWorker, lead: Lead, tmp_path: Path
) -> None:
    """Under the same process of Redis: what is gone is named, and runs again."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    start_worker(fresh_redis.url)
    flow = Workflow("two")
    flow.add("first", stuck.nap, (str(log), 0.0))
    flow.add("held", stuck.hold, (str(log), str(gate)))
    run, told = lead(flow)
    wait_for(lambda: ["held"] in recording.lines(log), 20, "the second task to begin")
    wait_for(lambda: {"first", "held"} <= {n.task for n in told}, 20, "its coordinator to know")
    with fresh_redis.client() as client:
        assert client.delete(f"distflow:{{{run.run_id}}}:results") == 1
    wait_for(lambda: [n for n in told if n.kind == "repair"], 20, "the repair")
    gate.touch()
    ends(run)
    notes = repairs(run, told, "data_lost")
    assert notes == ["events were lost; Redis has lost first: success; the run is read again"]
    assert recording.lines(log).count(["first"]) == 2


def test_redis_comes_back_with_data_from_before_the_lease(
    fresh_redis: RedisServer, start_worker: StartWorker, lead: Lead, tmp_path: Path
) -> None:
    """The epoch that the coordinator had is forgotten: it leads the run anew, under another, since
    nobody else does, and the run ends.
    """
    log, gate = tmp_path / "log", tmp_path / "gate"
    client = Client(fresh_redis.client(), settings=BRISK)
    flow = stuck.single(stuck.hold, log, str(gate), "default", effects="idempotent")
    run = client.create(flow)
    restore = older(fresh_redis, tmp_path)
    worker = start_worker(fresh_redis.url)
    told: list[Notice] = []
    run.lead_in_background(reopen=False, listener=told.append)
    wait_for(lambda: recording.lines(log), 20, "the task to begin")
    epoch = run.info().epoch
    worker.kill()
    restore()
    gate.touch()
    start_worker(fresh_redis.url)
    ends(run)
    assert run.info().epoch > epoch
    (note,) = repairs(run, told, "data_lost")
    assert note.startswith("Redis came back with older data, without its coordinator's lease")
    assert note.endswith(": the run is led anew")
    client.redis.close()


def test_a_run_that_an_index_has_lost(
    fresh_redis: RedisServer, start_worker: StartWorker, lead: Lead, tmp_path: Path
) -> None:
    """Somebody deleted the indices of runs: `distflow runs` and coordinators find the run again."""
    gate = tmp_path / "gate"
    start_worker(fresh_redis.url)
    run, told = lead(stuck.single(stuck.hold, tmp_path / "log", str(gate), "default"))
    with fresh_redis.client() as client:
        for index in ("distflow:runs", "distflow:active"):
            assert client.delete(index) == 1
            wait_for(partial(client.exists, index), what=f"{index} to be back")
    assert run.engine.backend.run_ids() == [run.run_id]
    wait_for(lambda: run.info().repairs == {"index_lost": 2}, what="the second repair")
    gate.touch()
    ends(run)
    assert len(repairs(run, told, "index_lost")) == 2
