"""Sends batches, or keeps them if Redis has no room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distflow.core.batches import Batch
from distflow.errors import RedisFull
from distflow.ports.dispatcher import Dispatcher


def send_batches(
    dispatcher: Dispatcher, batches: Sequence[Batch], keep: Callable[[Batch], None]
) -> None:
    """Send batches. If Redis has no room for more work, call ``keep`` with each of them: a
    coordinator must not wait for room, since it has other things to do, such as cancelling runs.
    """
    try:
        dispatcher.dispatch(batches)
    except RedisFull:
        for batch in batches:
            keep(batch)
