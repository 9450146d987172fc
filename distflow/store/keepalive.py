"""TCP keepalive of a client: a server whose host is gone is noticed while nothing is sent."""

from __future__ import annotations

import socket
from typing import Any

#: Seconds of silence before the first probe, between two probes, and probes without an answer
#: until the connection is given up: half a minute in all.
_IDLE_SECONDS = 15
_INTERVAL_SECONDS = 5
_PROBES = 3

#: Milliseconds for which what was sent may stay without an acknowledgement: while any is, the
#: kernel sends no probes.
_UNACKNOWLEDGED_MS = 30_000


def _known(**values: int) -> dict[int, int]:
    """The options that this system has, by their numbers."""
    return {getattr(socket, name): value for name, value in values.items() if hasattr(socket, name)}


#: For redis-py: options of a connection by TCP.
KEEPALIVE: dict[str, Any] = {
    "socket_keepalive": True,
    "socket_keepalive_options": _known(
        TCP_KEEPIDLE=_IDLE_SECONDS,
        TCP_KEEPINTVL=_INTERVAL_SECONDS,
        TCP_KEEPCNT=_PROBES,
        TCP_USER_TIMEOUT=_UNACKNOWLEDGED_MS,
    ),
}
