"""How a Redis client is made from a URL, with timeouts that nothing outlasts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from redis import Redis
from redis import exceptions as redis_errors

from distflow.errors import InvalidInput, RedisUnavailable
from distflow.faults import commit
from distflow.redis_url import (
    SENTINEL,
    check_url,
    hide_password,
    option_names,
    split_places,
    tidy_url,
    unusable,
)
from distflow.store.redis.cluster import refuse_cluster
from distflow.store.redis.keepalive import KEEPALIVE
from distflow.store.redis.keys import DEFAULT_PREFIX, runs_key
from distflow.store.redis.patience import Refusal, find_refusal, outlast
from distflow.store.redis.sentinel import open_primary

#: Seconds that one command may take; every blocking read of ours waits for less.
SOCKET_TIMEOUT_SECONDS = 10.0

#: Seconds that making a connection may take.
CONNECT_TIMEOUT_SECONDS = 3.0

#: Seconds that a server has to say whether it takes writes: it may hold them back instead.
_ANSWER_SECONDS = 1.0

#: Seconds for which a server that does not answer is tried: it may be starting.
_REACH_SECONDS = 1.0

#: What a URL of Sentinels may say behind its question mark.
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password", "ssl")

#: Options for TLS that name a file.
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

_TIMEOUTS: dict[str, Any] = {
    "socket_timeout": SOCKET_TIMEOUT_SECONDS,
    "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
}

#: Seconds after which a connection is asked whether it is well, before it is used again.
_HEALTH_CHECK_SECONDS = 15


def open_redis(url: str) -> Redis:
    """A client for a URL, without connecting.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://`` as redis-py reads them, or
            ``redis+sentinel://[user:password@]host:port[,host:port…]/service[/db]``, whose query
            may give ``sentinel_username`` and ``sentinel_password``, and ``ssl=true``.

    Raises:
        InvalidInput: the URL is none of these, or names a file that is not there.
    """
    url = tidy_url(url)
    check_url(url)
    if url.startswith(SENTINEL):
        return _open_sentinel(url)
    options = dict(_TIMEOUTS, health_check_interval=_HEALTH_CHECK_SECONDS)
    if not url.startswith("unix://"):
        options |= KEEPALIVE
    try:
        client: Redis = Redis.from_url(url, **options)
        # It does not connect; options that it does not know are refused here, not at first use.
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, redis_errors.RedisError) as error:
        cause = _cause_of(error, url)
    else:
        _check_files(url, pool.connection_kwargs)
        return client
    # Out of the handler: what is raised there carries the words of urllib and redis-py along.
    raise unusable(url, cause)


def _cause_of(error: Exception, url: str) -> str:
    """Why redis-py does not take a URL of the right form, in words that have no password in
    them.
    """
    if hide_password(url) == url:
        return _cause(error)
    names = ", ".join(option_names(url))
    return f"one of its options ({names}) is not known, or has a value that it cannot have"


def check_redis(client: Redis, url: str) -> None:
    """Reach the server. One that answers with a refusal is reached: what comes next may be
    refused or not, and says so.

    Raises:
        RedisUnavailable: it does not answer; the message names it without its password.
        InvalidInput: it has no database of the number that the URL names, or belongs to a Redis
            Cluster.
    """
    try:
        outlast(client.ping, away_seconds=_REACH_SECONDS, refused_seconds=0.0)
    except redis_errors.AuthenticationError as error:
        raise RedisUnavailable(
            f"Redis at {hide_password(url)} refuses the login: {error}"
        ) from None
    # A host name that cannot be one is a UnicodeError.
    except (redis_errors.RedisError, OSError, UnicodeError) as error:
        if find_refusal(error) is None:
            raise _unreachable(error, hide_password(url)) from None
    refuse_cluster(client, f"Redis at {hide_password(url)}")


def _unreachable(error: Exception, where: str) -> InvalidInput | RedisUnavailable:
    """What a person is told of a server that cannot be used."""
    if isinstance(error, redis_errors.ResponseError) and "DB index" in str(error):
        return InvalidInput(f"Redis at {where} has no such database: take another, such as 0")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return RedisUnavailable(
            f"Redis at {where}: its certificate is not trusted: {_cause(error)}; "
            "name the CA that has signed it in the URL, by ?ssl_ca_certs=FILE"
        )
    if "CERTIFICATE_REQUIRED" in str(error):
        return RedisUnavailable(
            f"Redis at {where} asks for a certificate: name yours in the URL, by "
            "?ssl_certfile=FILE&ssl_keyfile=FILE"
        )
    return RedisUnavailable(
        f"Redis at {where} cannot be reached: {_cause(error)}; start it, "
        "or name another by --redis URL or DISTFLOW_REDIS_URL"
    )


def find_write_refusal(client: Redis) -> Refusal | None:
    """How Redis refuses whatever writes; None where it does not, or does not tell within a second.

    It is asked by a write that changes nothing: no run has an empty name.
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        with commit("ask_for_writes"):
            connection.send_command("ZADD", runs_key(DEFAULT_PREFIX), "XX", 0, "")
            if not connection.can_read(timeout=_ANSWER_SECONDS):
                connection.disconnect()
                return None
            connection.read_response()
    except redis_errors.RedisError as error:
        return find_refusal(error)
    finally:
        pool.release(connection)
    return None


def _check_files(url: str, options: Mapping[str, Any]) -> None:
    for name in _FILES:
        if (path := options.get(name)) and not Path(path).is_file():
            raise InvalidInput(f"Redis URL {hide_password(url)!r}: {name}: there is no file {path}")


def _cause(error: Exception) -> str:
    """What an error says, to be gone on with in the same sentence."""
    return str(error).rstrip(". ")


def _open_sentinel(url: str) -> Redis:
    # By hand: urlsplit takes the colons of several hosts for those of one.
    address, _, options_text = url.removeprefix(SENTINEL).partition("?")
    login, _, place = address.rpartition("@")
    places, _, path = place.partition("/")
    hosts = split_places(places) or []
    service, _, database = path.strip("/").partition("/")
    query = {name: values[-1] for name, values in parse_qs(options_text).items()}
    if not query.keys() <= set(_SENTINEL_OPTIONS):
        known = ", ".join(_SENTINEL_OPTIONS)
        raise unusable(url, f"of the options behind the ? it takes {known} alone")
    options = dict(_TIMEOUTS, **KEEPALIVE, db=int(database or 0))
    username, _, password = login.partition(":")
    if password:
        options["password"] = unquote(password)
    if username:
        options["username"] = unquote(username)
    sentinel_options = {
        "username": query.get("sentinel_username"),
        "password": query.get("sentinel_password"),
    }
    tls = query.get("ssl") == "true"
    return open_primary(hosts, service, sentinel_options, options, tls=tls)
