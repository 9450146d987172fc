"""Batches are sent, or kept where Redis has no room for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distflow.core.batches import Batch
from distflow.errors import RedisFull
from distflow.ports.dispatcher import Dispatcher


def send_batches(
    dispatcher: Dispatcher, batches: Sequence[Batch], keep: Callable[[Batch], None]
) -> None:
    """Send batches; ``keep`` is told each of them where Redis takes no more work: who leads runs
    need not wait for room, and has other things to do meanwhile, such as to cancel them.
    """
    try:
        dispatcher.dispatch(batches)
    except RedisFull:
        for batch in batches:
            keep(batch)
