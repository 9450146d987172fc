"""FastWorkers that end, or are ended, and what becomes of their child and its batch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rq import Queue, Worker
from rq.command import send_shutdown_command
from rq.suspension import resume, suspend

from distflow import Workflow
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.model import Effects
from distflow.events.notice import Notice
from distflow.faults import FROZEN_SUFFIX
from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.conftest import StartWorker
from tests.support.looking import children, jobs_at, look, said, single, traces
from tests.support.redis_server import RedisServer
from tests.support.session_process import SessionProcess
from tests.support.tasks import batched, fastened, ordinary, recording
from tests.support.wait import stretched, wait_for
from tests.support.worker_process import FAST, WorkerProcess


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


class Held(NamedTuple):
    """A worker inside the first task of a run."""

    worker: WorkerProcess
    run: Run
    log: Path
    gate: Path
    #: What was told of the run, with the time on this host's clock.
    told: list[tuple[float, Notice]]


@pytest.fixture
def hold(
    server: RedisServer, client: Client, start_worker: StartWorker, log: Path, gate: Path
) -> Callable[..., Held]:
    """``hold(queue, …)``: a worker of its own inside a task; two more tasks are in its batch."""

    def hold(queue: str, effects: Effects = "normal") -> Held:
        worker = start_worker(server.url, [queue], worker_class=FAST)
        flow = Workflow("held")
        before = flow.add(
            "hold", fastened.hold, (str(log), str(gate)), queue=queue, effects=effects
        )
        for name in ("second", "third"):
            before = flow.add(name, batched.step, (str(log),), queue=queue, depends_on=[before])
        told: list[tuple[float, Notice]] = []
        run = client.submit(flow, listener=lambda notice: told.append((time.monotonic(), notice)))
        wait_for(lambda: said(log, "hold"), what="the task to begin")
        wait_for(lambda: jobs_at(worker, client.redis), what="the job to be told")
        return Held(worker, run, log, gate, told)

    return hold


@pytest.fixture
def idle(server: RedisServer, start_worker: StartWorker) -> WorkerProcess:
    """A worker whose child waits."""
    worker = start_worker(server.url, ["idle"], worker_class=FAST)
    wait_for(worker.children, what="the child")
    return worker


def test_a_child_outlives_its_worker(hold: Callable[..., Held], client: Client) -> None:
    """The worker alone is killed inside a task: the child ends its batch, whose outcomes count,
    leaves no job behind, and ends. Nothing runs twice.
    """
    known = traces(client.redis)
    held = hold("orphaned", "at_most_once")
    ((_name, _attempt, pid),) = recording.lines(held.log)
    held.worker.kill_parent()
    held.gate.touch()
    assert held.run.wait(20) == "success"
    assert [line[0] for line in recording.lines(held.log)] == ["hold", "hold", "second", "third"]
    assert {line[-1] for line in recording.lines(held.log)} == {pid}
    assert held.run.info().repairs == {}
    wait_for(lambda: held.worker.children() == [], what="the child to end")
    assert traces(client.redis) <= known


def test_a_child_without_work_ends_with_its_worker(idle: WorkerProcess) -> None:
    """The worker is killed while the child waits: the child is not left over."""
    assert idle.children() != []
    idle.kill_parent()
    wait_for(lambda: idle.children() == [], 5, "the child to end")


def test_a_child_does_not_wait_for_a_horse(
    idle: WorkerProcess, client: Client, log: Path, gate: Path
) -> None:
    """The worker is killed while an ordinary job runs in a work horse of its own. The horse holds
    the other end of the child's channel as well, and goes on; the child ends.
    """
    (child,) = idle.children()
    Queue("idle", connection=client.redis).enqueue(ordinary.hold, str(log), str(gate))
    ((_name, horse),) = wait_for(lambda: recording.lines(log), 20, "the job to begin")
    assert set(idle.children()) == {child, int(horse)}
    idle.kill_parent()
    wait_for(lambda: idle.children() == [int(horse)], 5, "the child to end")


def test_a_child_stands_for_its_worker(
    idle: WorkerProcess, client: Client, log: Path, gate: Path
) -> None:
    """Redis counts a worker as there while its child is, also after a cut: a child that was forked
    before it is replaced.
    """
    redis, channel = client.redis, f"rq:pubsub:{idle.name}"

    def counted() -> bool:
        return dict(redis.pubsub_numsub(channel)) == {channel.encode(): 1}

    (before,) = children(idle.pid)
    assert redis.client_kill_filter(_type="pubsub") >= 1
    wait_for(counted, what="the worker to listen again")
    run = client.submit(single(fastened.hold, str(log), str(gate), queue="idle"))
    ((_name, _attempt, pid),) = wait_for(lambda: said(log), what="the task to begin")
    assert int(pid) != before
    idle.kill_parent()
    assert counted()
    gate.touch()
    assert run.wait(20) == "success"
    wait_for(lambda: not counted(), what="the child to end")


def test_a_killed_worker_is_found_in_seconds(
    hold: Callable[..., Held], server: RedisServer, start_worker: StartWorker
) -> None:
    """Worker and child at once: found lost within 5 s, and another worker goes on."""
    held = hold("killed", "idempotent")
    killed_at = time.monotonic()
    held.worker.kill()
    held.gate.touch()
    other = start_worker(server.url, ["killed"], worker_class=FAST)
    assert held.run.wait(20) == "success"
    (found_at,) = [at for at, notice in held.told if notice.kind == "repair"]
    assert found_at - killed_at < stretched(5), found_at - killed_at
    results = held.run.results()
    assert {result.worker for result in results.values()} == {other.name}
    assert len(said(held.log, "second")) == 1


def test_a_warm_shutdown_gives_the_rest_back(
    hold: Callable[..., Held], server: RedisServer, start_worker: StartWorker, client: Client
) -> None:
    """SIGTERM once: the task at work ends, the rest of its batch goes to another worker, and the
    worker exits with 0; its child too.
    """
    held = hold("warm")
    held.worker.process.terminate()
    key = f"rq:worker:{held.worker.name}"
    wait_for(lambda: client.redis.hexists(key, "shutdown_requested_date"), what="the request")
    # The child asks for it once a second.
    asked_at = time.monotonic()
    wait_for(lambda: time.monotonic() > asked_at + 1.1)
    other = start_worker(server.url, ["warm", "elsewhere"], worker_class=FAST)
    held.gate.touch()
    assert held.worker.process.wait(20) == 0
    assert held.worker.children() == []
    assert held.run.wait(20) == "success"
    workers = {name: result.worker for name, result in held.run.results().items()}
    assert workers == {"hold": held.worker.name, "second": other.name, "third": other.name}
    assert len(recording.lines(held.log)) == 4


def test_a_cold_shutdown_ends_the_task(hold: Callable[..., Held]) -> None:
    """SIGTERM twice: worker and child end at once, and the task is lost, in time."""
    held = hold("cold")
    held.worker.process.terminate()
    sent_at = time.monotonic()
    # RQ takes two signals within a second for one.
    wait_for(lambda: time.monotonic() > sent_at + 1.1)
    held.worker.process.terminate()
    assert held.worker.process.wait(5) == 0
    assert held.worker.children() == []
    assert held.run.wait(20) == "failure"
    assert (held.run.results()["hold"].error or "").startswith("WorkerLost")


def test_a_signal_at_the_begin_of_a_batch(
    server: RedisServer,
    client: Client,
    start_worker: StartWorker,
    tmp_path: Path,
    log: Path,
    gate: Path,
) -> None:
    """SIGTERM to a worker that has given a batch away and told nobody yet: it waits for its end."""
    file = tmp_path / "fault"
    armed = {"DISTFLOW_FAULT": f"show_job:before#1=freeze@{file}"}
    worker = start_worker(server.url, ["begun"], worker_class=FAST, env=armed)
    run = client.submit(single(fastened.hold, str(log), str(gate), queue="begun"))
    wait_for(Path(f"{file}{FROZEN_SUFFIX}").exists, what="the worker to stand still")
    wait_for(lambda: said(log), what="the task to begin")
    worker.process.terminate()
    worker.thaw()
    key = f"rq:worker:{worker.name}"
    wait_for(lambda: client.redis.hexists(key, "shutdown_requested_date"), what="the request")
    assert not worker.has_ended()
    gate.touch()
    assert worker.process.wait(20) == 0
    assert run.wait(20) == "success"


def test_a_shutdown_by_command(hold: Callable[..., Held], client: Client) -> None:
    """``send_shutdown_command`` is a warm shutdown."""
    held = hold("commanded")
    send_shutdown_command(client.redis, held.worker.name)
    key = f"rq:worker:{held.worker.name}"
    wait_for(lambda: client.redis.hexists(key, "shutdown_requested_date"), what="the request")
    held.gate.touch()
    assert held.worker.process.wait(20) == 0
    assert said(held.log, "hold", "done")
    assert client.redis.hexists(key, "death")


def test_a_signal_ends_a_worker_without_work(idle: WorkerProcess, client: Client) -> None:
    """SIGTERM: it ends at once, and so does its child."""
    assert idle.stop(5) == 0
    assert idle.children() == []
    assert client.redis.hexists(f"rq:worker:{idle.name}", "death")


def test_a_signal_within_a_line_of_the_log(server: RedisServer) -> None:
    """SIGTERM while RQ's log writes: logging swallows what the signal raises, and the worker ends
    all the same.
    """
    words = ("-c", "tests.support.signalled", "--logging_level", "DEBUG")
    worker = WorkerProcess(server.url, ["logged"], worker_class=FAST, extra_args=words)
    try:
        assert worker.process.wait(20) == 0
        assert "StopRequested" in worker.log()
        assert worker.children() == []
    finally:
        worker.close()


def test_suspended_workers_take_nothing(
    server: RedisServer, client: Client, start_worker: StartWorker, log: Path, gate: Path
) -> None:
    """``rq suspend``: the task at work ends, and nothing begins before ``rq resume``."""
    start_worker(server.url, ["resting", "elsewhere"], worker_class=FAST)
    flow = Workflow("resting")
    first = flow.add("hold", fastened.hold, (str(log), str(gate)), queue="resting")
    flow.add("after", batched.step, (str(log),), queue="resting", depends_on=[first], batch=False)
    run = client.submit(flow)
    wait_for(lambda: said(log, "hold"), what="the task to begin")
    suspend(client.redis)
    try:
        gate.touch()
        (worker,) = Worker.all(queue=Queue("resting", connection=client.redis))
        wait_for(lambda: client.redis.hget(worker.key, "state") == b"suspended", what="its state")
        wait_for(lambda: client.redis.llen("rq:queue:resting"), what="the next job")
        assert not said(log, "after")
    finally:
        resume(client.redis)
    assert run.wait(20) == "success"


# How much is enough


def pids(run: Run, names: Iterable[str]) -> list[int]:
    """Where tasks ran, in the order of their names here."""
    results = run.results()
    return [int(results[name].data) for name in names]


def test_a_child_is_replaced_after_enough_jobs_or_memory(
    server: RedisServer, client: Client, start_worker: StartWorker
) -> None:
    """``DISTFLOW_FAST_JOBS`` and ``DISTFLOW_FAST_RSS_MB``: whichever comes first. Nothing of those
    before stays open.
    """
    limits = {"DISTFLOW_FAST_JOBS": "3", "DISTFLOW_FAST_RSS_MB": "48"}
    worker = start_worker(server.url, ["brief"], worker_class=FAST, env=limits)
    look(client, "brief")
    open_files = Path(f"/proc/{worker.pid}/fd")
    before_all = len(list(open_files.iterdir()))
    flow = Workflow("brief")
    before: list[Any] = []
    sizes = (0, 0, 0, 0, 0, 0, 64, 0)
    for number, size in enumerate(sizes):
        options: dict[str, Any] = {"queue": "brief", "depends_on": before, "batch": False}
        before = [flow.add(f"t{number}", fastened.hoard, (size,), **options)]
    run = client.submit(flow)
    assert run.wait(20) == "success"
    ran = pids(run, [f"t{number}" for number in range(len(sizes))])
    assert [len(list(same)) for _pid, same in groupby(ran)] == [2, 3, 2, 1]
    assert len(set(ran)) == 4
    wait_for(lambda: children(worker.pid) == {ran[-1]}, what="the others to be gone")
    assert len(list(open_files.iterdir())) == before_all


@pytest.mark.parametrize(
    ("variable", "value"), [("DISTFLOW_FAST_JOBS", "0"), ("DISTFLOW_FAST_RSS_MB", "much")]
)
def test_a_bad_limit_is_named(server: RedisServer, variable: str, value: str) -> None:
    """One line that names the variable, and no traceback."""
    worker = WorkerProcess(server.url, worker_class=FAST, env={variable: value})
    assert worker.process.wait(20) == 2
    told = worker.log().strip()
    worker.close()
    assert told == f"distflow: {variable}={value!r}: must be a whole number, 1 or more"


@pytest.mark.parametrize(
    ("words", "left"), [(("--burst",), 0), (("--max-jobs", "2"), 2)], ids=["burst", "max-jobs"]
)
def test_it_ends_when_told_beforehand(
    server: RedisServer, client: Client, words: tuple[str, ...], left: int, log: Path
) -> None:
    """``--burst`` ends with an empty queue, ``--max-jobs`` after so many: batches and others."""
    queue = Queue(words[0].strip("-"), connection=client.redis)
    jobs = [queue.enqueue(ordinary.add, 1, number) for number in range(3)]
    flow = single(batched.step, str(log), queue=queue.name)
    run = client.submit(flow)
    wait_for(lambda: queue.count == 4, what="four jobs")
    client.redis.lmove(queue.key, queue.key, "RIGHT", "LEFT")
    worker = WorkerProcess(server.url, [queue.name], worker_class=FAST, extra_args=words)
    assert worker.process.wait(20) == 0, worker.log()
    worker.close()
    assert run.wait(20) == "success"
    assert queue.count == left
    assert [job.is_finished for job in jobs] == [True] * (3 - left) + [False] * left


def test_a_pool(server: RedisServer, client: Client) -> None:
    """``rq worker-pool`` starts FastWorkers, and ends them and their children."""
    words = [sys.executable, "-m", "rq.cli", "worker-pool", "pool", "--url", server.url]
    pool = SessionProcess("pool", [*words, "--num-workers", "2", "--worker-class", FAST])
    try:
        # One of the workers has a scheduler as well.
        wait_for(lambda: len(pool.children()) == 5, 20, "two workers with a child each")
        assert look(client, "pool")["pid"] in pool.children()
        assert pool.stop() == 0, pool.log()
        assert pool.children() == []
    finally:
        pool.close()
