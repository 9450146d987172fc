"""The client of a command that does more than look at where runs stand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distflow.cli.ui.connecting import CHANGING_PATIENCE_SECONDS, open_connection
from distflow.runs.client import Client
from distflow.store.redis.patience import hurry


@contextmanager
def open_client(
    redis_url: str | None,
    data_dir: Path | None,
    *,
    create: bool = False,
    patience_seconds: float = CHANGING_PATIENCE_SECONDS,
    interrupt: threading.Event | None = None,
) -> Iterator[Client]:
    """A client for the length of a block: see :func:`open_connection`. ``patience_seconds`` is how
    long it waits for a Redis that refuses, ``interrupt`` what cuts that short.
    """
    with open_connection(redis_url, data_dir, create=create) as redis:
        if interrupt is not None:
            hurry(redis, interrupt.is_set)
        yield Client(redis, patience_seconds=patience_seconds)
