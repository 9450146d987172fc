"""When what runs of a cancelled run is stopped. Times and graces are in milliseconds."""

from __future__ import annotations


def stop_moment(stop_at: int, asked: int | None, now: int) -> int:
    """When what runs is stopped: where the clock was set back, in no more time than was asked for.

    Args:
        stop_at: as it was worked out, in Unix ms.
        asked: the grace by which it was; None where that is not known.
        now: the time now, in Unix ms.
    """
    return stop_at if asked is None else min(stop_at, now + asked)


def shortens_grace(asked: int, left: int | None) -> bool:
    """Whether a cancellation changes when what runs is stopped: the shorter grace counts.

    Args:
        asked: by this cancellation.
        left: of an earlier one; None where there was none.
    """
    return left is None or asked < left
