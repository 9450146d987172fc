"""The connection of a command to its Redis, for those that need no more of distflow than that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from distflow.cli.ui.common import redis_address, say
from distflow.config import DEFAULT_REDIS_URL
from distflow.errors import InvalidInput, RedisRefuses, RedisUnavailable
from distflow.local.server import PrivateRedis
from distflow.store.redis.connection import check_redis, find_write_refusal, open_redis
from distflow.store.redis.patience import describe_trouble, is_passing

#: Seconds that a command waits for a Redis that refuses: one that changes something says so, and
#: goes on when the refusal ends; one that only looks says so, and ends.
CHANGING_PATIENCE_SECONDS = 60.0
LOOKING_PATIENCE_SECONDS = 1.0

#: Where `distflow run` keeps its private Redis unless it is told otherwise.
DATA_FOLDER = Path(".distflow")


@contextmanager
def open_connection(
    redis_url: str | None, data_dir: Path | None, *, create: bool = False
) -> Iterator[Redis]:
    """A connection for the length of a block.

    Args:
        redis_url: of ``--redis``.
        data_dir: of ``--data``: its private Redis is started if need be, and left at the end.
        create: whether a folder that is not there is made.

    Raises:
        InvalidInput: both are given, or one cannot be used.
        RedisUnavailable: the server does not answer, or refuses what is asked of it.
    """
    if redis_url is not None and not redis_url.strip():
        raise InvalidInput(
            f"--redis is empty: give a URL such as {DEFAULT_REDIS_URL}, or leave the option out"
        )
    if redis_url and data_dir:
        raise InvalidInput("--redis and --data name two servers: give one of them")
    if data_dir and not create and not data_dir.is_dir():
        raise InvalidInput(f"there is no data folder {data_dir}: `distflow run` makes one")
    with ExitStack() as opened:
        private = opened.enter_context(PrivateRedis.start(data_dir)) if data_dir else None
        # One that was there and went is the right one: there is nothing to hint at then.
        with _hinting(is_named=bool(redis_url or data_dir)):
            address = private.url if private else redis_address(redis_url)
            redis = opened.enter_context(connected(address))
        yield redis


@contextmanager
def _hinting(*, is_named: bool) -> Iterator[None]:
    """Where no server was named, and that of the environment is away, say that there is another."""
    try:
        yield
    except RedisRefuses:
        raise
    except RedisUnavailable as error:
        if is_named or not DATA_FOLDER.is_dir():
            raise
        raise RedisUnavailable(
            f"{error}; for the runs of `distflow run` in this folder add --data {DATA_FOLDER}"
        ) from error


@contextmanager
def open_to_look(redis_url: str | None, data_dir: Path | None) -> Iterator[Redis]:
    """As :func:`open_connection`. What was shown may stand still because Redis refuses what writes,
    which a look does not meet: that is said at the end.
    """
    with open_connection(redis_url, data_dir) as redis:
        yield redis
        refusal = find_write_refusal(redis)
        if refusal is not None:
            say(f"warning: Redis refuses with {refusal}")


@contextmanager
def connected(url: str) -> Iterator[Redis]:
    """A connection to a URL for the length of a block.

    Raises:
        RedisUnavailable: the server does not answer, or refuses what is asked of it.
    """
    redis = open_redis(url)
    if not hasattr(redis.connection_pool, "sentinel_manager"):
        # What Redis refuses is said in time: redis-py would try for seconds by itself.
        redis.set_retry(Retry(NoBackoff(), 0))
    check_redis(redis, url)
    try:
        yield redis
    except RedisError as error:
        if is_passing(error):
            raise RedisUnavailable(describe_trouble(error)) from error
        raise RedisUnavailable(f"Redis cannot be used: {error}") from error
    finally:
        redis.close()
