"""Makes Redis clients from URLs, with timeouts on everything."""

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

#: Timeout of one command in seconds; every blocking read of ours waits for less.
SOCKET_TIMEOUT_SECONDS = 10.0

#: Timeout for connecting, in seconds.
CONNECT_TIMEOUT_SECONDS = 3.0

#: Seconds for a server to say whether it takes writes: it may pause them instead.
_ANSWER_SECONDS = 1.0

#: Seconds for which a server that does not answer is retried: it may be starting.
_REACH_SECONDS = 1.0

#: The options that a Sentinel URL may have after its question mark.
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password", "ssl")

#: TLS options that name a file.
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

_TIMEOUTS: dict[str, Any] = {
    "socket_timeout": SOCKET_TIMEOUT_SECONDS,
    "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
}

#: After this many idle seconds a connection is checked before it is used again.
_HEALTH_CHECK_SECONDS = 15


def open_redis(url: str) -> Redis:
    """A client for a URL, without connecting.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://`` as redis-py reads them, or
            ``redis+sentinel://[user:password@]host:port[,host:port…]/service[/db]``, whose query
            may give ``sentinel_username`` and ``sentinel_password``, and ``ssl=true``.

    Raises:
        InvalidInput: the URL is none of these, or names a file that does not exist.
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
        # Makes no connection; but unknown options are refused here rather than at first use.
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, redis_errors.RedisError) as error:
        cause = _cause_of(error, url)
    else:
        _check_files(url, pool.connection_kwargs)
        return client
    # Raised outside the handler: inside, it would carry the messages of urllib and redis-py along.
    raise unusable(url, cause)


def _cause_of(error: Exception, url: str) -> str:
    """Why redis-py refuses a URL of the right form, in words without a password."""
    if hide_password(url) == url:
        return _cause(error)
    names = ", ".join(option_names(url))
    return f"one of its options ({names}) is unknown, or has an invalid value"


def check_redis(client: Redis, url: str) -> None:
    """Reach the server. One that answers with a refusal counts as reached: later commands will say
    whether they are refused.

    Raises:
        RedisUnavailable: it does not answer; the message names it without the password.
        InvalidInput: it does not have the database that the URL names, or belongs to a Redis
            Cluster.
    """
    try:
        outlast(client.ping, away_seconds=_REACH_SECONDS, refused_seconds=0.0)
    except redis_errors.AuthenticationError as error:
        raise RedisUnavailable(
            f"Redis at {hide_password(url)} refuses the login: {error}"
        ) from None
    # An impossible host name is a UnicodeError.
    except (redis_errors.RedisError, OSError, UnicodeError) as error:
        if find_refusal(error) is None:
            raise _unreachable(error, hide_password(url)) from None
    refuse_cluster(client, f"Redis at {hide_password(url)}")


def _unreachable(error: Exception, where: str) -> InvalidInput | RedisUnavailable:
    """The error for a server that cannot be used."""
    if isinstance(error, redis_errors.ResponseError) and "DB index" in str(error):
        return InvalidInput(f"Redis at {where} has no such database: use another, such as 0")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return RedisUnavailable(
            f"Redis at {where}: its certificate is not trusted: {_cause(error)}; "
            "name the CA that signed it in the URL, with ?ssl_ca_certs=FILE"
        )
    if "CERTIFICATE_REQUIRED" in str(error):
        return RedisUnavailable(
            f"Redis at {where} asks for a client certificate: name yours in the URL, with "
            "?ssl_certfile=FILE&ssl_keyfile=FILE"
        )
    return RedisUnavailable(
        f"Redis at {where} cannot be reached: {_cause(error)}; start it, "
        "or name another with --redis URL or DISTFLOW_REDIS_URL"
    )


def find_write_refusal(client: Redis) -> Refusal | None:
    """How Redis refuses writes; None if it does not, or does not tell within a second.

    Tested by a write that changes nothing: no run has an empty name.
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
    """The text of an error, fit for use within a sentence."""
    return str(error).rstrip(". ")


def _open_sentinel(url: str) -> Redis:
    # Parsed by hand: urlsplit cannot read several hosts with ports.
    address, _, options_text = url.removeprefix(SENTINEL).partition("?")
    login, _, place = address.rpartition("@")
    places, _, path = place.partition("/")
    hosts = split_places(places) or []
    service, _, database = path.strip("/").partition("/")
    query = {name: values[-1] for name, values in parse_qs(options_text).items()}
    if not query.keys() <= set(_SENTINEL_OPTIONS):
        known = ", ".join(_SENTINEL_OPTIONS)
        raise unusable(url, f"the only options after the ? are {known}")
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
