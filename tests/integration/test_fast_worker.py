"""FastWorker: batches run in one child that was forked ahead, and it loses and repeats as little as
a worker that forks for each. Real Redis, and ``rq worker -w distflow_worker.FastWorker``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis import Redis
from rq import Queue, Worker
from rq.command import send_command, send_stop_job_command

from distflow import Retry, TaskResult, TaskStatus, Workflow
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.run import Beat
from distflow.runs.client import Client
from distflow_worker import FastWorker
from tests.support.looking import children, jobs_at, look, said, single, told, traces
from tests.support.redis_server import RedisServer
from tests.support.tasks import behaving, fastened, ordinary, recording
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, WorkerProcess

#: Seconds that tasks may take which do not end.
TIMEOUT = 1.0

#: RQ's commands that end one job.
STOPPED = ("stop-job", "stop-execution")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server for all of these tests; each has a queue of its own."""
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def client(server: RedisServer) -> Iterator[Client]:
    """Submits."""
    with server.client() as redis:
        yield Client(redis, settings=CoordinatorSettings(grace_seconds=0.3))


@pytest.fixture(scope="module")
def lasting(server: RedisServer) -> Iterator[WorkerProcess]:
    """A worker on the queue ``lasting`` that outlives whatever happens to its child."""
    with ExitStack() as started:
        worker = WorkerProcess(server.url, ["lasting"], worker_class=FAST)
        started.callback(worker.close)
        yield worker.wait_ready()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The witness."""
    return tmp_path / "log"


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """What tasks wait for; open at the end, so that none is left waiting."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


def _find_begun(log: Path, names: list[str]) -> str:
    """The first of these tasks that has begun; empty if none has."""
    return next((name for name in names if said(log, name)), "")


def _logged(worker: WorkerProcess, words: str) -> bool:
    return words in worker.log()


def test_one_child_runs_all_batches(client: Client, lasting: WorkerProcess) -> None:
    """Sixty jobs, one process beside the worker's own; RQ has counted them. They leave no job, no
    execution and no entry behind, no zombie and no open file, here or there.
    """
    redis = client.redis
    known = traces(redis)
    first = look(client, "lasting")
    assert (first["parent"], first["worker"]) == (lasting.pid, lasting.name)
    open_files = Path(f"/proc/{lasting.pid}/fd")
    wait_for(lambda: traces(redis) <= known, what="the first job to be gone")
    before = len(list(open_files.iterdir())), int(told(lasting, redis, "successful_job_count"))
    flow = Workflow("many")
    for number in range(60):
        flow.add(f"t{number}", fastened.look, queue="lasting")
    run = client.submit(flow, batch=False)
    assert run.wait(30) == "success"
    seen = [result.data for result in run.results().values()]
    assert {each["pid"] for each in seen} == {first["pid"]}
    assert len({each["job"] for each in seen}) == 60
    assert {each["open"] for each in seen} == {first["open"]}
    wait_for(lambda: traces(redis) <= known, what="the jobs to be gone")
    assert children(lasting.pid) == {first["pid"]}
    after = len(list(open_files.iterdir())), int(told(lasting, redis, "successful_job_count"))
    assert after == (before[0], before[1] + 60)


def test_rq_shows_what_it_does(
    server: RedisServer, client: Client, lasting: WorkerProcess, log: Path, gate: Path
) -> None:
    """``rq info`` and RQ's own classes see a worker that is busy with a job, and then idle. A
    command to stop another job does nothing to it.
    """

    def info() -> str:
        words = [sys.executable, "-m", "rq.cli", "info", "--url", server.url, "lasting"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    run = client.submit(single(fastened.hold, str(log), str(gate), queue="lasting"))
    (job,) = wait_for(lambda: jobs_at(lasting, client.redis), what="the job to be told")
    worker = Worker.find_by_key(f"rq:worker:{lasting.name}", connection=client.redis)
    assert worker is not None
    current = worker.get_current_job()
    assert current is not None
    assert current.id == job
    wait_for(lambda: current.get_status() == "started", what="the job to be told in full")
    assert "busy" in info()
    for command, other in (("stop-job", "another"), ("stop-execution", "a third")):
        send_command(client.redis, lasting.name, command, job_id=other, execution_id=other)
        wait_for(partial(_logged, lasting, f"Not working on job {other}"), what="the command")
    gate.touch()
    assert run.wait(20) == "success"
    wait_for(lambda: told(lasting, client.redis, "state") == "idle", what="the worker to be idle")
    assert jobs_at(lasting, client.redis) == set()
    shown = info()
    assert "idle" in shown
    assert "busy" not in shown


def test_a_context_is_made_once_for_a_run(
    client: Client, lasting: WorkerProcess, log: Path
) -> None:
    """Batches of one run share it in the child; another run of the same name has another."""
    assert look(client, "lasting")["worker"] == lasting.name
    flow = Workflow("greeting", context=behaving.remember)
    for name in ("a", "b"):
        flow.add(name, behaving.greeting, queue="lasting", batch=False)
    for who in ("anna", "boris"):
        run = client.submit(flow, {"log": str(log), "who": who}, run_id="greeting")
        assert run.wait(20) == "success"
        assert {result.data for result in run.results().values()} == {f"hello {who}"}
        run.store.delete_run(force=True)
    assert recording.lines(log) == [["factory"], ["factory"]]


class Ended(NamedTuple):
    """What became of tasks that do not end by themselves, or end their process."""

    log: Path
    results: dict[str, TaskResult]
    #: Task -> its RQ job, of those that were stopped by a command.
    stopped: dict[str, str]

    def pids(self, task: str) -> list[int]:
        """Where a task was called, in order."""
        return [int(line[-1]) for line in recording.lines(self.log) if line[0] == task]


@pytest.fixture(scope="module")
def ended(
    server: RedisServer, lasting: WorkerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ended]:
    """Runs of one task each, on one worker."""
    folder = tmp_path_factory.mktemp("ended")
    log, gate = folder / "log", folder / "gate"
    flows: list[Workflow] = []

    def add(name: str, function: Callable[..., Any], *words: object, **options: Any) -> None:
        flow = Workflow("ended")
        flow.add(name, function, (str(log), *words), queue="lasting", **options)
        flows.append(flow)

    add("normal", fastened.die_once)
    add("again", fastened.die_once, retry=Retry(lost=1))
    add("idempotent", fastened.die_once, effects="idempotent")
    add("at_most_once", fastened.die_once, effects="at_most_once")
    add("exits", fastened.leave)
    add("heeds", fastened.overrun, False, timeout=TIMEOUT)
    add("swallows", fastened.overrun, True, timeout=TIMEOUT)
    for name in STOPPED:
        add(name, fastened.hold, str(gate))
    with server.client() as redis:
        runs = [Client(redis).submit(flow) for flow in flows]
        stopped: dict[str, str] = {}
        held = dict(zip(STOPPED, runs[-len(STOPPED) :], strict=True))
        while held:
            # Seven tasks come first, on one worker; whose coordinator is quicker comes next.
            begun = partial(_find_begun, log, list(held))
            name = wait_for(begun, 60, "the next task to begin")
            run = held.pop(name)
            (beat,) = run.store.read_beats().values()
            told_worker = partial(redis.hget, f"rq:job:{beat.job}", "worker_name")
            wait_for(told_worker, what="its worker")
            _stop(redis, name, beat)
            stopped[name] = beat.job
        results: dict[str, TaskResult] = {}
        for run in runs:
            run.wait(60)
            results.update(run.results())
        yield Ended(log, results, stopped)


def _stop(redis: Redis, command: str, beat: Beat) -> None:
    """Send a command of RQ's, by its name."""
    if command == "stop-job":
        send_stop_job_command(redis, beat.job)
        return
    found: Any = redis.zrange(f"rq:executions:{beat.job}", 0, -1)
    (execution,) = [each.decode() for each in found]
    send_command(redis, beat.worker, command, job_id=beat.job, execution_id=execution)


def test_a_child_that_dies_is_replaced(ended: Ended, lasting: WorkerProcess) -> None:
    """Killed inside a task, as a work horse may be: a ``normal`` task has failed, or runs again
    where losses do not count; an ``idempotent`` one runs again; what became of an
    ``at_most_once`` is unknown. The worker goes on, each time with another child.
    """
    statuses = {name: str(ended.results[name].status) for name in ended.results}
    assert statuses["normal"] == "failure"
    assert (ended.results["normal"].error or "").startswith("WorkerLost")
    assert (statuses["again"], statuses["idempotent"]) == ("success", "success")
    assert statuses["at_most_once"] == TaskStatus.UNKNOWN
    calls = {name: len(ended.pids(name)) for name in ended.results}
    assert (calls["normal"], calls["at_most_once"]) == (1, 1)
    assert (calls["again"], calls["idempotent"]) == (2, 2)
    died = {ended.pids(name)[0] for name in ("normal", "again", "idempotent", "at_most_once")}
    assert len(died) == 4
    assert not lasting.has_ended()


def test_a_child_that_exits_is_lost(ended: Ended, client: Client) -> None:
    """A task that ends its process with status 0 has not ended well; RQ has no job of the worker's
    under way any more.
    """
    assert (ended.results["exits"].error or "").startswith("WorkerLost")
    assert len(ended.pids("exits")) == 1
    assert not client.redis.zcard("rq:wip:lasting")


@pytest.mark.parametrize("task", ["heeds", "swallows"])
def test_a_timeout_ends_a_task(ended: Ended, lasting: WorkerProcess, task: str) -> None:
    """Interrupted, or killed where it lets nothing interrupt it: nothing more runs in a process
    where something may go on.
    """
    assert ended.results[task].error == "TaskTimeout: ran longer than 1 s"
    (pid,) = ended.pids(task)
    others = [ended.pids(name) for name in ended.results if name != task]
    assert pid not in [pid for each in others for pid in each]
    assert pid not in children(lasting.pid)


@pytest.mark.parametrize("command", STOPPED)
def test_a_batch_is_stopped_by_command(ended: Ended, client: Client, command: str) -> None:
    """A job of distflow, or, as of RQ 3, an execution of it: RQ has the job as stopped, distflow
    the task as lost.
    """
    assert (ended.results[command].error or "").startswith("WorkerLost")
    assert len(ended.pids(command)) == 1
    assert client.redis.hget(f"rq:job:{ended.stopped[command]}", "status") == b"stopped"


def test_a_cancelled_run_is_ended(
    client: Client, lasting: WorkerProcess, log: Path, gate: Path
) -> None:
    """A task that does not heed the cancellation is killed in the child, and the worker stays."""
    run = client.submit(single(fastened.hold, str(log), str(gate), queue="lasting"))
    wait_for(lambda: recording.lines(log), what="the task to begin")
    run.cancel()
    assert run.wait(20) == "cancelled"
    assert look(client, "lasting")["parent"] == lasting.pid


def test_ordinary_jobs_run_between(client: Client, lasting: WorkerProcess) -> None:
    """Each has a process of its own, as under RQ's worker; the child and its batches stay."""
    before = look(client, "lasting")
    job = Queue("lasting", connection=client.redis).enqueue(ordinary.add, 1, 2)
    wait_for(lambda: job.is_finished, what="the result")
    returned: Any = job.return_value()
    assert returned["sum"] == 3
    assert returned["pid"] not in (lasting.pid, before["pid"])
    wait_for(lambda: told(lasting, client.redis, "state") == "idle", what="the worker to be idle")
    # Its work horse has shortened this.
    key = f"rq:worker:{lasting.name}"
    wait_for(lambda: int(client.redis.ttl(key)) > 120, 5, "the registration to last as before")
    assert look(client, "lasting")["pid"] == before["pid"]
    job.delete()


def test_the_queues_of_the_caller_stay_as_they_are(server: RedisServer) -> None:
    """A worker that is made in Python talks by a client of its own, its queues too."""
    with server.client() as redis:
        queue = Queue("theirs", connection=redis)
        worker = FastWorker([queue], connection=redis)
        assert queue.connection is redis
        assert worker.connection is not redis
        assert [each.connection for each in worker.queues] == [worker.connection]
