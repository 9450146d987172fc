"""How a Redis client is made from a URL, and what of the URL is shown."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis import exceptions as redis_errors
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.sentinel import SentinelConnectionPool

from distflow.errors import InvalidInput, RedisUnavailable
from distflow.redis_url import hide_password
from distflow.store.redis.connection import (
    CONNECT_TIMEOUT_SECONDS,
    SOCKET_TIMEOUT_SECONDS,
    check_redis,
    open_redis,
)
from distflow.store.redis.keepalive import KEEPALIVE
from distflow.store.redis.sentinel import SENTINEL_TIMEOUT_SECONDS
from tests.support.redis_server import RedisServer


def settings_of(client: Redis) -> dict[str, Any]:
    """What a client connects with."""
    found: dict[str, Any] = client.connection_pool.connection_kwargs
    return found


def sentinels_of(client: Redis) -> list[dict[str, Any]]:
    """What a client asks each Sentinel with."""
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    return [settings_of(sentinel) for sentinel in pool.sentinel_manager.sentinels]


def refusal_of(url: str) -> str:
    """Why a URL is refused; empty where it is not."""
    try:
        open_redis(url)
    except InvalidInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("url", "kind", "expected"),
    [
        ("redis://h", Connection, {"host": "h"}),
        ("redis://h:7000/3", Connection, {"host": "h", "port": 7000, "db": 3}),
        ("redis://u:p%40ss@h", Connection, {"username": "u", "password": "p@ss"}),
        ("rediss://h:7000", SSLConnection, {"host": "h", "port": 7000}),
        ("unix:///run/redis.sock?db=2", UnixDomainSocketConnection, {"db": 2}),
        ("unix:///run/redis.sock", UnixDomainSocketConnection, {"path": "/run/redis.sock"}),
    ],
)
def test_the_urls_of_redis_py(url: str, kind: type, expected: dict[str, Any]) -> None:
    """Plain, TLS and unix URLs are read as redis-py reads them."""
    client = open_redis(url)
    assert client.connection_pool.connection_class is kind
    assert expected.items() <= settings_of(client).items()


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h", "unix:///s", "redis+sentinel://h:26379/main"]
)
def test_no_command_waits_for_ever(url: str) -> None:
    """A server that hangs is noticed: every kind of client has both timeouts."""
    timeouts = {
        "socket_timeout": SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
    }
    client = open_redis(url)
    assert timeouts.items() <= settings_of(client).items()
    if "sentinel" in url:
        brief = dict.fromkeys(timeouts, SENTINEL_TIMEOUT_SECONDS)
        assert all(brief.items() <= settings.items() for settings in sentinels_of(client))


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "redis+sentinel://h:26379/main"])
def test_a_server_whose_host_is_gone_is_noticed(url: str) -> None:
    """By keepalive, also while nothing is sent."""
    assert KEEPALIVE.items() <= settings_of(open_redis(url)).items()


def test_a_sentinel_url() -> None:
    """Hosts, service, database, both logins and TLS are each read from their place."""
    client = open_redis(
        "redis+sentinel://ann:s%2Fcret@one:26379,[::1]:26380/main/4"
        "?sentinel_username=bob&sentinel_password=hu%26sh&ssl=true"
    )
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "main"
    wanted = {"username": "ann", "password": "s/cret", "db": 4}
    assert wanted.items() <= settings_of(client).items()
    assert issubclass(pool.connection_class, SSLConnection)
    sentinels = sentinels_of(client)
    assert [(s["host"], s["port"]) for s in sentinels] == [("one", 26379), ("::1", 26380)]
    for settings in sentinels:
        assert (settings["username"], settings["password"]) == ("bob", "hu&sh")


def test_a_sentinel_url_without_a_login() -> None:
    """A master without a password is asked for none, in database 0 and without TLS."""
    client = open_redis("redis+sentinel://one:26379/main")
    settings = settings_of(client)
    assert not settings.get("username")
    assert not settings.get("password")
    assert settings["db"] == 0
    assert not issubclass(client.connection_pool.connection_class, SSLConnection)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is not usable.*for example redis://localhost:6379/0"),
        ("http://h", "is not usable"),
        ("localhost:6379", "is not usable"),
        ("redis://h:port", "host:port must come before the database"),
        ("redis://h:99999", "out of range"),
        ("redis://h/zero", "the last / must be followed by the number of the database"),
        ("redis://h/0?db=one", r"one of its options \(db\)"),
        ("redis://h/0?db=1&tiemout=3", r"one of its options \(db, tiemout\) is unknown"),
        ("rediss://h?ssl_cert_reqs=some", r"one of its options \(ssl_cert_reqs\)"),
        ("redis://h?protocol=9", "protocol must be"),
        ("redis://h#0", "percent-encode special characters"),
        ("redis://h/0?a@b", "percent-encode special characters"),
        ("unix://run/redis.sock", "a path that begins with /"),
        (
            "redis+sentinel://one:1/main?db=1",
            r"the only options after the \? are sentinel_username, sentinel_password, ssl",
        ),
        ("redis+sentinel:///main", "each Sentinel must be host:port"),
        ("redis+sentinel://one/main", "each Sentinel must be host:port"),
        ("redis+sentinel://one:1,two/main", "each Sentinel must be host:port"),
        ("redis+sentinel://one:²/main", "each Sentinel must be host:port"),
        ("redis+sentinel://one:99999/main", "each Sentinel must be host:port"),
        ("redis+sentinel://[::1/main", "each Sentinel must be host:port"),
        ("redis+sentinel://one:1", "the Sentinels must be followed by /service"),
        ("redis+sentinel://one:1/main/db", "the Sentinels must be followed by /service"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, message: str) -> None:
    """One line that names the URL and how to mend it, and exit code 2."""
    with pytest.raises(InvalidInput, match=message) as raised:
        open_redis(url)
    assert repr(hide_password(url)) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://sEcReT@h", "redis://***@h"),
        ("redis://u:sEcReT@h:1/0", "redis://u:***@h:1/0"),
        ("rediss://:sEcReT@h", "rediss://:***@h"),
        ("redis://u:sEc@ReT@h:1", "redis://u:***@h:1"),
        ("redis://u:sEc/ReT@h:1", "redis://u:***@h:1"),
        ("redis://u:sEc#ReT@h:1", "redis://***"),
        ("redis://u:sEc?ReT@h:1", "redis://***"),
        ("redis://u:sEc:ReT@h:1", "redis://u:***@h:1"),
        ("redis+sentinel://u:sEc/ReT@a:1/m", "redis+sentinel://u:***@a:1/m"),
        ("unix:///s?password=sEcReT&db=1", "unix:///s?password=***&db=1"),
        (
            "redis+sentinel://u:sEc@a:1,b:2/m?sentinel_password=ReT",
            "redis+sentinel://u:***@a:1,b:2/m?sentinel_password=***",
        ),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    """Not where it stands, nor a piece of it that was taken for something else; the rest of the
    URL stays readable.
    """
    assert hide_password(url) == shown
    said = "".join(refusal_of(url + more) for more in ("", "?tiemout=1", "&db=one", "/x/y"))
    assert "sEc" not in said
    assert "ReT" not in said


def test_a_server_that_answers_is_reached(redis_server: RedisServer) -> None:
    """Reaching it says nothing."""
    client = open_redis(redis_server.url)
    check_redis(client, redis_server.url)
    client.close()


@pytest.mark.parametrize("where", ["port", "socket", "name"])
def test_a_server_that_is_away_is_named(where: str, tmp_path: Path) -> None:
    """Exit code 5, the URL without its password, and how to name another."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = {
        "port": f"redis://u:sEcReT@127.0.0.1:{port}/0",
        "socket": f"unix://{tmp_path}/none.sock?password=sEcReT",
        "name": "redis://u:sEcReT@not..a..name:6379",
    }[where]
    with pytest.raises(RedisUnavailable, match=r"cannot be reached.*DISTFLOW_REDIS_URL") as raised:
        check_redis(open_redis(url), url)
    assert hide_password(url) in str(raised.value)
    assert "sEcReT" not in str(raised.value)
    assert raised.value.exit_code == 5
    assert ".;" not in str(raised.value)


def test_a_database_that_is_not_there_is_bad_input(redis_server: RedisServer) -> None:
    """To start the server would mend nothing."""
    url = f"{redis_server.url}?db=99"
    with pytest.raises(InvalidInput, match="no such database: use another, such as 0"):
        check_redis(open_redis(url), url)


def test_a_refused_login_is_told_apart(redis_server: RedisServer) -> None:
    """A wrong password is no server that is away: the message says so, and not which it was."""
    _, _, place = redis_server.url.partition("://")
    scheme = redis_server.url.partition("://")[0]
    url = f"{scheme}://nobody:sEcReT@{place}"
    with pytest.raises(RedisUnavailable, match="refuses the login") as raised:
        check_redis(open_redis(url), url)
    assert "sEcReT" not in str(raised.value)
    assert isinstance(raised.value.__context__, redis_errors.AuthenticationError)
