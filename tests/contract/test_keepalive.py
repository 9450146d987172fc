"""What a server tells of its keepalive, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from distflow.store.redis.keepalive import keepalive_advice, server_drop_seconds
from tests.support.answering import AnsweringServer
from tests.support.redis_server import RedisServer, TcpServer


@pytest.fixture
def server() -> Iterator[TcpServer]:
    """One that has clients by TCP."""
    server = TcpServer()
    yield server
    server.close()


@pytest.mark.parametrize(
    ("setting", "seconds"), [(300, 600.0), (10, 20.0), (1, 2.0), (0, float("inf"))]
)
def test_how_long_a_server_takes(server: TcpServer, setting: int, seconds: float) -> None:
    """Until the first probe, and for three probes a third of that apart; 0 is never."""
    with server.client() as client:
        client.config_set("tcp-keepalive", setting)
        assert server_drop_seconds(client) == seconds


def test_a_server_of_this_host_alone(redis_server: RedisServer) -> None:
    """By a unix socket nobody comes from another host."""
    with redis_server.client() as client:
        assert server_drop_seconds(client) == 0.0


def test_an_acl_that_keeps_it_back(server: TcpServer) -> None:
    """Nothing is known then."""
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-config")
    with Redis.from_url(server.url, username="u", password="p") as client:
        assert server_drop_seconds(client) is None


def test_a_server_without_the_command() -> None:
    """As managed ones are."""
    server = AnsweringServer(lambda words: b"-ERR unknown command 'CONFIG'\r\n")
    with Redis(*server.address) as client:
        assert server_drop_seconds(client) is None
    server.close()


@pytest.mark.parametrize("seconds", [None, 0.0, 20.0])
def test_nothing_is_said_where_nothing_is_to_be_done(seconds: float | None) -> None:
    """It drops connections soon, or nobody can know."""
    assert keepalive_advice(seconds) is None


@pytest.mark.parametrize(
    ("seconds", "late"), [(600.0, "only after 600 s"), (float("inf"), "never")]
)
def test_what_is_said(seconds: float, late: str) -> None:
    """One line, and what to type."""
    said = keepalive_advice(seconds)
    assert said is not None
    assert late in said
    assert "`redis-cli CONFIG SET tcp-keepalive 10`" in said
