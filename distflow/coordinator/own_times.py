"""Converts times from Redis to this host's monotonic clock, since Redis's clock may be set."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.outcome import left_of_wait_ms, longest_wait_seconds
from distflow.core.run import RunInfo

#: A stored wait that ends this much too late is corrected.
_MISPLACED_MS = 1000


class PlacedWaits(NamedTuple):
    """Progress with times on this host's monotonic clock, in ms; and corrections, as ``set_times``
    takes them, of stored times that would make a task wait for too long.
    """

    progress: dict[str, Progress]
    misplaced: list[tuple[str, int, int]]


def place_waits(
    graph: Graph, progress: Mapping[str, Progress], *, now_ms: int, told_ms: int, own_ms: int
) -> PlacedWaits:
    """Convert waits to this host's clock.

    Args:
        graph: the run's.
        progress: as stored in Redis.
        now_ms: Unix ms on Redis's clock.
        told_ms: the same, when the progress was read from Redis.
        own_ms: ms on this host's monotonic clock.
    """
    placed: dict[str, Progress] = {}
    misplaced = []
    for name, known in progress.items():
        index = graph.index.get(name)
        if not known.not_before or index is None:
            placed[name] = known
            continue
        left_ms = left_of_wait_ms(known.not_before, now_ms, told_ms)
        if known.not_before <= told_ms:
            # The wait had ended, or it was written while the clock was set back: nobody knows
            # which.
            longest = longest_wait_seconds(graph.tasks[index], known)
            left_ms = min(left_ms, ceil(longest * 1000))
        placed[name] = known._replace(not_before=own_ms + left_ms)
        if known.not_before - now_ms - left_ms > _MISPLACED_MS:
            misplaced.append((name, known.not_before, now_ms + left_ms))
    return PlacedWaits(placed, misplaced)


def find_deadline(info: RunInfo, *, now: float, own: float) -> float | None:
    """When a run times out, on this host's monotonic clock; None for never.

    Args:
        info: the run.
        now: Unix seconds on Redis's clock.
        own: seconds on this host's monotonic clock.
    """
    timeout, began = info.options.timeout, info.clock_at
    if timeout is None or began is None:
        return None
    # A run does not begin in the future: Redis's clock was set back.
    return own + timeout - max(0.0, now - began)
