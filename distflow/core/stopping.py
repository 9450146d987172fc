"""When running tasks of a cancelled run are killed. Times and grace periods are in milliseconds."""

from __future__ import annotations


def stop_moment(stop_at: int, asked: int | None, now: int) -> int:
    """When running tasks are killed: even if the clock was set back, no later than the grace period
    from now.

    Args:
        stop_at: as computed at the cancellation, in Unix ms.
        asked: the grace period that it was computed with; None if unknown.
        now: the time now, in Unix ms.
    """
    return stop_at if asked is None else min(stop_at, now + asked)


def shortens_grace(asked: int, left: int | None) -> bool:
    """Whether a cancellation changes when running tasks are killed: the shorter grace period
    counts.

    Args:
        asked: the grace period of this cancellation.
        left: what is left of an earlier one; None if there was none.
    """
    return left is None or asked < left
