"""Times that Redis has, on this host's own clock: Redis's may be set meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.outcome import left_of_wait_ms, longest_wait_seconds
from distflow.core.run import RunInfo

#: A wait that stands this much too far in the future is moved.
_MISPLACED_MS = 1000


class PlacedWaits(NamedTuple):
    """Progress with times on this host's own clock, in ms; and those that Redis has wrong, as
    ``set_times`` takes them: a task would wait for longer than it was told to.
    """

    progress: dict[str, Progress]
    misplaced: list[tuple[str, int, int]]


def place_waits(
    graph: Graph, progress: Mapping[str, Progress], *, now_ms: int, told_ms: int, own_ms: int
) -> PlacedWaits:
    """Move what is waited for to this host's clock.

    Args:
        graph: the run's.
        progress: as Redis has it.
        now_ms: Unix ms on Redis's clock.
        told_ms: the same when all this was read of Redis.
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
            # It was over, or is of a time after the clock was set back: nobody knows.
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
    # It did not begin in the future: Redis's clock was set back since.
    return own + timeout - max(0.0, now - began)
