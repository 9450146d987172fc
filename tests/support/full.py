"""A Redis without room for more."""

from __future__ import annotations

from typing import Any


def fill(client: Any) -> None:
    """Let the server have reached its ``maxmemory``: a write that may need memory is refused."""
    client.config_set("maxmemory", 1)


def make_room(client: Any) -> None:
    """Let it have as much as there is."""
    client.config_set("maxmemory", 0)
