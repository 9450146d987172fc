"""Delivers outcomes that earlier processes on this host could not record."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from redis import Redis
from redis.exceptions import RedisError

from distflow.core.claim import READ_VERSIONS, Code
from distflow.errors import DistflowError
from distflow.logs import get_logger
from distflow.store.redis.worker import WorkerStore
from distflow_worker.spool import Spool

if TYPE_CHECKING:
    from distflow_worker.spool import FoundOutcome

_log = get_logger("distflow.worker")

#: The longest time, in seconds, that a batch spends on it; the next batch continues.
_MOST_SECONDS = 2.0


def deliver(folder: str, client: Redis, redis: str, prefix: str) -> int:
    """Deliver the outcomes that the spool has for a Redis, and return how many there were. Raises
    nothing: the caller has other work to do.

    Args:
        folder: of the spool.
        client: of that Redis.
        redis: its name: see ``connection.name_of``.
        prefix: of the keys.
    """
    delivered = 0
    gives_up_at = time.monotonic() + _MOST_SECONDS
    try:
        for found in Spool(folder).find(redis, prefix):
            with found:
                delivered += _tell(client, found)
            if time.monotonic() >= gives_up_at:
                break
    except (DistflowError, RedisError, OSError) as error:
        _log.warning("outcomes in %s wait for the next batch: %s", folder, error)
    return delivered


def _tell(client: Redis, found: FoundOutcome) -> bool:
    """Record one outcome, fenced by its token; returns whether it is settled."""
    home, finish = found.home, found.finish
    if home.wire not in READ_VERSIONS:
        return False
    store = WorkerStore(client, home.run_id, prefix=home.prefix, patience_seconds=1.0)
    origin = store.fetch_origin()
    if origin == home.origin:
        code = store.advance(home.epoch, home.batch, [finish]).finishes[0]
        # The run may have been deleted in the same moment.
        what = "its run is gone" if code == Code.GONE else code.name
    else:
        what = "its run is gone" if origin is None else "another run has its id by now"
    _log.warning(
        "run %s: the outcome %s of task %s, attempt %d, was kept on this host: %s",
        home.run_id,
        finish.status,
        finish.task,
        finish.attempt,
        what,
    )
    found.drop()
    return True
