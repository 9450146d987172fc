"""The client of a command that does more than look at where runs stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distflow.cli.connecting import CHANGING_PATIENCE_SECONDS, open_connection
from distflow.client import Client


@contextmanager
def open_client(
    redis_url: str | None,
    data_dir: Path | None,
    *,
    create: bool = False,
    patience_seconds: float = CHANGING_PATIENCE_SECONDS,
) -> Iterator[Client]:
    """A client for the length of a block: see :func:`open_connection`. ``patience_seconds`` is how
    long it waits for a Redis that refuses.
    """
    with open_connection(redis_url, data_dir, create=create) as redis:
        yield Client(redis, patience_seconds=patience_seconds)
