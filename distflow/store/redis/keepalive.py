"""TCP keepalive: notices that the other host is gone while nothing is sent.

A client configures its own probes. Whether a server notices depends on its settings.
"""

from __future__ import annotations

import socket
from typing import Any

from redis import exceptions as redis_errors

from distflow.store.redis.patience import is_passing

#: Seconds of silence before the first probe, seconds between two probes, and unanswered probes
#: until the connection is dropped: half a minute in all.
_IDLE_SECONDS = 15
_INTERVAL_SECONDS = 5
_PROBES = 3

#: Milliseconds for which sent data may stay unacknowledged: meanwhile the kernel sends no probes.
_UNACKNOWLEDGED_MS = 30_000


def _known(**values: int) -> dict[int, int]:
    """The options that this system supports, by their numbers."""
    return {getattr(socket, name): value for name, value in values.items() if hasattr(socket, name)}


#: Options of a TCP connection, for redis-py.
KEEPALIVE: dict[str, Any] = {
    "socket_keepalive": True,
    "socket_keepalive_options": _known(
        TCP_KEEPIDLE=_IDLE_SECONDS,
        TCP_KEEPINTVL=_INTERVAL_SECONDS,
        TCP_KEEPCNT=_PROBES,
        TCP_USER_TIMEOUT=_UNACKNOWLEDGED_MS,
    ),
}

#: A server drops a connection after this many times ``tcp-keepalive``: once until its first probe,
#: then three probes at intervals of a third.
_DROP_FACTOR = 2.0

#: A server that takes no longer can tell a dead host from a frozen worker in time.
PROMPT_DROP_SECONDS = 20.0

_KEEPALIVE = "tcp-keepalive"

#: Where a server listens by TCP.
_PORTS = ("port", "tls-port")


def server_drop_seconds(client: Any) -> float | None:
    """How long a server takes to drop the connection of a client whose host is gone: infinite if it
    never does, 0 if it has no clients on other hosts, None if it does not tell.
    """
    pipeline = client.pipeline(transaction=False)
    for name in (_KEEPALIVE, *_PORTS):
        # One at a time: before Redis 7, CONFIG GET takes one name.
        pipeline.config_get(name)
    told: dict[str, int] = {}
    for reply in pipeline.execute(raise_on_error=False):
        if isinstance(reply, redis_errors.NoPermissionError):
            return None
        if isinstance(reply, Exception):
            # A managed Redis may not know the command.
            if type(reply) is redis_errors.ResponseError and not is_passing(reply):
                return None
            raise reply
        told |= {_text(name): int(value) for name, value in reply.items()}
    if told.get("port") == 0 and not told.get("tls-port"):
        return 0.0
    return _DROP_FACTOR * told[_KEEPALIVE] or float("inf")


def keepalive_advice(drop_seconds: float | None) -> str | None:
    """Advice on server settings, given how long a server takes to drop a connection whose host is
    gone; None if there is no need.
    """
    if drop_seconds is None or drop_seconds <= PROMPT_DROP_SECONDS:
        return None
    late = "never" if drop_seconds == float("inf") else f"only after {drop_seconds:g} s"
    return (
        f"Redis drops the connection of a host that is gone {late}, so that its workers look "
        "frozen until then: `redis-cli CONFIG SET tcp-keepalive 10`, and the same in its "
        "configuration"
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
