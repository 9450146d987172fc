"""WorkerRedis: a connection class for RQ workers that outlast a Redis that is away or refuses.

RQ sends commands that must not run twice. A refused command has not run, and is sent again. After a
lost reply nobody knows whether the command ran; redis-py, with its configured retries, and RQ send
it again, as always. What that may leave behind, such as a job between two lists or a wrong count,
RQ or a coordinator finds.
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

#: Seconds for which a worker waits for a Redis that has never answered: the URL may be wrong. Once
#: it has answered, the worker waits for as long as it takes: ending would kill its work horse.
_FIRST_CONTACT_SECONDS = 40.0

#: Seconds for which a worker tries to deregister.
_LAST_WORD_SECONDS = 2.0

#: Seconds before RQ restarts a transaction from the beginning.
_WATCH_PAUSE_SECONDS = 0.5

#: Seconds before a worker without a subscription tries to subscribe again.
_LISTEN_PAUSE_SECONDS = 0.3

_FOR_EVER = float("inf")


class WorkerRedis(Redis):
    """For ``RQ_CONNECTION_CLASS=distflow_worker.WorkerRedis``: accepts every URL that distflow
    does, and its commands wait for Redis.
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
                # Probed once, without retries: if Redis is away, each batch will check it later.
                probe.set_retry(Retry(NoBackoff(), 0))
            refuse_cluster(probe, f"Redis at {hide_password(url)}")
        client = cls.over(open_redis(url).connection_pool)
        client.auto_close_connection_pool = True
        return client

    @classmethod
    def over(cls, pool: ConnectionPool) -> WorkerRedis:
        """A client that shares the connections of another."""
        return cls(connection_pool=pool)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's, but waits until Redis executes it."""
        return self._patience.outlast(
            lambda: super(WorkerRedis, self).execute_command(*args, **dict(options)),  # type: ignore[no-untyped-call]
            self,
        )

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:  # noqa: FBT001, FBT002 - redis-py's signature
        """As redis-py's, but as patient as this client."""
        pipeline = _PatientPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.patience = self._patience
        return pipeline

    def pubsub(self, **options: Any) -> PubSub:
        """As redis-py's; a refusal does not end the listening thread."""
        return _PatientPubSub(self.connection_pool, **options)


class _Patience:
    """How long to try the commands of one client."""

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
            # RQ exits on the original error, and tries again on this one.
            raise redis_errors.ConnectionError(str(error)) from error
        self._has_answered = True
        return answer


class _PatientPipeline(Pipeline):
    patience: _Patience

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's signature
        """As redis-py's. Commands of the pipeline that have run do not run again."""
        stack = [(args, options) for args, options in self.command_stack]
        if _is_last_word(stack):
            return self._say_last_word()
        replies = self._execute_watching(stack) if self.watching else self._execute(stack)
        if raise_on_error:
            self.raise_first_error(stack, replies)  # type: ignore[no-untyped-call]
        return replies

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's, for reads before the transaction."""
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
        """Run a transaction that depends on earlier reads now, or from the beginning."""
        try:
            return self._send(stack)
        except redis_errors.RedisError as error:
            if find_refusal(error) is None:
                raise
            raise self._begin_again(error) from error

    def _execute(self, stack: list[Any]) -> list[Any]:
        """A transaction runs as a whole, or not at all if one of its commands is refused before
        EXEC. In a pipeline, and for scripts in a transaction, only refused commands are sent again.
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
        """A worker that ends need not reach Redis: its registration lapses."""
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
        """Drop the connection and its watches: the server may no longer be the primary."""
        if self.connection is not None:
            self.connection.disconnect()  # type: ignore[no-untyped-call]
        self.watching = False
        self.reset()

    def _send(self, stack: list[Any]) -> list[Any]:
        # redis-py empties the stack as it sends, and removes options as it uses them.
        self.command_stack = [(args, dict(options)) for args, options in stack]
        return super().execute(raise_on_error=False)

    def _begin_again(self, error: redis_errors.RedisError) -> redis_errors.WatchError:
        """The error that makes RQ repeat the reads of its transaction, which are no longer watched.
        Redis has refused, so RQ must not come back at once.
        """
        if is_elsewhere(error):
            self.connection_pool.disconnect(inuse_connections=False)
        time.sleep(_WATCH_PAUSE_SECONDS)
        return redis_errors.WatchError(f"refused: {error}")


def _is_last_word(stack: list[Any]) -> bool:
    """Whether this is the command by which RQ deregisters a worker."""
    return any(args[0] == "HSET" and args[2] == "death" for args, _options in stack)


class _PatientPubSub(PubSub):
    """RQ's listening thread ends on a refusal, and sleeps for two seconds after a lost connection;
    but a worker that is silent and does not listen counts as lost.
    """

    _is_told = False

    def on_connect(self, connection: Any) -> None:
        """As redis-py's. Requests on the previous connection will get no reply."""
        self.health_check_response_counter = 0
        super().on_connect(connection)

    def parse_response(self, block: bool = True, timeout: float = 0) -> Any:  # noqa: FBT001, FBT002 - redis-py's signature
        """As redis-py's; returns None while Redis is away or refuses."""
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
                # The connection is fine: a refusal is an answer to PING, too.
                self.health_check_response_counter -= 1
                return
            # The subscription itself was refused: a new connection subscribes again.
            connection: Any = self.connection
            connection.disconnect()
        if not self._is_told:
            self._is_told = True
            _log.warning("this worker does not hear commands: %s", error)
        time.sleep(_LISTEN_PAUSE_SECONDS)

    def unsubscribe(self, *channels: Any) -> Any:
        """As redis-py's; a worker that ends does not wait for Redis."""
        with suppress(redis_errors.ConnectionError, redis_errors.TimeoutError):
            return super().unsubscribe(*channels)  # type: ignore[no-untyped-call]
