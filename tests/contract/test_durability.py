"""What is read of a Redis and demanded of it, and what must be on its disk to count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.backoff import NoBackoff
from redis.connection import Connection, UnixDomainSocketConnection
from redis.exceptions import ResponseError
from redis.retry import Retry

from distflow.core.claim import Code
from distflow.core.run import ServerFacts
from distflow.errors import InvalidInput, NotOnDisk
from distflow.local.binary import read_release
from distflow.runs.client import Client
from distflow.store.redis.durability import read_server, settle_server
from distflow.store.redis.script_line import ScriptConnection
from distflow.store.redis.store import RedisRunStore
from tests.support.redis_server import (
    RedisPool,
    RedisServer,
    binaries_at_hand,
    version_name,
    waitaof_binary,
)
from tests.support.stores import again, claim, final, make_spec
from tests.support.tasks import recording

FLOWS = "tests.support.tasks.recording"
#: Servers without WAITAOF; the test of them is there where they are.
OLD = [binary for binary in binaries_at_hand() if read_release(binary).version < (7, 2)]
USUAL = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


@pytest.fixture
def server(redis_pool: RedisPool) -> Iterator[RedisServer]:
    """The shared server; its settings are the usual ones again afterwards."""
    server = redis_pool.get()
    yield server
    restore(server)


@pytest.fixture
def waitaof_server(redis_pool: RedisPool) -> Iterator[RedisServer]:
    """A shared server that has WAITAOF, likewise."""
    server = redis_pool.get(waitaof_binary())
    yield server
    restore(server)


def restore(server: RedisServer) -> None:
    """Put a server's settings back."""
    with server.client() as client:
        for name, value in USUAL.items():
            client.config_set(name, value)


@pytest.mark.parametrize(
    "binary", [pytest.param(b, id=version_name(b)) for b in binaries_at_hand()]
)
@pytest.mark.parametrize(
    ("settings", "durability"),
    [
        ({}, "aof-always"),
        ({"appendfsync": "everysec"}, "aof-everysec"),
        ({"appendfsync": "no"}, "aof-no"),
        ({"appendonly": "no", "save": "60 1"}, "rdb"),
        ({"appendonly": "no", "save": ""}, "none"),
    ],
)
def test_durability_is_that_of_the_server(
    settings: dict[str, str], durability: str, binary: Path, redis_pool: RedisPool
) -> None:
    """Promise 7: a run records what its Redis gives, on every version that is supported."""
    server = redis_pool.get(binary)
    with server.client() as client:
        try:
            for name, value in settings.items():
                client.config_set(name, value)
            facts = read_server(client)
        finally:
            restore(server)
    assert facts.durability == durability
    assert facts.redis_version.startswith("{} {}.".format(*version_name(binary).split("-")))
    assert facts.maxmemory_policy == "noeviction"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"appendonly": "no"}, "with appendonly yes; this is valkey"),
        ({"appendfsync": "no"}, "would wait in vain while appendfsync is no"),
    ],
)
def test_waitaof_needs_a_server_that_can(
    settings: dict[str, str], why: str, waitaof_server: RedisServer
) -> None:
    """What it could never confirm is refused before anything is written."""
    with waitaof_server.client() as client:
        for name, value in settings.items():
            client.config_set(name, value)
        with pytest.raises(InvalidInput, match=why):
            settle_server(client, "waitaof", allow_eviction=False)


def test_a_durability_that_there_is_not(server: RedisServer) -> None:
    """The line says which there is."""
    with (
        server.client() as client,
        pytest.raises(InvalidInput, match="='twice': must be 'waitaof'"),
    ):
        Client(client).create(recording.tolerated, durability="twice")


@pytest.fixture
def begun(
    waitaof_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[RedisRunStore, int]]:
    """A run that wants the disk, with a batch that has claimed ``a``; and its epoch. Calls do not
    wait for long, on a server that syncs nothing from here on.
    """
    monkeypatch.setattr("distflow.store.redis.worker._DISK_WAIT_MS", 50)
    with waitaof_server.client() as client:
        store = RedisRunStore(client, "run-1", patience_seconds=0.0)
        spec = make_spec()
        store.create_run(replace(spec, server=ServerFacts("waitaof")), "creation")
        store.seal_run("creation", 1)
        epoch = store.acquire_lease("anna", 60.0)
        assert store.begin_batch(epoch, "b1", "w1", "job-1").waits_for_disk
        claim(store, epoch, "a", "t1", start=False, begin=False)
        client.config_set("appendfsync", "no")
        yield store, epoch


def test_a_start_that_is_not_on_disk_is_none(begun: tuple[RedisRunStore, int]) -> None:
    """Acknowledged is not enough: the counts of WAITAOF are read. That holds for a call that is
    repeated over another connection too, since a reply was lost: Redis would say of one that has
    written nothing that all of it is on disk.
    """
    store, _epoch = begun
    for _ in range(2):
        with pytest.raises(
            NotOnDisk, match="the start of 'a' is on its disk: WAITAOF still counts 0"
        ):
            store.start_task("a", "t1")
        store.client.connection_pool.disconnect()
    store.client.config_set("appendfsync", "always")
    assert store.start_task("a", "t1") == Code.GRANTED


@pytest.mark.parametrize("kind", ["final", "wait"])
def test_an_outcome_that_is_not_on_disk_stands(
    begun: tuple[RedisRunStore, int], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The worker's log says so: its start is on disk, and makes it unknown should it be lost. An
    outcome that is told again, over another connection, is not taken for one that is there.
    """
    store, epoch = begun
    done = final("a", "t1", keep=True) if kind == "final" else again("a", "t1")._replace(keep=True)
    for count in (1, 2):
        with store.own_connection():
            assert store.advance(epoch, "b1", [done]).finishes == (Code.RECORDED,)
        assert caplog.text.count("did not confirm that an outcome is on its disk") == count
        store.client.connection_pool.disconnect()
    store.client.config_set("appendfsync", "always")
    assert store.advance(epoch, "b1", [done]).finishes == (Code.RECORDED,)
    assert caplog.text.count("did not confirm") == count


def test_a_connection_that_is_cut_confirms_nothing(
    waitaof_server: RedisServer, begun: tuple[RedisRunStore, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection over which the start was written is cut before the disk is asked, and is due
    for redis-py's look at its health, which would open another: of what that has written, nothing,
    all is on disk. The start is asked for anew instead, and is not there.
    """
    call = ScriptConnection.call
    cuts = [True]

    def cut(self: ScriptConnection, *arguments: bytes, **options: Any) -> Any:
        reply = call(self, *arguments, **options)
        if cuts:
            cuts.pop()
            with waitaof_server.client() as other:
                mine = [each for each in other.client_list() if each["name"] == "worker"]
                assert len(mine) == 1
                other.client_kill_filter(_id=mine[0]["id"])
            self._connection.next_health_check = 0.0
        return reply

    monkeypatch.setattr(ScriptConnection, "call", cut)
    options: dict[str, Any] = {
        "client_name": "worker",
        "health_check_interval": 1,
        "retry": Retry(NoBackoff(), 3),
    }
    with waitaof_server.client(**options) as client:
        wary = RedisRunStore(client, "run-1", patience_seconds=2.0)
        wary._waits_for_disk = True
        with pytest.raises(
            NotOnDisk, match="the start of 'a' is on its disk: WAITAOF still counts 0"
        ):
            wary.start_task("a", "t1")
    assert cuts == []


def answers(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the first reply to WAITAOF that is read be an error."""
    sent: Any = Connection.send_command
    asked: list[Connection] = []
    read = UnixDomainSocketConnection.read_response

    def send(self: Any, *words: Any, **options: Any) -> Any:
        asked.extend([self] if words[0] == "WAITAOF" and not told else [])
        return sent(self, *words, **options)

    told: list[BaseException] = []

    def reply(self: Any, *args: Any, **options: Any) -> Any:
        if self in asked and not told:
            told.append(error)
            raise error
        return read(self, *args, **options)

    monkeypatch.setattr(UnixDomainSocketConnection, "send_command", send)
    monkeypatch.setattr(UnixDomainSocketConnection, "read_response", reply)


def test_a_server_that_is_demoted_meanwhile_is_asked_again(
    begun: tuple[RedisRunStore, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """UNBLOCKED: where the start was written is no primary any more. The start is told to whoever
    is, and the disk asked there.
    """
    store, _epoch = begun
    store.patience_seconds = 5.0
    store.client.config_set("appendfsync", "always")
    answers(monkeypatch, ResponseError("UNBLOCKED force unblock from blocking operation"))
    assert store.start_task("a", "t1") == Code.GRANTED


def test_what_interrupts_the_wait_for_the_disk_leaves_no_reply_behind(
    begun: tuple[RedisRunStore, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the connection next would take it for its own."""
    store, _epoch = begun
    answers(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        store.start_task("a", "t1")
    assert store.client.echo("mine") == b"mine"
