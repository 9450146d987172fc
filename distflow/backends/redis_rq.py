"""Runs on Redis, whose batches travel as RQ jobs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from distflow.core.readings import Apart, WorkerInfo
from distflow.core.run import ServerFacts
from distflow.errors import InvalidInput, RedisDenied, RedisUnavailable
from distflow.ports.backend import Backend
from distflow.store.redis.cluster import refuse_cluster
from distflow.store.redis.connection import check_redis, find_write_refusal, open_redis
from distflow.store.redis.durability import settle_server
from distflow.store.redis.keepalive import keepalive_advice, server_drop_seconds
from distflow.store.redis.keys import DEFAULT_PREFIX
from distflow.store.redis.listing import list_runs
from distflow.store.redis.patience import (
    call_patiently,
    describe_trouble,
    hurry,
    is_denied,
    is_passing,
)
from distflow.store.redis.sentinel import follows_primary
from distflow.store.redis.store import RedisRunStore

if TYPE_CHECKING:
    from distflow.dispatch.rq import RqDispatcher
    from distflow.store.redis.service import RedisServiceStore

__all__ = ["DEFAULT_PREFIX", "RedisBackend", "RedisClient", "open_backend"]

#: Imported at first use: RQ takes as long to load as everything else needed to read a run.
_DISPATCHER = "distflow.dispatch.rq"
_PREFIXES = "distflow.dispatch.prefixes"
_ROSTER = "distflow.dispatch.roster"
_SERVICE = "distflow.store.redis.service"
_CONNECTION = "distflow_worker.redis_client"

#: What may be given instead of a URL.
RedisClient = Redis

#: A server at one of these most likely has its workers on the same host.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_T = TypeVar("_T")


class RedisBackend(Backend):
    """The runs on one Redis.

    Args:
        redis: a redis-py client that answers in bytes; :func:`open_backend` takes others too.
        prefix: first part of every key.
        patience_seconds: how long a call is tried again while Redis is away or refuses.
    """

    def __init__(
        self, redis: Redis, prefix: str = DEFAULT_PREFIX, *, patience_seconds: float = 60.0
    ) -> None:
        self.redis = redis
        self.prefix = prefix
        self.patience_seconds = patience_seconds

    @cached_property
    def dispatcher(self) -> RqDispatcher:
        """Sends batches as RQ jobs."""
        made: RqDispatcher = import_module(_DISPATCHER).RqDispatcher(
            self.redis, self.prefix, patience_seconds=self.patience_seconds
        )
        return made

    @cached_property
    def service(self) -> RedisServiceStore:
        """Reads about all runs at once."""
        made: RedisServiceStore = import_module(_SERVICE).RedisServiceStore(
            self.redis, self.prefix, patience_seconds=self.patience_seconds
        )
        return made

    def store(self, run_id: str) -> RedisRunStore:
        return RedisRunStore(
            self.redis, run_id, prefix=self.prefix, patience_seconds=self.patience_seconds
        )

    def with_patience(self, seconds: float) -> RedisBackend:
        """The same runs over the same connection, with another patience."""
        return RedisBackend(self.redis, self.prefix, patience_seconds=seconds)

    def run_ids(self) -> list[str]:
        """The id of every run, oldest first: see :func:`list_runs`."""
        return self._patiently(lambda: list_runs(self.redis, self.prefix))

    def coordinators(self) -> list[str]:
        """The coordinators that have announced themselves."""
        return self.service.list_coordinators()

    def workers(self) -> list[WorkerInfo]:
        """The workers that RQ has registered, by name."""
        roster = import_module(_ROSTER)
        found: list[WorkerInfo] = self._patiently(
            lambda: roster.read_workers(self.redis, self.prefix)
        )
        return found

    def has_worker(self, name: str) -> bool:
        """Whether RQ has a worker of this name that has not ended."""
        roster = import_module(_ROSTER)
        answer: bool = self._patiently(lambda: roster.has_worker(self.redis, name))
        return answer

    def are_workers_suspended(self) -> bool:
        """Whether ``rq suspend`` is in effect."""
        roster = import_module(_ROSTER)
        answer: bool = self._patiently(lambda: roster.are_suspended(self.redis))
        return answer

    def find_apart(self, run_id: str, queues: Collection[str]) -> list[Apart]:
        """The queues whose workers have another RQ_KEY_PREFIX than the coordinator."""
        found: list[Apart] = import_module(_PREFIXES).find_apart(self.redis, run_id, queues)
        return found

    def settle_server(self, durability: str | None, *, allow_eviction: bool) -> ServerFacts:
        """What a new run records about its Redis: see :func:`settle_server`."""
        return self._patiently(
            lambda: settle_server(self.redis, durability, allow_eviction=allow_eviction)
        )

    def find_write_refusal(self) -> str | None:
        """Why Redis refuses writes: see :func:`find_write_refusal`."""
        refusal = find_write_refusal(self.redis)
        return None if refusal is None else f"Redis refuses with {refusal}"

    def server_advice(self) -> list[str]:
        """Settings of Redis that delay the detection of a lost host."""
        if self.redis.connection_pool.connection_kwargs.get("host") in _LOOPBACK:
            return []
        advice = keepalive_advice(server_drop_seconds(self.redis))
        return [] if advice is None else [advice]

    def hurry(self, is_told_to_end: Callable[[], bool]) -> None:
        """Once the function returns True, no call on this client waits for long."""
        hurry(self.redis, is_told_to_end)

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Errors of redis-py become RedisUnavailable, or RedisDenied."""
        try:
            yield
        except RedisError as error:
            if is_passing(error):
                raise RedisUnavailable(describe_trouble(error)) from error
            kind = RedisDenied if is_denied(error) else RedisUnavailable
            raise kind(f"Redis cannot be used: {error}") from error

    def close(self) -> None:
        """Close the connections of the client."""
        self.redis.close()

    def _patiently(self, call: Callable[[], _T]) -> _T:
        return call_patiently(call, self.patience_seconds, self.redis)


def open_backend(
    where: str | Redis,
    *,
    prefix: str = DEFAULT_PREFIX,
    patience_seconds: float = 60.0,
    tries_once: bool = False,
) -> RedisBackend:
    """Connect to the runs on the Redis of a URL.

    Args:
        where: see :func:`distflow.store.redis.connection.open_redis`; or a redis-py client. A
            client that does not answer in bytes, or that uses redis-py's own Sentinel support, is
            replaced by one with the same settings.
        prefix: first part of every key, for installations that share a Redis.
        patience_seconds: how long a call is tried again while Redis is away or refuses.
        tries_once: for a URL: redis-py itself does not retry, so that a refusal is known at once.

    Raises:
        InvalidInput: the URL is not usable, or the server belongs to a Redis Cluster.
        RedisUnavailable: the server of a URL does not answer.
    """
    given: object = where
    if isinstance(where, str):
        redis = open_redis(where)
        # A client that asks Sentinels must be able to ask them again.
        if tries_once and not hasattr(redis.connection_pool, "sentinel_manager"):
            redis.set_retry(Retry(NoBackoff(), 0))
        check_redis(redis, where)
    elif isinstance(given, Redis):
        redis = _usable(given)
        refuse_cluster(redis, "this Redis")
    else:
        raise InvalidInput(
            f"{type(where).__name__} is not a client that distflow can use: give a URL or a "
            "redis.Redis"
        )
    return RedisBackend(redis, prefix, patience_seconds=patience_seconds)


def _usable(client: Redis) -> Redis:
    """The client itself if it sends UTF-8, answers in bytes, and can follow a Sentinel's primary;
    else a similar one that does.
    """
    encoder: Any = client.get_encoder()
    speaks = not encoder.decode_responses and encoder.encoding.lower() in ("utf-8", "utf8")
    if speaks and follows_primary(client):
        return client
    alike: Redis = import_module(_CONNECTION).open_like(client)
    return alike
