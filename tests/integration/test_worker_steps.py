"""Single steps of workers on a real Redis, at moments that no process can be made to meet: a signal
between two lines, a reply that comes too late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.suspension import resume, suspend
from rq.utils import now

from distflow.store.redis.script_line import ScriptConnection
from distflow.store.redis.store import RedisRunStore
from distflow_worker import FastWorker, batch
from tests.support.redis_server import RedisServer
from tests.support.stores import claim, open_run

# A worker that was told to stop


@pytest.fixture
def worker(redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> FastWorker:
    """A FastWorker that has no child."""
    worker = FastWorker(["default"], name="w", connection=redis_client)
    monkeypatch.setattr(worker, "_ready_child", lambda: None)
    return worker


def stops_in(worker: FastWorker, monkeypatch: pytest.MonkeyPatch, *, before: bool) -> None:
    """Let a worker be told to stop while it takes a job off its queue, by a signal whose exception
    is lost.
    """
    dequeue = worker.queue_class.dequeue_any

    def stopped(*args: Any, **options: Any) -> Any:
        if before:
            worker.note_stop()
        taken = dequeue(*args, **options)
        worker.note_stop()
        return taken

    monkeypatch.setattr(worker.queue_class, "dequeue_any", stopped)


@pytest.mark.parametrize("before", [True, False])
def test_a_stop_loses_no_job_that_was_just_taken(
    worker: FastWorker, redis_client: Redis, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """It is in no queue any more: the worker does it before it stops."""
    queue = Queue("default", connection=redis_client)
    queue.enqueue("m:f", job_id="taken")
    stops_in(worker, monkeypatch, before=before)
    found = worker.dequeue_job_and_maintain_ttl(1)
    assert found is not None
    assert found[0].id == "taken"
    # The next one is left to others.
    queue.enqueue("m:f", job_id="left")
    with pytest.raises(StopRequested):
        worker.dequeue_job_and_maintain_ttl(1)
    assert queue.job_ids == ["left"]


# What a batch asks between two tasks


class Watched:
    """A batch's look whether its worker shall stop, with a clock that a test moves."""

    def __init__(self, client: Redis, patch: pytest.MonkeyPatch) -> None:
        self._seconds = 100.0
        patch.setattr("distflow_worker.batch.time.monotonic", lambda: self._seconds)
        self._watch = batch._StopWatch(client, "w")

    def look(self, seconds: float = 1.1) -> bool:
        """Ask, so long after it was asked last."""
        self._seconds += seconds
        return self._watch.should_stop()


def test_a_suspended_worker_begins_no_other_task(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``rq suspend`` is seen between two tasks of a batch, within a second; what is left goes back
    to the coordinator.
    """
    watched = Watched(redis_client, monkeypatch)
    assert not watched.look()
    suspend(redis_client)
    assert not watched.look(0.5)
    assert watched.look(0.6)
    resume(redis_client)
    assert not watched.look()


def test_a_worker_that_shall_stop_begins_no_other_task(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warm shutdown of this worker, as RQ notes it; that of another is none of its business."""
    watched = Watched(redis_client, monkeypatch)
    for name, stops in (("another", False), ("w", True)):
        told: Any = SimpleWorker(["default"], name=name, connection=redis_client)
        told.register_birth()
        told._shutdown_requested_date = now()
        told.set_shutdown_requested_date()
        assert watched.look() is stops


def test_a_redis_that_is_away_stops_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outcome may wait to be told: whoever tells it waits for Redis."""
    with Redis.from_url("redis://127.0.0.1:1") as nobody:
        assert not Watched(nobody, monkeypatch).look()


# Replies that come too late


@pytest.fixture
def store(redis_client: Redis) -> RedisRunStore:
    """A run on the shared server."""
    return RedisRunStore(redis_client, "run-1", patience_seconds=5.0)


def started_keys(store: RedisRunStore) -> list[str]:
    """What the start of a task concerns."""
    return [store.keys.meta, store.keys.claims, store.keys.events]


def cut_off(server: RedisServer, client: Redis, call: Callable[[], object]) -> None:
    """Let a call of this client time out; the server answers afterwards."""
    server.pause()
    try:
        with pytest.raises(RedisTimeoutError):
            call()
    finally:
        server.proceed()


@pytest.mark.parametrize("again", ["on the same line", "on another connection of its pool"])
def test_a_late_reply_is_nobody_elses(
    redis_server: RedisServer, store: RedisRunStore, again: str
) -> None:
    """A call that timed out leaves its reply behind, or on its way: whatever asks next must not
    take that for its own. Were it a claim's, another task would run without a claim.
    """
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    with redis_server.client(socket_timeout=0.3) as client:
        line = ScriptConnection(client, "start_task", started_keys(store))
        assert line.call(b"a", b"t1") == 1
        cut_off(redis_server, client, lambda: line.call(b"a", b"t1"))
        # The late reply is there by now.
        store.read_info()
        if again == "on the same line":
            assert line.call(b"a", b"no such token") == 7
        else:
            line.close()
            assert client.echo("mine") == b"mine"
        line.close()


def test_what_interrupts_a_call_leaves_no_reply_behind(
    redis_server: RedisServer, store: RedisRunStore
) -> None:
    """A signal, or a task's deadline, may raise anything while a reply is waited for."""
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with redis_server.client() as client:
        line = ScriptConnection(client, "start_task", started_keys(store))
        with pytest.raises(KeyboardInterrupt):
            line.call(b"a", b"t1", meanwhile=interrupt)
        assert client.echo("mine") == b"mine"
        assert line.call(b"a", b"no such token") == 7
        line.close()


def test_a_connection_is_given_back(redis_server: RedisServer, store: RedisRunStore) -> None:
    """A process that takes many batches has one connection, and not one for each."""
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    with redis_server.client(client_name="lines") as client:
        for _ in range(3):
            line = ScriptConnection(client, "start_task", started_keys(store))
            assert line.call(b"a", b"t1") == 1
            line.close()
            line.close()
        assert [each["name"] for each in client.client_list()].count("lines") == 1


def test_a_connection_that_was_given_back_is_left_alone(
    redis_server: RedisServer, store: RedisRunStore
) -> None:
    """Whoever has it by then is not disturbed: the line takes another for its next call."""
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    with redis_server.client() as client, client.pubsub() as listening:
        line = ScriptConnection(client, "start_task", started_keys(store))
        assert line.call(b"a", b"t1") == 1
        line.close()
        listening.subscribe("channel")
        assert line.call(b"a", b"t1") == 1
        assert client.publish("channel", "heard") == 1
        heard = [listening.get_message(timeout=5.0) for _ in range(2)]
        assert [each and each["type"] for each in heard] == ["subscribe", "message"]
        line.close()
