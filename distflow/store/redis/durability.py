"""Durability: how much of what a server acknowledged survives its own death."""

from __future__ import annotations

from typing import Any

from redis import exceptions as redis_errors

from distflow.core.run import UNKNOWN, WAITAOF, ServerFacts
from distflow.errors import InvalidInput
from distflow.store.redis.cluster import refuse_mode
from distflow.store.redis.patience import is_passing

#: From least to most durable; ``unknown`` if the server does not tell.
DURABILITIES = ("none", "rdb", "aof-no", "aof-everysec", "aof-always", WAITAOF, UNKNOWN)

_NOEVICTION = "noeviction"

#: The settings that are read from a server.
_SETTINGS = ("appendonly", "appendfsync", "save", "maxmemory-policy")

#: Timeout for testing whether WAITAOF is available: the test needs no write.
_PROBE_MS = 1000


def read_server(client: Any) -> ServerFacts:
    """Read a server's facts from its configuration.

    A managed Redis may refuse CONFIG, and an ACL may refuse INFO: then facts are ``unknown``.

    Raises:
        InvalidInput: it belongs to a Redis Cluster.
    """
    pipeline = client.pipeline(transaction=False)
    for name in _SETTINGS:
        # One at a time: before Redis 7, CONFIG GET takes a single name.
        pipeline.config_get(name)
    pipeline.info("server")
    replies = pipeline.execute(raise_on_error=False)
    settings: dict[str, str] = {}
    for reply in replies:
        if isinstance(reply, Exception):
            if not isinstance(reply, redis_errors.ResponseError) or is_passing(reply):
                raise reply
            continue
        settings |= {_text(key): _text(value) for key, value in reply.items()}
    refuse_mode(settings, "this Redis")
    return ServerFacts(
        durability=_durability(settings),
        redis_version=_version(settings),
        maxmemory_policy=settings.get("maxmemory-policy", UNKNOWN),
    )


def settle_server(client: Any, wanted: str | None, *, allow_eviction: bool) -> ServerFacts:
    """Check the server for a new run, and return the facts to record.

    Args:
        client: the connection.
        wanted: ``waitaof``, or None to rely on the server's settings.
        allow_eviction: whether to accept a server that may evict keys.

    Raises:
        InvalidInput: the server may evict keys, or cannot provide what is wanted.
    """
    if wanted not in (None, WAITAOF):
        raise InvalidInput(
            f"durability={wanted!r}: must be 'waitaof', or be left out to use Redis's settings"
        )
    facts = read_server(client)
    if facts.maxmemory_policy not in (_NOEVICTION, UNKNOWN) and not allow_eviction:
        raise InvalidInput(
            f"this Redis may evict recorded outcomes (maxmemory-policy is "
            f"{facts.maxmemory_policy}): `CONFIG SET maxmemory-policy noeviction` fixes it, "
            "--allow-eviction (allow_eviction=True) accepts it"
        )
    if wanted is None:
        return facts
    _require_waitaof(client, facts)
    return facts._replace(durability=WAITAOF)


def _require_waitaof(client: Any, facts: ServerFacts) -> None:
    if facts.durability == "aof-no":
        raise InvalidInput(
            "durability 'waitaof' would wait in vain while appendfsync is no: "
            "`CONFIG SET appendfsync everysec`, or always"
        )
    try:
        client.waitaof(1, 0, _PROBE_MS)
    except redis_errors.ResponseError as error:
        if is_passing(error):
            raise
        raise InvalidInput(
            "durability 'waitaof' needs Redis or Valkey 7.2 or newer with appendonly yes; this is "
            f"{facts.redis_version} with durability {facts.durability}: {error}"
        ) from None


def _durability(settings: dict[str, str]) -> str:
    if "appendonly" not in settings:
        return UNKNOWN
    if settings["appendonly"] == "yes":
        return f"aof-{settings.get('appendfsync', 'no')}"
    return "rdb" if settings.get("save") else "none"


def _version(told: dict[str, str]) -> str:
    for name in ("valkey", "redis"):
        version = told.get(f"{name}_version")
        if version:
            return f"{name} {version}"
    return UNKNOWN


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
