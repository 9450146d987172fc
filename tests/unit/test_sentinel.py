"""A client that asks Sentinels: whom it believes, and when it leaves a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis import exceptions as redis_errors
from redis.connection import SSLConnection
from redis.sentinel import MasterNotFoundError, Sentinel

from distflow.errors import RedisUnavailable
from distflow.runs.client import connect
from distflow.store.redis import sentinel as sentinel_module
from distflow.store.redis.connection import check_redis, open_redis
from distflow.store.redis.sentinel import Sentinels, follows_primary, reopen_primary
from distflow_worker.redis_client import open_like
from tests.support.answering import AnsweringServer, Answers, bulk, text
from tests.support.wait import wait_for

SERVICE = "main"


class Place:
    """A server: what it says of its role, and of everything else."""

    def __init__(self, serve: Callable[[Answers], AnsweringServer], name: str) -> None:
        self.role = "master"
        #: What it answers to a command; None for nothing.
        self.reply: bytes | None = text(name)
        self.server = serve(self._answer)

    @property
    def told(self) -> list[str]:
        """The commands that it was given, but for the question what it is."""
        return [each for each in self.server.commands if not each.startswith("INFO")]

    def _answer(self, words: list[bytes]) -> bytes | None:
        if words[0].upper() == b"INFO":
            return text(f"# Replication\r\nrole:{self.role}\r\n")
        return self.reply


class Watcher:
    """A Sentinel, and what it says."""

    def __init__(self, serve: Callable[[Answers], AnsweringServer], place: Place) -> None:
        self.place: Place | None = place
        self.epoch = 1
        self.frozen = False
        self.server = serve(self._answer)

    def _answer(self, words: list[bytes]) -> bytes | None:
        if self.frozen:
            return None
        if self.place is None:
            known = words[1].upper() == b"MASTER"
            return b"-ERR No such master with that name\r\n" if known else b"*-1\r\n"
        host, port = self.place.server.address
        if words[1].upper() == b"MASTER":
            return bulk("name", SERVICE, "flags", "master", "config-epoch", str(self.epoch))
        return bulk(host, str(port))


class Scene:
    """Two servers and three Sentinels that name the first."""

    def __init__(self, started: ExitStack) -> None:
        def serve(answers: Answers) -> AnsweringServer:
            server = AnsweringServer(answers)
            started.callback(server.close)
            return server

        self.old, self.new = Place(serve, "old"), Place(serve, "new")
        self.sentinels = [Watcher(serve, self.old) for _ in range(3)]
        hosts = ",".join("{}:{}".format(*each.server.address) for each in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}"
        self.client = open_redis(self.url)
        started.callback(self.client.close)

    def fail_over(self, *knowing: int) -> None:
        """Let these Sentinels name the second server, as of a later failover."""
        for number in knowing:
            self.sentinels[number].place = self.new
            self.sentinels[number].epoch = 2

    def get(self) -> str:
        """Which server answers."""
        found = self.client.get("key")
        assert isinstance(found, bytes)
        return found.decode()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Everything moves ten times as fast."""
    monkeypatch.setattr(sentinel_module, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(sentinel_module, "SENTINEL_TIMEOUT_SECONDS", 0.3)
    with ExitStack() as started:
        yield Scene(started)


def test_it_finds_the_primary(scene: Scene) -> None:
    """And asks a Sentinel no more than the interval allows."""
    assert [scene.get() for _ in range(50)] == ["old"] * 50


def test_several_connections_ask_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all Sentinels have just said holds for the next connection too."""
    monkeypatch.setattr(sentinel_module, "ASK_SECONDS", 60.0)
    pool: Any = scene.client.connection_pool
    for connection in [pool.get_connection() for _ in range(4)]:
        pool.release(connection)
    asked = [len(each.server.commands) for each in scene.sentinels]
    # Its epoch, and its address.
    assert asked == [2, 2, 2]
    # One that fails is evidence enough to ask again.
    scene.fail_over(0, 1, 2)
    pool.disconnect()
    scene.old.server.close()
    assert scene.get() == "new"


def test_a_client_that_is_closed_lets_go_of_all(scene: Scene) -> None:
    """Also of the connections to Sentinels; it may be used again."""
    assert scene.get() == "old"
    pool: Any = scene.client.connection_pool
    sentinels = [each.connection_pool for each in pool.sentinel_manager.sentinels]
    (connection,) = sentinels[0]._available_connections
    assert connection._sock
    scene.client.close()
    assert not connection._sock
    assert scene.get() == "old"


def test_a_frozen_sentinel_costs_little(scene: Scene) -> None:
    """It is waited for once, and then left alone for a while."""
    scene.sentinels[0].frozen = True
    began = time.monotonic()
    assert scene.get() == "old"
    assert time.monotonic() - began < 3
    seen = len(scene.sentinels[0].server.commands)
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert scene.get() == "old"
    assert len(scene.sentinels[0].server.commands) == seen


def test_sentinels_that_are_gone_disturb_nobody(scene: Scene) -> None:
    """While the primary answers, it need not be found."""
    assert scene.get() == "old"
    for each in scene.sentinels:
        each.server.close()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert scene.get() == "old"


def test_one_that_knows_nothing_is_passed_over(scene: Scene) -> None:
    """As one that was reset."""
    scene.sentinels[0].place = scene.sentinels[1].place = None
    assert scene.get() == "old"


def test_where_none_knows_each_is_named(scene: Scene) -> None:
    """One line, in the words of a command."""
    scene.sentinels[0].place = None
    scene.sentinels[1].frozen = True
    scene.sentinels[2].server.close()
    with pytest.raises(RedisUnavailable) as raised:
        check_redis(scene.client, scene.url)
    said = str(raised.value)
    for each in scene.sentinels:
        assert "{}:{}".format(*each.server.address) in said
    assert "No such master" in said
    assert "\n" not in said
    # When one is back, it is not left alone for what it was.
    scene.sentinels[1].frozen = False
    assert scene.get() == "old"


@pytest.mark.parametrize("knowing", [0, 1, 2])
def test_the_latest_failover_counts(scene: Scene, knowing: int) -> None:
    """Two Sentinels that know of an older one, whichever is asked first."""
    scene.fail_over(knowing)
    assert scene.get() == "new"
    assert scene.old.told == []


def test_a_server_that_hangs_is_left(scene: Scene) -> None:
    """It was frozen: the reply that is waited for does not come, whatever the socket allows."""
    assert scene.get() == "old"
    scene.old.reply = None
    threading.Timer(0.5, scene.fail_over, (0, 1, 2)).start()
    began = time.monotonic()
    assert scene.get() == "new"
    assert 0.4 < time.monotonic() - began < 5


def test_a_stale_sentinel_holds_nobody(scene: Scene) -> None:
    """Another knows better, and is asked in its turn."""
    assert scene.get() == "old"
    scene.old.reply = None
    scene.fail_over(1)
    began = time.monotonic()
    assert scene.get() == "new"
    assert time.monotonic() - began < 5


def test_nobody_goes_on_with_a_server_that_is_replaced(scene: Scene) -> None:
    """It answers, as one that woke up does: what it took would be lost."""
    assert scene.get() == "old"
    scene.fail_over(0, 1, 2)
    wait_for(lambda: scene.get() == "new", 5, "the new primary")
    seen = len(scene.old.told)
    assert [scene.get() for _ in range(20)] == ["new"] * 20
    assert len(scene.old.told) == seen


def test_a_connection_that_is_kept_sends_nothing_more(scene: Scene) -> None:
    """As a worker keeps one for a batch: it fails before its command is sent."""
    pool: Any = scene.client.connection_pool
    connection = pool.get_connection()
    scene.fail_over(0, 1, 2)
    wait_for(lambda: pool.sentinel_manager.has_moved(SERVICE, scene.old.server.address), 5)
    with pytest.raises(redis_errors.ConnectionError, match="is no longer the primary"):
        connection.send_command("SET", "key", "value")
    assert scene.old.told == []
    pool.release(connection)


def test_an_idle_connection_is_made_anew(scene: Scene) -> None:
    """It leads to the new primary when it is taken from the pool, without an error."""
    pool: Any = scene.client.connection_pool
    connection = pool.get_connection()
    pool.release(connection)
    scene.fail_over(0, 1, 2)
    wait_for(lambda: pool.sentinel_manager.has_moved(SERVICE, scene.old.server.address), 5)
    again = pool.get_connection()
    assert again is connection
    assert (again.host, again.port) == scene.new.server.address
    pool.release(again)


def test_a_replica_is_refused(scene: Scene) -> None:
    """What all Sentinels say may be old: a server says itself what it is."""
    scene.old.role = "slave"
    with pytest.raises(redis_errors.ConnectionError, match="is a replica"):
        scene.get()
    assert scene.old.told == []
    scene.fail_over(0, 1, 2)
    assert scene.get() == "new"


def test_a_server_that_does_not_tell_is_believed(scene: Scene) -> None:
    """Its ACL refuses INFO."""
    scene.old._answer = lambda words: (  # type: ignore[method-assign]
        b"-NOPERM no\r\n" if words[0].upper() == b"INFO" else text("old")
    )
    scene.old.server.answers = scene.old._answer
    assert scene.get() == "old"


@pytest.mark.parametrize(
    "words",
    [
        "READONLY You can't write against a read only replica.",
        "UNBLOCKED force unblock from blocking operation, instance state changed",
        "MASTERDOWN Link with MASTER is down",
        "ERR Error running script (call to f_0): @user_script:7: @user_script: 7: -READONLY You",
    ],
)
def test_one_that_was_demoted_is_left(scene: Scene, words: str) -> None:
    """By what it says; the Sentinels are asked again, and the command is given again."""
    assert scene.get() == "old"
    scene.old.reply = f"-{words}\r\n".encode()
    scene.fail_over(0, 1, 2)
    # Nobody asks in between.
    pool: Any = scene.client.connection_pool
    pool.sentinel_manager._asked_at = time.monotonic() + 60
    assert scene.get() == "new"


def test_a_subscriber_follows(scene: Scene) -> None:
    """It waits for messages, and gets those of the new primary."""
    subscribed = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
    scene.old.reply = scene.new.reply = subscribed
    client: Any = scene.client
    with client.pubsub() as pubsub:
        pubsub.subscribe("c")
        assert pubsub.get_message(timeout=1)
        scene.fail_over(0, 1, 2)
        assert pubsub.get_message(timeout=5)
    assert scene.new.told == ["SUBSCRIBE c"]


def test_a_worker_follows_by_itself(scene: Scene) -> None:
    """Its batch has a connection of its own, also where RQ was given one of redis-py's."""
    hosts = [each.server.address for each in scene.sentinels]
    theirs = Sentinel(hosts, db=3, password="x").master_for(SERVICE)  # type: ignore[no-untyped-call]
    for client in (open_like(scene.client), open_like(theirs)):
        pool: Any = client.connection_pool
        assert isinstance(pool.sentinel_manager, Sentinels)
        assert client.get("key") == b"old"
        client.close()
    assert pool.connection_kwargs["db"] == 3
    assert pool.connection_kwargs["password"] == "x"


def test_a_client_of_redis_py_follows_too(scene: Scene) -> None:
    """Given to distflow, it is used by its settings; one that follows already is used itself."""
    hosts = [each.server.address for each in scene.sentinels]
    theirs = Sentinel(hosts, db=3).master_for(SERVICE)  # type: ignore[no-untyped-call]
    assert not follows_primary(theirs)
    used = connect(theirs).redis
    assert follows_primary(used)
    assert used.connection_pool.connection_kwargs["db"] == 3
    used.close()
    assert connect(scene.client).redis is scene.client


def test_what_is_reopened_speaks_tls() -> None:
    """Hosts, service, logins and TLS are those of the other client."""
    client = open_redis(
        "redis+sentinel://ann:secret@one:26379,[::1]:26380/main/4"
        "?sentinel_username=bob&sentinel_password=hush&ssl=true"
    )
    again = reopen_primary(client, client.connection_pool.connection_kwargs)
    pool: Any = again.connection_pool
    assert issubclass(pool.connection_class, SSLConnection)
    assert pool.service_name == "main"
    kwargs = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in kwargs] == [("one", 26379), ("::1", 26380)]
    assert {(each["username"], each["password"]) for each in kwargs} == {("bob", "hush")}
    assert pool.connection_kwargs["username"] == "ann"


def test_no_sentinel_is_an_error_of_the_connection() -> None:
    """Whoever is patient with Redis is patient with its Sentinels."""
    assert issubclass(MasterNotFoundError, redis_errors.ConnectionError)
    with pytest.raises(MasterNotFoundError, match=r"127\.0\.0\.1:1"):
        Sentinels([("127.0.0.1", 1)], {}).discover_master("main")
