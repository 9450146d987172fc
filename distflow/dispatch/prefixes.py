"""Finds coordinators and workers that miss each other because their RQ_KEY_PREFIX differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from distflow.core.readings import Apart
from distflow.dispatch.rq_reports import to_text
from distflow.ids import run_of_batch
from distflow.rq_compat.rq_keys import (
    COMMAND_CHANNELS,
    DEFAULT_PREFIX,
    PREFIX,
    command_channel,
    prefix_of,
    queue_key,
    queue_workers_key,
    worker_name,
)


class _View(NamedTuple):
    """A queue under one prefix: how many workers listen, and whether the run's batches wait."""

    queue: str
    prefix: str
    workers: int
    has_batches: bool


def find_apart(client: Redis, run_id: str, queues: Iterable[str]) -> list[Apart]:
    """The queues on which batches of a run wait under one prefix without listeners, while workers
    listen under another. Prefixes are known from connected workers; this process's prefix and RQ's
    default are checked as well. Empty if Redis does not answer, or denies it.
    """
    try:
        views = list(_look(client, run_id, list(queues)))
    except RedisError:
        return []
    found = []
    for home in views:
        if home.has_batches and not home.workers:
            others = {
                each.prefix: each.workers
                for each in views
                if each.queue == home.queue and each.workers
            }
            if others:
                found.append(Apart(home.queue, home.prefix, others))
    return found


def _look(client: Any, run_id: str, queues: list[str]) -> Iterator[_View]:
    if not queues:
        return
    channels = {to_text(each) for each in client.pubsub_channels(COMMAND_CHANNELS)}
    prefixes = {PREFIX, DEFAULT_PREFIX, *map(prefix_of, channels)} - {""}
    places = [(queue, prefix) for queue in queues for prefix in sorted(prefixes)]
    pipeline = client.pipeline(transaction=False)
    for queue, prefix in places:
        pipeline.smembers(queue_workers_key(queue, prefix))
        pipeline.lrange(queue_key(queue, prefix), 0, -1)
    replies = pipeline.execute(raise_on_error=False)
    for (queue, prefix), workers, jobs in zip(places, replies[::2], replies[1::2], strict=True):
        names = [worker_name(to_text(key), prefix) for key in _allowed(workers)]
        yield _View(
            queue,
            prefix,
            sum(command_channel(name, prefix) in channels for name in names),
            any(run_of_batch(to_text(job)) == run_id for job in _allowed(jobs)),
        )


def _allowed(reply: Any) -> Iterable[bytes]:
    """A reply; None if the user may not read the keys of that prefix."""
    return [] if isinstance(reply, Exception) else reply
