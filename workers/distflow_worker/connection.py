"""The worker's own connection to the Redis of its RQ worker."""

from __future__ import annotations

from redis import ConnectionPool, Redis
from rq.connections import get_connection_kwargs

#: Seconds that one command may take. RQ's own limit is minutes, which would hide a cut.
_SOCKET_TIMEOUT_SECONDS = 10.0
_CONNECT_TIMEOUT_SECONDS = 3.0


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
