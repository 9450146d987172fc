"""WorkerRedis: RQ's connection class for workers that outlast a Redis that is away, or refuses.

RQ sends commands that must not run twice. A refused command has not run, and is sent again; of one
whose reply was lost nobody knows, and redis-py, with whatever retries it was given, and RQ treat
it as they always did: it is sent again as well. What it may have left behind, a job between two
lists, a count, RQ or a coordinator finds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from redis import ConnectionPool, Redis
from redis import exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.client import Pipeline, PubSub
from redis.retry import Retry

from distflow.logs import get_logger
from distflow.redis_url import hide_password
from distflow.store.redis.cluster import refuse_cluster
from distflow.store.redis.connection import open_redis
from distflow.store.redis.patience import find_refusal, is_elsewhere, is_passing, outlast

_log = get_logger("distflow.worker")

_T = TypeVar("_T")

#: Seconds that a worker waits for a Redis which has never answered it: its URL may be wrong. After
#: that it waits for as long as it takes: who ends would take its work horse along.
_FIRST_CONTACT_SECONDS = 40.0

#: Seconds for which the last word of a worker is tried.
_LAST_WORD_SECONDS = 2.0

#: Seconds before RQ tries a transaction again from the beginning.
_WATCH_PAUSE_SECONDS = 0.5

#: Seconds before a worker that does not listen tries to.
_LISTEN_PAUSE_SECONDS = 0.3

_FOR_EVER = float("inf")


class WorkerRedis(Redis):
    """For ``RQ_CONNECTION_CLASS=distflow_worker.WorkerRedis``: every URL that distflow takes, and
    commands that wait for Redis.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._patience = _Patience()
        super().__init__(*args, **options)

    @classmethod
    def from_url(cls, url: str, **_options: Any) -> WorkerRedis:
        """See :func:`distflow.store.redis.connection.open_redis`.

        Raises:
            InvalidInput: the URL cannot be used, or the server belongs to a Redis Cluster.
        """
        with open_redis(url) as probe:
            if not hasattr(probe.connection_pool, "sentinel_manager"):
                # Asked once: one that is away is waited for, and asked by each batch.
                probe.set_retry(Retry(NoBackoff(), 0))
            refuse_cluster(probe, f"Redis at {hide_password(url)}")
        client = cls.over(open_redis(url).connection_pool)
        client.auto_close_connection_pool = True
        return client

    @classmethod
    def over(cls, pool: ConnectionPool) -> WorkerRedis:
        """A client on the connections of another."""
        return cls(connection_pool=pool)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's, once Redis does it."""
        return self._patience.outlast(
            lambda: super(WorkerRedis, self).execute_command(*args, **dict(options)),  # type: ignore[no-untyped-call]
            self,
        )

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:  # noqa: FBT001, FBT002 - redis-py's signature
        """As redis-py's, and as patient."""
        pipeline = _PatientPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.patience = self._patience
        return pipeline

    def pubsub(self, **options: Any) -> PubSub:
        """As redis-py's; a refusal does not end the thread that listens."""
        return _PatientPubSub(self.connection_pool, **options)


class _Patience:
    """How long the commands of one client are tried."""

    def __init__(self) -> None:
        self._has_answered = False

    def outlast(self, call: Callable[[], _T], client: Any) -> _T:
        try:
            answer = outlast(
                call,
                away_seconds=_FOR_EVER if self._has_answered else _FIRST_CONTACT_SECONDS,
                refused_seconds=_FOR_EVER,
                client=client,
            )
        except redis_errors.TimeoutError as error:
            # RQ ends at this one, and tries again at the other.
            raise redis_errors.ConnectionError(str(error)) from error
        self._has_answered = True
        return answer


class _PatientPipeline(Pipeline):
    patience: _Patience

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's signature
        """As redis-py's. What has run of the pipeline does not run again."""
        stack = [(args, options) for args, options in self.command_stack]
        if _is_last_word(stack):
            return self._say_last_word()
        replies = self._execute_watching(stack) if self.watching else self._execute(stack)
        if raise_on_error:
            self.raise_first_error(stack, replies)  # type: ignore[no-untyped-call]
        return replies

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's, for what is read before the transaction."""
        is_watching = self.watching

        def call() -> Any:
            try:
                return super(_PatientPipeline, self).immediate_execute_command(  # type: ignore[no-untyped-call]
                    *args, **dict(options)
                )
            except redis_errors.RedisError as error:
                if find_refusal(error) is None:
                    raise
                self._let_go()
                if is_watching:
                    raise self._begin_again(error) from error
                raise

        return self.patience.outlast(call, self)

    def _execute_watching(self, stack: list[Any]) -> list[Any]:
        """A transaction that rests on what was read before runs now, or from the beginning."""
        try:
            return self._send(stack)
        except redis_errors.RedisError as error:
            if find_refusal(error) is None:
                raise
            raise self._begin_again(error) from error

    def _execute(self, stack: list[Any]) -> list[Any]:
        """A transaction runs whole, or not at all where a command of it is refused before EXEC.
        Of a pipeline, and of scripts in a transaction, those that were refused are sent again.
        """
        replies: list[Any] = [None] * len(stack)
        left = list(range(len(stack)))
        is_explicit = self.explicit_transaction

        def call() -> None:
            self.explicit_transaction = is_explicit
            found = self._send([stack[index] for index in left])
            for index, reply in zip(left, found, strict=True):
                replies[index] = reply
            left[:] = [
                index
                for index in left
                if isinstance(replies[index], Exception) and is_passing(replies[index])
            ]
            if left:
                raise replies[left[0]]

        self.patience.outlast(call, self)
        return replies

    def _say_last_word(self) -> list[Any]:
        """A worker that ends need not be heard: its registration lapses."""
        stack = self.command_stack
        try:
            return outlast(
                lambda: self._send(stack),
                away_seconds=_LAST_WORD_SECONDS,
                refused_seconds=_LAST_WORD_SECONDS,
            )
        except redis_errors.RedisError as error:
            if not is_passing(error):
                raise
            _log.warning("the end of this worker is not registered: %s", error)
            return []

    def _let_go(self) -> None:
        """Give the connection up, and what it watches: the server may be the primary no more."""
        if self.connection is not None:
            self.connection.disconnect()  # type: ignore[no-untyped-call]
        self.watching = False
        self.reset()

    def _send(self, stack: list[Any]) -> list[Any]:
        # redis-py empties what it sends, and takes options off as it uses them.
        self.command_stack = [(args, dict(options)) for args, options in stack]
        return super().execute(raise_on_error=False)

    def _begin_again(self, error: redis_errors.RedisError) -> redis_errors.WatchError:
        """What makes RQ read again what its transaction rests on: nothing watches over that any
        more. Redis has refused, so that RQ must not come back at once.
        """
        if is_elsewhere(error):
            self.connection_pool.disconnect(inuse_connections=False)
        time.sleep(_WATCH_PAUSE_SECONDS)
        return redis_errors.WatchError(f"refused: {error}")


def _is_last_word(stack: list[Any]) -> bool:
    """Whether RQ says by it that a worker has ended."""
    return any(args[0] == "HSET" and args[2] == "death" for args, _options in stack)


class _PatientPubSub(PubSub):
    """RQ's thread that listens ends at a refusal, and sleeps for two seconds where its connection
    is lost. A worker that is silent and does not listen counts as lost.
    """

    _is_told = False

    def on_connect(self, connection: Any) -> None:
        """As redis-py's. What was asked on the connection before is not answered any more."""
        self.health_check_response_counter = 0
        super().on_connect(connection)

    def parse_response(self, block: bool = True, timeout: float = 0) -> Any:  # noqa: FBT001, FBT002 - redis-py's signature
        """As redis-py's; nothing came where Redis is away or refuses."""
        try:
            response = super().parse_response(block, timeout)  # type: ignore[no-untyped-call]
        except redis_errors.RedisError as error:
            if not is_passing(error):
                raise
            self._note(error)
            return None
        self._is_told = False
        return response

    def _note(self, error: redis_errors.RedisError) -> None:
        if isinstance(error, redis_errors.ResponseError):
            if self.health_check_response_counter > 0:
                # The connection is well: who answered PING with a refusal has answered.
                self.health_check_response_counter -= 1
                return
            # It is the subscription that was refused: a new connection subscribes again.
            connection: Any = self.connection
            connection.disconnect()
        if not self._is_told:
            self._is_told = True
            _log.warning("this worker does not hear commands: %s", error)
        time.sleep(_LISTEN_PAUSE_SECONDS)

    def unsubscribe(self, *channels: Any) -> Any:
        """As redis-py's; a worker that ends does not care whether Redis hears it."""
        with suppress(redis_errors.ConnectionError, redis_errors.TimeoutError):
            return super().unsubscribe(*channels)  # type: ignore[no-untyped-call]
