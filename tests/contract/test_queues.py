"""What a coordinator reads of RQ's queues and workers, and takes off them: on a real Redis, with
RQ's own records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job

from distflow.core.batches import Batch
from distflow.core.model import Task
from distflow.dispatch.rq import RqDispatcher
from tests.support.redis_server import RedisServer

#: Names of runs that a search by the begin of a name would take for one another.
ALIKE = ["a", "a-7", "a-7-1", "A"]


@pytest.fixture
def dispatcher(redis_client: Redis) -> RqDispatcher:
    """One on the shared server."""
    return RqDispatcher(redis_client, "distflow", patience_seconds=5.0)


def batch(run_id: str, number: int = 1, queue: str = "default") -> Batch:
    """A batch of one task."""
    return Batch(f"{run_id}-7-{number}", queue, (Task("t", "m:f"),), run_id, 7)


def waiting(client: Redis, queue: str = "default") -> set[str]:
    """The ids of a queue's jobs."""
    return set(Queue(queue, connection=client).job_ids)


@pytest.mark.parametrize("run_id", ALIKE)
def test_a_run_takes_its_own_batches_off_the_queues(
    dispatcher: RqDispatcher, redis_client: Redis, run_id: str
) -> None:
    """And no other run's, however alike their names are, and no job of a stranger; from every queue
    of the run, with the jobs themselves.
    """
    queues = ("default", "other")
    batches = [batch(name, number, queue) for name in ALIKE for number, queue in enumerate(queues)]
    dispatcher.dispatch(batches)
    for queue in queues:
        Queue(queue, connection=redis_client).enqueue("m:f", job_id=f"{run_id}-7-1-x")
    mine = {each.id for each in batches if each.run_id == run_id}
    everything = {queue: waiting(redis_client, queue) for queue in queues}
    assert dispatcher.find_queued(run_id, queues) == mine
    assert dispatcher.find_queued(run_id, ["other"]) == {f"{run_id}-7-1"}
    assert dispatcher.withdraw(run_id, queues) == 2
    assert {queue: waiting(redis_client, queue) for queue in queues} == {
        queue: ids - mine for queue, ids in everything.items()
    }
    kept = {each.id for each in batches} - mine
    assert {name for name in mine | kept if Job.exists(name, connection=redis_client)} == kept


@pytest.fixture
def register(redis_server: RedisServer) -> Iterator[Callable[..., Any]]:
    """``register(name, queues)``: RQ's registration of a worker, which is connected where it is
    ``alive``.
    """
    with ExitStack() as made:

        def start(name: str, queues: list[str], *, alive: bool = True) -> Any:
            # The connection for commands is told apart from this test's own.
            client = made.enter_context(redis_server.client())
            worker: Any = SimpleWorker(queues, name=name, connection=client)
            worker.register_birth()
            if alive:
                worker.subscribe()
                made.callback(worker.unsubscribe)
            return worker

        yield start


def test_a_worker_counts_while_it_is_connected(
    dispatcher: RqDispatcher, register: Callable[..., Any]
) -> None:
    """RQ keeps the registration of a killed worker for minutes: what is sent for it would wait."""
    register("one", ["default"])
    register("two", ["default", "other"])
    register("ghost", ["default", "other"], alive=False)
    counted = dispatcher.count_workers(["default", "other", "none"])
    assert counted == {"default": 2, "other": 1, "none": 0}


def test_what_is_said_of_workers(
    dispatcher: RqDispatcher, register: Callable[..., Any], redis_client: Redis
) -> None:
    """Whether a process of it is connected, what it works on, and how late its heartbeat is: each
    worker is told apart, and nothing is said of one that nobody knows.
    """
    busy: Any = register("busy", ["default"])
    register("ghost", ["default"], alive=False)
    job = Queue("default", connection=redis_client).enqueue("m:f", job_id="run-7-1")
    busy.prepare_execution(job)
    busy.prepare_job_execution(job)
    probes = dispatcher.probe_workers(["busy", "ghost", "gone", ""])
    assert probes.keys() == {"busy", "ghost", "gone"}
    assert {name: probe.connected for name, probe in probes.items()} == {
        "busy": True,
        "ghost": False,
        "gone": False,
    }
    assert set(probes["busy"].jobs) == {"run-7-1"}
    assert not probes["ghost"].jobs
    assert probes["gone"].overdue is None
    assert probes["busy"].overdue is not None
    assert probes["busy"].overdue < 0


def test_nobody_is_asked_of_nobody(dispatcher: RqDispatcher) -> None:
    """A queue without workers, and no queue at all."""
    assert dispatcher.probe_workers([]) == {}
    assert dispatcher.count_workers([]) == {}
    assert dispatcher.find_queued("a", []) == set()
    assert dispatcher.withdraw("a", []) == 0


def test_a_batch_that_is_sent_twice_is_queued_once_or_claimed_once(
    dispatcher: RqDispatcher, redis_client: Redis
) -> None:
    """Twice in one call, as a list that was put together twice may have it: no error."""
    dispatcher.dispatch([batch("a"), batch("a"), batch("b")])
    assert waiting(redis_client) == {"a-7-1", "b-7-1"}


def test_a_batch_that_is_sent_twice(dispatcher: RqDispatcher, redis_client: Redis) -> None:
    """In one call it is one job: RQ 3 refuses two of the same id."""
    one, other = batch("a", 1), batch("a", 2)
    dispatcher.dispatch([one, other, one])
    assert Queue("default", connection=redis_client).job_ids == [one.id, other.id]


@pytest.mark.parametrize("version", ["2.12", "3.0"])
def test_what_a_worker_works_on(
    dispatcher: RqDispatcher, redis_client: Redis, version: str
) -> None:
    """As a worker of either version says it, whichever this process has."""
    redis_client.hset("rq:worker:w1", "last_heartbeat", "2026-01-01T00:00:00.000000Z")
    if version == "2.12":
        redis_client.hset("rq:worker:w1", "current_job", "run-1-1-1")
    else:
        redis_client.sadd("rq:worker:w1:executions", "run-1-1-1:8f14", "other:45c4")
    probe = dispatcher.probe_workers(["w1", "w2"])
    assert "run-1-1-1" in probe["w1"].jobs
    assert list(probe["w2"].jobs) == []


def test_copies_are_entries_of_one_job(dispatcher: RqDispatcher, redis_client: Redis) -> None:
    """A queue names it several times, behind what was there; all go with it."""
    dispatcher.dispatch([batch("a"), batch("b")._replace(copies=3)])
    entries = Queue("default", connection=redis_client).job_ids
    assert entries == ["a-7-1", "b-7-1", "b-7-1", "b-7-1"]
    assert dispatcher.find_queued("b", ["default"]) == {"b-7-1"}
    dispatcher.withdraw("b", ["default"])
    assert waiting(redis_client) == {"a-7-1"}
