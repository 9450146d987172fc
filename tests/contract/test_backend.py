"""What is asked of the Redis where runs live, and of the workers that are registered there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis
from redis import exceptions as redis_errors
from rq.suspension import resume, suspend

from distflow import connect
from distflow.backends.redis_rq import RedisBackend, open_backend
from distflow.core.readings import Apart
from distflow.errors import InvalidInput, RedisUnavailable
from distflow.rq_compat.rq_keys import (
    WORKERS_KEY,
    command_channel,
    queue_key,
    queue_workers_key,
    worker_key,
)
from distflow.store.redis.worker_notes import WorkerNote, write_note
from tests.support.full import fill, make_room
from tests.support.redis_server import RedisServer
from tests.support.stores import make_spec

BORN = "2026-01-01T00:00:00.000000Z"

#: A user who may do this and no more.
_RIGHTS = ["reset", "on", ">secret", "allkeys", "allchannels", "+@all"]

Listen = Callable[..., None]


@pytest.fixture
def backend(redis_client: Redis) -> RedisBackend:
    """The runs of the shared server."""
    return RedisBackend(redis_client, patience_seconds=2.0)


@pytest.fixture
def listen(redis_client: Any) -> Iterator[Listen]:
    """``listen(name, prefix)``: a worker of that name and prefix is connected."""
    with ExitStack() as connected:

        def listen(name: str, prefix: str = "rq") -> None:
            redis_client.sadd(queue_workers_key("default", prefix), f"{prefix}:worker:{name}")
            channel = connected.enter_context(redis_client.pubsub())
            channel.subscribe(command_channel(name, prefix))
            assert channel.get_message(timeout=5)

        yield listen


def as_user(server: RedisServer, *rights: str) -> Redis:
    """A client of a user with fewer rights."""
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "few", *_RIGHTS, *rights)
    return Redis.from_url(server.url.replace("unix://", "unix://few:secret@"))


# Workers


def test_workers_say_who_they_are(backend: RedisBackend, listen: Listen) -> None:
    """By name: what RQ has of them, and what the same worker has noted of itself."""
    client: Any = backend.redis
    for name, born in (("w2", BORN), ("w1", BORN), ("w3", BORN)):
        fields = {"birth": born, "pid": "41", "hostname": "h", "queues": "a,b", "state": "busy"}
        more = {"current_job": "run-1-7-1", "version": "3.0", "python_version": "3.11.7 (main)"}
        client.hset(worker_key(name), mapping=fields | more)
        client.sadd(WORKERS_KEY, worker_key(name))
    client.sadd(WORKERS_KEY, worker_key("lapsed"))
    listen("w1")
    listen("w2")
    note = WorkerNote(BORN, "h", 41, "/srv", distflow="0.2", code="v7", rests=1, refusal="m:f: no")
    write_note(client, backend.prefix, "w1", note)
    write_note(client, backend.prefix, "w2", note._replace(born="before that"))
    first, second, third = backend.workers()
    assert (first.name, first.state, first.queues) == ("w1", "busy", ("a", "b"))
    assert (first.job, first.host, first.pid) == ("run-1-7-1", "h", 41)
    assert (first.rq, first.python, first.directory) == ("3.0", "3.11.7", "/srv")
    assert (first.code, first.distflow, first.refusal) == ("v7", "0.2", "m:f: no")
    assert (second.name, second.state, second.directory) == ("w2", "busy", "")
    # Nobody is connected by that name.
    assert (third.name, third.state) == ("w3", "gone")
    assert backend.has_worker("w1")
    client.hset(worker_key("w1"), "death", BORN)
    assert [backend.has_worker(name) for name in ("w1", "w2", "lapsed")] == [False, True, False]


def test_nobody_is_registered_on_an_empty_server(backend: RedisBackend) -> None:
    """And nobody suspended, and nothing apart."""
    assert backend.workers() == []
    assert not backend.are_workers_suspended()
    assert backend.find_apart("run-1", ["default"]) == backend.find_apart("run-1", []) == []


def test_whether_workers_are_suspended(backend: RedisBackend) -> None:
    """From ``rq suspend`` to ``rq resume``."""
    suspend(backend.redis)
    assert backend.are_workers_suspended()
    resume(backend.redis)
    assert not backend.are_workers_suspended()


def test_workers_of_another_prefix_are_seen(backend: RedisBackend, listen: Listen) -> None:
    """Where a run's batches wait and nobody listens, and somebody does under another prefix."""
    client: Any = backend.redis
    client.rpush(queue_key("default", "rq"), "run-1-7-1", "run-2-7-1")
    assert backend.find_apart("run-1", ["default"]) == []
    listen("w1", "team")
    listen("w2", "team")
    assert backend.find_apart("run-1", ["default", "other"]) == [
        Apart("default", "rq", {"team": 2})
    ]
    # It has nothing there.
    assert backend.find_apart("run-3", ["default"]) == []
    listen("w3", "rq")
    assert backend.find_apart("run-1", ["default"]) == []


@pytest.mark.parametrize("rights", [("-pubsub",), ("resetkeys", "~distflow:*", "~rq:*")])
def test_nothing_is_apart_for_who_may_not_look(
    backend: RedisBackend, listen: Listen, redis_server: RedisServer, rights: tuple[str, ...]
) -> None:
    """A user with fewer rights: that is no error of whoever asks."""
    anyone: Any = backend.redis
    anyone.rpush(queue_key("default", "rq"), "run-1-7-1")
    listen("w1", "team")
    with as_user(redis_server, *rights) as few:
        assert RedisBackend(few).find_apart("run-1", ["default"]) == []


# Runs


def test_runs_are_listed_as_they_were_made(
    backend: RedisBackend, redis_server: RedisServer
) -> None:
    """Also those that somebody has restored, and the list of runs does not have yet; a user who may
    not see all keys sees what is listed.
    """
    for run_id in ("b", "a"):
        backend.store(run_id).create_run(make_spec(run_id), "creation")
    client: Any = backend.redis
    made = int(client.hget("distflow:{b}:meta", "created_at"))
    client.hset("distflow:{restored}:meta", mapping={"created_at": str(made - 5000)})
    client.hset("distflow:{no run id!}:meta", mapping={"created_at": "1"})
    client.set("distflow:{odd}:meta", "of somebody else")
    assert backend.run_ids() == ["odd", "restored", "b", "a"]
    with as_user(redis_server, "-scan") as few:
        assert RedisBackend(few).run_ids() == ["b", "a"]
    assert RedisBackend(backend.redis, "another").run_ids() == []


# The server


def test_a_server_that_takes_no_writes_says_why(backend: RedisBackend) -> None:
    """Whoever waits for a run is told that."""
    assert backend.find_write_refusal() is None
    fill(backend.redis)
    try:
        assert "OOM" in (backend.find_write_refusal() or "")
    finally:
        make_room(backend.redis)


def test_settings_are_advised_where_hosts_are_several(backend: RedisBackend) -> None:
    """Of a server that nobody reaches from elsewhere there is nothing to say."""
    assert backend.server_advice() == []
    local = RedisBackend(Redis(host="localhost", port=1), patience_seconds=0.0)
    # It is not even asked.
    assert local.server_advice() == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (redis_errors.ConnectionError("refused"), "refused"),
        (redis_errors.ResponseError("WRONGTYPE of a key"), "cannot be used: WRONGTYPE"),
    ],
)
def test_errors_of_redis_py_are_ours(
    backend: RedisBackend, error: redis_errors.RedisError, words: str
) -> None:
    """Whoever calls knows no others."""
    with pytest.raises(RedisUnavailable, match=words) as raised, backend.translate_errors():
        raise error
    assert raised.value.__cause__ is error


# How it is reached


def test_a_client_is_used_itself_where_it_speaks_in_bytes(redis_server: RedisServer) -> None:
    """One that decodes is replaced by one like it."""
    with redis_server.client() as plain, redis_server.client(decode_responses=True) as decoding:
        assert connect(plain).redis is plain
        other = connect(decoding)
        assert other.redis is not decoding
        assert other.run_ids() == []
        other.redis.close()


@pytest.mark.parametrize("given", [None, 7, object()])
def test_what_is_no_redis_is_refused(given: Any) -> None:
    """By what it is, with what is taken."""
    with pytest.raises(InvalidInput, match=r"redis\.Redis"):
        open_backend(given)
