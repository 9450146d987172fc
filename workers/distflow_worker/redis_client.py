"""The worker's own connection to the Redis of its RQ worker."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

from redis import ConnectionPool, Redis
from redis.exceptions import RedisError
from redis.utils import str_if_bytes
from rq.connections import get_connection_kwargs

#: Imported only for Sentinels or a cluster.
_SENTINEL = "distflow.store.redis.sentinel"

_CLUSTER = "distflow.store.redis.cluster"

#: Timeout of one command in seconds. RQ's own is minutes, which would hide a lost connection.
_SOCKET_TIMEOUT_SECONDS = 10.0
_CONNECT_TIMEOUT_SECONDS = 3.0

#: Options that change a client's encoding.
_SPEECH = ("decode_responses", "encoding", "encoding_errors")

#: Names of this very host.
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

#: The clients of this process, by the pool that each resembles. A fork may inherit them: a pool in
#: a new process starts without connections.
_opened: WeakKeyDictionary[ConnectionPool, Redis] = WeakKeyDictionary()


def open_like(connection: Redis) -> Redis:
    """A client of the same server or Sentinel service, with our timeouts, that answers in bytes."""
    pool = connection.connection_pool
    options = get_connection_kwargs(connection)
    options["socket_timeout"] = _SOCKET_TIMEOUT_SECONDS
    options["socket_connect_timeout"] = _CONNECT_TIMEOUT_SECONDS
    for name in _SPEECH:
        options.pop(name, None)
    if hasattr(pool, "sentinel_manager"):
        client: Redis = import_module(_SENTINEL).reopen_primary(connection, options)
        return client
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options))


def name_of(connection: Redis) -> str:
    """A name for a client's Redis, without secrets: ``localhost:6379/0``. The same for all workers
    of a host that use the same address.
    """
    pool = connection.connection_pool
    options = pool.connection_kwargs
    database = options.get("db") or 0
    service = getattr(pool, "service_name", None)
    if service:
        return f"sentinel {service}/{database}"
    if path := options.get("path"):
        return f"{path}/{database}"
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    return f"{'localhost' if host in _LOCAL else host}:{port}/{database}"


def reuse_like(connection: Redis) -> Redis:
    """The same, made once per process, so that a process that runs many batches connects once.

    Raises:
        InvalidInput: the server belongs to a Redis Cluster.
    """
    pool = connection.connection_pool
    client = _opened.get(pool)
    if client is None:
        client = open_like(connection)
        if _mode_of(client) != "standalone":
            import_module(_CLUSTER).refuse_cluster(client, "the Redis of this worker")
        _opened[pool] = client
    return client


def _mode_of(client: Redis) -> str:
    """The server's mode from its greeting, which costs nothing; empty if it gave none or cannot be
    reached: the store is patient.
    """
    pool: Any = client.connection_pool
    try:
        connection = pool.get_connection()
    except (RedisError, OSError):
        return ""
    said = getattr(connection, "handshake_metadata", None) or {}
    pool.release(connection)
    return str_if_bytes(said.get(b"mode", said.get("mode", "")))
