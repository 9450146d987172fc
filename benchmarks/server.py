"""The Redis server of one measurement: its own process, on a unix socket, nothing on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.redis_server import RedisServer

#: What ``--persistence`` takes, and how the server is then set: alike for every system.
PERSISTENCE = {
    "none": {"appendonly": "no"},
    "everysec": {"appendonly": "yes", "appendfsync": "everysec"},
    "always": {"appendonly": "yes", "appendfsync": "always"},
}


@contextmanager
def running_server(persistence: str) -> Iterator[RedisServer]:
    """A new server; it and its data are gone after the block."""
    server = RedisServer()
    try:
        with server.client() as client:
            for name, value in PERSISTENCE[persistence].items():
                client.config_set(name, value)
        yield server
    finally:
        server.close()
