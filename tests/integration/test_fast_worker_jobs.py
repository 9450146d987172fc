"""Ordinary RQ jobs on a queue of distflow's mean the same to a FastWorker as to RQ's own worker:
each scenario is played on both, between batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rq import Callback, Queue, Retry
from rq.command import send_stop_job_command
from rq.job import Job

from distflow.runs.client import Client
from tests.support.looking import jobs_at, look, said, told
from tests.support.redis_server import RedisServer
from tests.support.tasks import ordinary
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING, WorkerProcess

QUEUE = "mixed"

OnQueue = tuple[Client, WorkerProcess]


@pytest.fixture(scope="module", params=[FORKING, FAST], ids=["stock", "fast"])
def served(request: pytest.FixtureRequest) -> Iterator[OnQueue]:
    """A worker of the class with a scheduler, and a client."""
    with ExitStack() as started:
        server = RedisServer()
        started.callback(server.close)
        worker = WorkerProcess(
            server.url, [QUEUE], worker_class=request.param, extra_args=["--with-scheduler"]
        )
        started.callback(worker.close)
        worker.wait_ready()
        yield Client(started.enter_context(server.client())), worker


@pytest.fixture
def queue(served: OnQueue) -> Iterator[Queue]:
    """The queue, before and after which the worker runs a batch."""
    client, worker = served
    assert look(client, QUEUE)["worker"] == worker.name
    yield Queue(QUEUE, connection=client.redis)
    # It is not about to do anything else, and does not think so.
    wait_for(lambda: told(worker, client.redis, "state") == "idle", what="the worker to be idle")
    assert jobs_at(worker, client.redis) == set()
    assert look(client, QUEUE)["worker"] == worker.name


@pytest.fixture
def log(tmp_path: Path) -> str:
    """The witness."""
    return str(tmp_path / "log")


def status(job: Job) -> str:
    """As Redis has it now."""
    return str(job.get_status(refresh=True).value)


def ends(job: Job, expected: str) -> None:
    """See that it ends so, and that its worker has written all that follows: RQ counts a failure in
    a write of its own.
    """
    wait_for(lambda: status(job) == expected, 20, f"the job to be {expected}")
    wait_for(lambda: states(job) == {b"idle"}, what="the worker to be idle")


def states(job: Job) -> set[bytes | None]:
    """What the workers of its Redis do."""
    redis: Any = job.connection
    return {redis.hget(key, "state") for key in redis.smembers("rq:workers")}


def called(job: Job) -> str:
    """What a callback said."""
    value: Any = wait_for(lambda: job.connection.get(f"called:{job.id}"), what="the callback")
    return str(value.decode())


def test_a_result(queue: Queue, served: OnQueue) -> None:
    """It is kept for as long as was asked; the registry of what has finished has it."""
    _client, worker = served
    job = queue.enqueue(ordinary.add, 1, 2, result_ttl=77, on_success=Callback(ordinary.on_success))
    ends(job, "finished")
    returned: Any = job.return_value()
    assert returned["sum"] == 3
    assert returned["pid"] != worker.pid
    assert called(job) == "success 3"
    assert 60 < queue.connection.ttl(job.key) <= 77
    assert job in queue.finished_job_registry
    assert job not in queue.started_job_registry


def test_no_result_is_kept(queue: Queue) -> None:
    """``result_ttl=0``: the job is gone when it has ended."""
    job = queue.enqueue(ordinary.add, 1, 2, result_ttl=0, on_success=Callback(ordinary.on_success))
    assert called(job) == "success 3"
    wait_for(lambda: not queue.connection.exists(job.key), what="the job to be gone")
    assert job not in queue.started_job_registry


def test_a_failure(queue: Queue, served: OnQueue, log: str) -> None:
    """Its traceback is kept, the registry of failures has it, its callback is called, and the
    worker has counted it.
    """
    client, worker = served
    before = int(told(worker, client.redis, "failed_job_count") or 0)
    job = queue.enqueue(ordinary.fail, log, on_failure=Callback(ordinary.on_failure))
    ends(job, "failed")
    assert called(job) == "failure ValueError: not yet"
    result = job.latest_result()
    assert result is not None
    assert "ValueError: not yet" in (result.exc_string or "")
    assert job in queue.failed_job_registry
    assert int(told(worker, client.redis, "failed_job_count")) == before + 1


def test_a_timeout(queue: Queue) -> None:
    """``job_timeout`` ends it."""
    job = queue.enqueue(ordinary.sleep, 60, job_timeout=1)
    ends(job, "failed")
    result = job.latest_result()
    assert result is not None
    assert "JobTimeoutException" in (result.exc_string or "")


@pytest.mark.parametrize(
    ("function", "options"),
    [(ordinary.fail, {"retry": Retry(max=3)}), (ordinary.ask_again, {})],
    ids=["by the job", "by the function"],
)
def test_a_retry(
    queue: Queue, log: str, function: Callable[..., Any], options: dict[str, Any]
) -> None:
    """Tried again until it ends well, each time in a process of its own."""
    job = queue.enqueue(function, log, **options)
    ends(job, "finished")
    lines = said(Path(log))
    assert len(lines) == (3 if options else 2)
    assert len({line[1] for line in lines}) == len(lines)
    assert job.return_value() in ("at last", "answered")


def test_dependents(queue: Queue) -> None:
    """They are enqueued when what they depend on has ended."""
    first = queue.enqueue(ordinary.add, 1, 2)
    second = queue.enqueue(ordinary.add, 3, 4, depends_on=first)
    third = queue.enqueue(ordinary.add, 5, 6, depends_on=[first, second])
    ends(third, "finished")
    assert [status(job) for job in (first, second)] == ["finished", "finished"]


def test_meta(queue: Queue) -> None:
    """What a job saves of itself is there."""
    job = queue.enqueue(ordinary.remember)
    ends(job, "finished")
    assert job.get_meta(refresh=True) == {"seen": job.id}


def test_a_stop(queue: Queue, tmp_path: Path, log: str) -> None:
    """``send_stop_job_command`` ends it, and its callback is called."""
    gate = str(tmp_path / "gate")
    job = queue.enqueue(ordinary.hold, log, gate, on_stopped=Callback(ordinary.on_stopped))
    wait_for(lambda: said(Path(log)), what="the job to begin")
    send_stop_job_command(queue.connection, job.id)
    ends(job, "stopped")
    assert called(job) == "stopped"
    assert job in queue.failed_job_registry


def test_a_scheduled_job(queue: Queue) -> None:
    """The worker's scheduler enqueues it at its time."""
    job = queue.enqueue_in(timedelta(seconds=0.1), ordinary.add, 1, 2)
    assert status(job) == "scheduled"
    ends(job, "finished")


def test_a_killed_job(queue: Queue) -> None:
    """A work horse that dies makes a failed job, and the worker goes on."""
    job = queue.enqueue(ordinary.die)
    ends(job, "failed")
    result = job.latest_result()
    assert result is not None
    assert "Work-horse terminated unexpectedly" in (result.exc_string or "")


def test_the_worker_stays_registered(queue: Queue, served: OnQueue) -> None:
    """After a short job it is known for as long as an idle worker may be silent."""
    client, worker = served
    ends(queue.enqueue(ordinary.add, 1, 2), "finished")
    wait_for(lambda: told(worker, client.redis, "state") == "idle", what="the worker to be idle")
    key = f"rq:worker:{worker.name}"
    wait_for(lambda: client.redis.ttl(key) > 400, what="the heartbeat")
