"""The proxy itself: what it does to the k-th command."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from tests.support.proxy import LATE_SECONDS, Proxy, command_name, message_end
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_for

MESSAGES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":7\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"$5\r\na\r\nbc\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
    b"%1\r\n+key\r\n*1\r\n+value\r\n",
    b"~1\r\n+one\r\n",
    b"=5\r\ntxt:a\r\n",
    b">2\r\n+message\r\n$-1\r\n",
]


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    """In front of the shared server."""
    proxy = Proxy(redis_server.url)
    yield proxy
    proxy.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Redis]:
    """Through the proxy; it tries once."""
    with Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0)) as client:
        client.ping()
        yield client


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_messages_end_where_they_end(message: bytes) -> None:
    """Of all that begin alike, only the whole one is a message."""
    assert [message_end(message[:end]) for end in range(len(message))] == [0] * len(message)
    assert message_end(message) == message_end(message + b"+next\r\n") == len(message)


def test_commands_have_names() -> None:
    """The first word."""
    assert command_name(b"*2\r\n$3\r\nget\r\n$1\r\na\r\n") == "GET"


def test_it_hands_everything_on(client: Redis, proxy: Proxy) -> None:
    """Large values, pipelines and blocking reads are as without it."""
    value = bytes(range(256)) * 4096
    client.set("value", value)
    assert client.get("value") == value
    with client.pipeline() as pipeline:
        for number in range(1000):
            pipeline.rpush("list", number)
        pipeline.execute()
    assert client.blpop("list", timeout=1)
    assert client.lpop("list") == b"1"
    assert client.blpop("empty", timeout=0.05) is None
    assert proxy.commands.count("RPUSH") == 1000
    assert not proxy.has_struck()


def test_a_command_that_is_not_sent(client: Redis, proxy: Proxy, redis_client: Redis) -> None:
    """Redis never sees it."""
    proxy.arm(2, "unsent")
    client.incr("count")
    with pytest.raises(RedisConnectionError):
        client.incr("count")
    assert proxy.has_struck()
    assert redis_client.get("count") == b"1"
    assert client.incr("count") == 2


def test_a_reply_that_is_lost(client: Redis, proxy: Proxy, redis_client: Redis) -> None:
    """Redis has done it, and its caller cannot know."""
    proxy.arm(2, "unanswered")
    client.incr("count")
    with pytest.raises(RedisConnectionError):
        client.incr("count")
    assert redis_client.get("count") == b"2"
    assert client.incr("count") == 3


def test_the_replies_before_a_lost_one_arrive(client: Redis, proxy: Proxy) -> None:
    """Also where they are asked for together."""
    proxy.arm(3, "unanswered")
    connection: Any = client.connection_pool.get_connection()
    commands = connection.pack_commands([("INCR", "count")] * 4)
    connection.send_packed_command(commands)
    assert [connection.read_response(), connection.read_response()] == [1, 2]
    with pytest.raises(RedisConnectionError):
        connection.read_response()
    client.connection_pool.release(connection)


def test_a_reply_that_is_late(client: Redis, proxy: Proxy) -> None:
    """It comes, a second later."""
    proxy.arm(1, "late")
    began = time.monotonic()
    assert client.incr("count") == 1
    assert time.monotonic() - began >= LATE_SECONDS
    assert client.incr("count") == 2


def test_a_host_that_loses_power(client: Redis, proxy: Proxy, redis_client: Redis) -> None:
    """Its processes end, and Redis is not told: what waits for an entry still swallows one."""
    blocked: Any = client.connection_pool.get_connection()
    blocked.send_command("BLPOP", "queue", 0)
    client.client_setname("gone")
    wait_for(lambda: redis_client.info("clients")["blocked_clients"] == 1, what="it to wait")
    proxy.lose_power()
    blocked.disconnect()
    client.connection_pool.disconnect()
    with pytest.raises(RedisTimeoutError):
        Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0), socket_timeout=0.2).ping()
    assert redis_client.info("clients")["blocked_clients"] == 1
    redis_client.rpush("queue", "entry")
    assert redis_client.llen("queue") == 0

    def is_there() -> bool:
        listed: Any = redis_client.client_list()
        return "gone" in [each["name"] for each in listed]

    assert is_there()
    proxy.close()
    wait_for(lambda: not is_there(), what="Redis to see the end of the connection")
