"""Redis Cluster is refused: distflow's connections do not speak to several servers at once."""

from __future__ import annotations

from typing import Any

from redis import exceptions as redis_errors

from distflow.errors import InvalidInput

#: What INFO calls it: Redis and Valkey differ.
_MODES = ("redis_mode", "server_mode")


def refuse_cluster(client: Any, where: str) -> None:
    """Raise where a server belongs to a Redis Cluster, whatever part of it this is. Nothing is
    said of one that does not tell: away, busy, or without the right to INFO.

    Args:
        client: answers in bytes or in text.
        where: for the message: which server that is.

    Raises:
        InvalidInput: it does.
    """
    try:
        told = client.info("server")
    except (redis_errors.RedisError, OSError, UnicodeError):
        return
    refuse_mode(told, where)


def refuse_mode(told: Any, where: str) -> None:
    """The same, by what INFO has answered.

    Raises:
        InvalidInput: it does.
    """
    if any(told.get(name) == "cluster" for name in _MODES):
        raise InvalidInput(
            f"{where} belongs to a Redis Cluster, which distflow does not support: give it a Redis "
            "of its own (cluster-enabled no), or one behind Sentinels"
        )
