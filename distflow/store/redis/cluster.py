"""Refuses Redis Cluster: distflow's connections talk to one server each."""

from __future__ import annotations

from typing import Any

from redis import exceptions as redis_errors

from distflow.errors import InvalidInput

#: The name in INFO: Redis and Valkey differ.
_MODES = ("redis_mode", "server_mode")


def refuse_cluster(client: Any, where: str) -> None:
    """Raise if a server belongs to a Redis Cluster, whatever its role there. A server that does not
    tell passes: it is away, busy, or denies INFO.

    Args:
        client: answers in bytes or in text.
        where: names the server in the message.

    Raises:
        InvalidInput: it does.
    """
    try:
        told = client.info("server")
    except (redis_errors.RedisError, OSError, UnicodeError):
        return
    refuse_mode(told, where)


def refuse_mode(told: Any, where: str) -> None:
    """The same, given the reply to INFO.

    Raises:
        InvalidInput: it does.
    """
    if any(told.get(name) == "cluster" for name in _MODES):
        raise InvalidInput(
            f"{where} belongs to a Redis Cluster, which distflow does not support: use a Redis "
            "without cluster mode (cluster-enabled no), or one behind Sentinels"
        )
