"""Delivers outcomes that earlier processes on this host could not record."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from redis import Redis
from redis.exceptions import RedisError

from distflow.core.claim import READ_VERSIONS, Code, Finish
from distflow.core.outcome import too_large
from distflow.errors import DistflowError
from distflow.logs import get_logger
from distflow.store.redis.worker import WorkerStore
from distflow.wire.codec import decode_result, encode_result
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
        if code == Code.TOO_LARGE:
            finish = _without_growth(finish)
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


def _without_growth(finish: Finish) -> Finish:
    """The failure of a node that its run has no room for."""
    known, outcome = decode_result(finish.packed), too_large(_children(finish))
    result = replace(
        known, status=outcome.status, message=outcome.message, error=outcome.error, data=None
    )
    packed = encode_result(result)
    return finish._replace(status=result.status.value, packed=packed, growth=None)


def _children(finish: Finish) -> int:
    return finish.growth.children if finish.growth else 0
