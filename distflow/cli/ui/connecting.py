"""How a command connects to where its runs live."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

import click

from distflow.backends.redis_rq import open_backend
from distflow.cli.ui.common import redis_address, say
from distflow.config import DEFAULT_REDIS_URL
from distflow.errors import InvalidInput, RedisRefuses, RedisUnavailable
from distflow.local.private_redis import PrivateRedis
from distflow.ports.backend import Backend

#: Seconds that a command waits for a Redis that refuses. One that changes something says so, and
#: continues once the refusal ends; one that only reads says so, and exits.
CHANGING_PATIENCE_SECONDS = 60.0
LOOKING_PATIENCE_SECONDS = 1.0

#: The default folder of the private Redis of `distflow run`.
DATA_FOLDER = Path(".distflow")


class OpenBackend(Protocol):
    """Opens the runs of a URL: given to ``main`` as ``obj``, it does so in place of Redis."""

    def __call__(self, url: str, *, patience_seconds: float) -> Backend:
        """A backend, to be closed; ``patience_seconds`` is how long it waits for its server."""


@contextmanager
def open_connection(
    redis_url: str | None,
    data_dir: Path | None,
    *,
    create: bool = False,
    patience_seconds: float = CHANGING_PATIENCE_SECONDS,
    interrupt: threading.Event | None = None,
) -> Iterator[Backend]:
    """A backend for the length of a block.

    Args:
        redis_url: from ``--redis``.
        data_dir: from ``--data``: its private Redis is started if needed, and released at the end.
        create: whether to create a missing folder.
        patience_seconds: how long to wait for a Redis that refuses.
        interrupt: cuts that short.

    Raises:
        InvalidInput: both are given, or one cannot be used.
        RedisUnavailable: the server does not answer, or refuses what is asked of it.
    """
    if redis_url is not None and not redis_url.strip():
        raise InvalidInput(
            f"--redis is empty: give a URL such as {DEFAULT_REDIS_URL}, or leave the option out"
        )
    if redis_url and data_dir:
        raise InvalidInput("--redis and --data name two servers: give only one of them")
    if data_dir and not create and not data_dir.is_dir():
        raise InvalidInput(f"there is no data folder {data_dir}: `distflow run` creates one")
    with ExitStack() as opened:
        private = opened.enter_context(PrivateRedis.start(data_dir)) if data_dir else None
        # A server that answered before is the right one: no hint is needed.
        with _hinting(is_named=bool(redis_url or data_dir)):
            address = private.url if private else redis_address(redis_url)
            backend = opened.enter_context(connected(address, patience_seconds))
        if interrupt is not None:
            backend.hurry(interrupt.is_set)
        yield backend


@contextmanager
def _hinting(*, is_named: bool) -> Iterator[None]:
    """If no server was given and the environment's is away, point to the private Redis here."""
    try:
        yield
    except RedisRefuses:
        raise
    except RedisUnavailable as error:
        if is_named or not DATA_FOLDER.is_dir():
            raise
        raise RedisUnavailable(
            f"{error}; for the runs of `distflow run` in this folder, add --data {DATA_FOLDER}"
        ) from error


@contextmanager
def open_to_look(redis_url: str | None, data_dir: Path | None) -> Iterator[Backend]:
    """As :func:`open_connection`, for reading only. Redis may refuse writes, so that runs stand
    still; a reader would not notice, so this warns at the end.
    """
    with open_connection(redis_url, data_dir, patience_seconds=LOOKING_PATIENCE_SECONDS) as backend:
        yield backend
        refusal = backend.find_write_refusal()
        if refusal is not None:
            say(f"warning: {refusal}")


@contextmanager
def connected(url: str, patience_seconds: float = CHANGING_PATIENCE_SECONDS) -> Iterator[Backend]:
    """A backend at a URL for the length of a block.

    Raises:
        RedisUnavailable: the server does not answer, or refuses what is asked of it.
    """
    context = click.get_current_context(silent=True)
    opener: OpenBackend = (context and context.obj) or _open_redis
    backend = opener(url, patience_seconds=patience_seconds)
    with closing(backend), backend.translate_errors():
        yield backend


def _open_redis(url: str, *, patience_seconds: float) -> Backend:
    # No retries by redis-py, which would delay the message on a refusal by seconds.
    return open_backend(url, patience_seconds=patience_seconds, tries_once=True)
