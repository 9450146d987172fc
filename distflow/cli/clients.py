"""The client of a command that does more than look at where runs stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distflow.cli.connecting import open_connection
from distflow.client import Client


@contextmanager
def open_client(
    redis_url: str | None, data_dir: Path | None, *, create: bool = False
) -> Iterator[Client]:
    """A client for the length of a block: see :func:`open_connection`."""
    with open_connection(redis_url, data_dir, create=create) as redis:
        yield Client(redis)
