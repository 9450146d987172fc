"""Batches on stock workers: short tasks share a process, and share its fate as little as may be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from distflow import Workflow, connect
from distflow.authoring import TaskRef
from distflow.core.model import Effects
from distflow.runs.run import Run
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.tasks import batched, recording, spoiling
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING, SIMPLE


def submit(server: RedisServer, workflow: Workflow, *, batch: bool = True) -> Run:
    """Lead a run on a thread of this process."""
    return connect(server.url).submit(workflow, batch=batch)


def processes(log: Path) -> Counter[str]:
    """Tasks by the process that ran them: a stock worker forks one per job."""
    return Counter(pid for _name, pid in recording.lines(log))


def test_a_chain_travels_in_one_job(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Thirty tasks in a row take one work horse; without batches they take thirty."""
    for _ in range(2):
        start_worker(redis_server.url)
    for batch in (True, False):
        log = tmp_path / f"log-{batch}"
        dag = Workflow("chain")
        before = None
        for number in range(30):
            follows = () if before is None else (before,)
            before = dag.add(f"t{number}", batched.step, (str(log),), depends_on=follows)
        assert submit(redis_server, dag, batch=batch).wait(60) == "success"
        assert len(recording.lines(log)) == 30
        assert len(processes(log)) == (1 if batch else 30)


def test_a_task_may_refuse_company(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """``batch=False`` of one task: it has a process of its own."""
    start_worker(redis_server.url)
    log = tmp_path / "log"
    dag = Workflow("company")
    first = dag.add("a", batched.step, (str(log),))
    alone = dag.add("b", batched.step, (str(log),), depends_on=[first], batch=False)
    dag.add("c", batched.step, (str(log),), depends_on=[alone])
    assert submit(redis_server, dag).wait(60) == "success"
    pids = dict(recording.lines(log))
    assert pids["b"] not in (pids["a"], pids["c"])


@pytest.mark.parametrize("worker_class", [FORKING, FAST, SIMPLE])
def test_tasks_share_a_process_and_little_else(
    worker_class: str, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """One changes what all of its process have in common, one copies it: those that follow find
    what the first has found, and each task runs once, in the one process.
    """
    worker = start_worker(redis_server.url, worker_class=worker_class)
    log = tmp_path / "log"
    dag = Workflow("spoiling")
    before: tuple[TaskRef, ...] = ()
    look, spoil, split = spoiling.look, spoiling.spoil, spoiling.split
    for number, function in enumerate((look, spoil, look, look, split, look)):
        before = (dag.add(f"t{number}", function, (str(log), *before)),)
    run = submit(redis_server, dag)
    assert run.wait(60) == "success"
    results = run.results()
    assert results["t2"].data == results["t3"].data == results["t5"].data == results["t0"].data
    assert [name for name, _pid in recording.lines(log)] == [f"t{number}" for number in range(6)]
    assert len(processes(log)) == 1
    assert worker.stop() == 0


def test_a_wide_fan_uses_every_worker(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Tasks of 20 ms that nobody has measured yet: both workers have some of the first."""
    workers = [start_worker(redis_server.url) for _ in range(2)]
    log = tmp_path / "log"
    dag = Workflow("fan")
    for number in range(60):
        dag.add(f"t{number}", batched.sleep, (str(log), 0.02))
    run = submit(redis_server, dag)
    assert run.wait(60) == "success"
    used = Counter(result.worker for result in run.results().values())
    assert set(used) == {worker.name for worker in workers}
    assert min(used.values()) > 10


def test_what_waits_behind_a_long_task_goes_elsewhere(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A function that nobody had measured turns out to be long: the other worker takes what shares
    its batch, while it runs.
    """
    for _ in range(2):
        start_worker(redis_server.url)
    log, gate = tmp_path / "log", tmp_path / "gate"
    dag = Workflow("held")
    for number in range(9):
        dag.add(f"t{number}", batched.first_waits, (str(log), str(gate)))
    run = submit(redis_server, dag)
    wait_for(lambda: run.info().counts["success"] == 8, 20, "the other eight to succeed")
    assert run.info().counts["running"] == 1
    gate.touch()
    assert run.wait(30) == "success"
    assert len(recording.lines(log)) == 9


@pytest.mark.parametrize("position", [1, 2], ids=["first of its group", "in its midst"])
def test_what_was_claimed_ahead_of_need_is_given_back(
    position: int, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A short ``idempotent`` task turns out to be long: what was claimed along with it goes to the
    other worker, while it runs.
    """
    for _ in range(2):
        start_worker(redis_server.url)
    log, gate = tmp_path / "log", tmp_path / "gate"
    dag = Workflow("ahead")
    for number in range(9):
        arguments = (str(log), str(gate), f"t{position}")
        dag.add(f"t{number}", batched.named_waits, arguments, effects="idempotent")
    run = submit(redis_server, dag)
    wait_for(lambda: run.info().counts["success"] == 8, 20, "the other eight to succeed")
    assert run.info().counts["running"] == 1
    gate.touch()
    assert run.wait(30) == "success"
    assert len(recording.lines(log)) == 9


@pytest.mark.parametrize("effects", ["normal", "idempotent"])
def test_a_lost_batch_is_settled_task_by_task(
    effects: Effects, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A task kills its worker in the midst of a batch. What had succeeded stays, and what had not
    begun runs once. A ``normal`` killer alone fails; an ``idempotent`` one runs again, and what was
    claimed along with it as a group is none the worse.
    """
    log = tmp_path / "log"
    once = effects == "idempotent"
    for _ in range(2):
        start_worker(redis_server.url)
    dag = Workflow("poison")
    for number in range(60):
        dag.add(f"t{number}", batched.step, (str(log),), effects=effects)
    killer = dag.add("killer", batched.kill_worker, (str(log), once), effects=effects, priority=-1)
    dag.add("after", batched.step, (str(log),), depends_on=[killer])
    run = submit(redis_server, dag)
    assert run.wait(60) == ("success" if once else "failure")
    results = run.results()
    statuses = Counter(result.status.value for result in results.values())
    assert statuses == ({"success": 62} if once else {"success": 60, "failure": 1, "skipped": 1})
    runs = Counter(name for name, _pid in recording.lines(log))
    assert runs.pop("killer") == (2 if once else 1)
    if not once:
        assert "WorkerLost" in (results["killer"].error or "")
        assert set(runs.values()) == {1}
