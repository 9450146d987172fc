"""The worker's own connection to the Redis of its RQ worker."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from redis import ConnectionPool, Redis
from rq.connections import get_connection_kwargs

#: Seconds that one command may take. RQ's own limit is minutes, which would hide a cut.
_SOCKET_TIMEOUT_SECONDS = 10.0
_CONNECT_TIMEOUT_SECONDS = 3.0

#: The clients of this process by the pool that each is like. A fork may take them along: a pool
#: that finds itself in another process begins anew, without a connection.
_opened: WeakKeyDictionary[ConnectionPool, Redis] = WeakKeyDictionary()


def open_like(connection: Redis) -> Redis:
    """A client of the same server with timeouts of ours.

    A connection that finds its server through Sentinel is used as it is: the pool knows how.
    """
    pool = connection.connection_pool
    if hasattr(pool, "sentinel_manager"):
        return connection
    options = get_connection_kwargs(connection)
    options["socket_timeout"] = _SOCKET_TIMEOUT_SECONDS
    options["socket_connect_timeout"] = _CONNECT_TIMEOUT_SECONDS
    options.pop("decode_responses", None)
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options))


def reuse_like(connection: Redis) -> Redis:
    """The same, made once per process: a process that runs many batches connects once."""
    pool = connection.connection_pool
    client = _opened.get(pool)
    if client is None:
        client = _opened[pool] = open_like(connection)
    return client
