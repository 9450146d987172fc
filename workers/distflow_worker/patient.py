"""WorkerRedis: RQ's connection class for workers that outlast a restart of Redis."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from distflow.store.connection import open_redis

#: A command waits for a Redis that restarts, 0.1 s at first and then 2 s: about 40 s in all.
_RETRIES = 24
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 2.0


class WorkerRedis(Redis):
    """For ``RQ_CONNECTION_CLASS=distflow_worker.WorkerRedis``: every URL that distflow takes, and
    patience with a restart.
    """

    @classmethod
    def from_url(cls, url: str, **_options: Any) -> Redis:
        """See :func:`distflow.store.connection.open_redis`."""
        client = open_redis(url)
        waits = ExponentialBackoff(cap=_LONGEST_WAIT_SECONDS, base=_FIRST_WAIT_SECONDS)
        client.set_retry(Retry(waits, _RETRIES))
        return client
