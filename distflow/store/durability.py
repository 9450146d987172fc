"""What the server gives a run: how much of what it acknowledged survives its own death."""

from __future__ import annotations

from typing import Any

from redis import exceptions as redis_errors

#: From the least to the most; ``unknown`` where the server does not tell.
DURABILITIES = ("none", "rdb", "aof-no", "aof-everysec", "aof-always", "waitaof", "unknown")


def read_durability(client: Any) -> str:
    """One of :data:`DURABILITIES`, by the server's own configuration.

    A managed Redis may refuse CONFIG: then it is ``unknown``.
    """
    try:
        # One at a time: before Redis 7, CONFIG GET takes one name.
        settings = [client.config_get(name) for name in ("appendonly", "appendfsync", "save")]
    except redis_errors.ResponseError:
        return "unknown"
    texts = {_text(name): _text(value) for found in settings for name, value in found.items()}
    if texts.get("appendonly") == "yes":
        return f"aof-{texts.get('appendfsync', 'no')}"
    return "rdb" if texts.get("save") else "none"


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
