"""When what runs of a cancelled run is stopped."""

from __future__ import annotations

import pytest

from distflow.core.stopping import shortens_grace, stop_moment


@pytest.mark.parametrize(
    ("asked", "now", "expected"),
    [(60, 1000, 1050), (60, 990, 1050), (60, 980, 1040), (None, 980, 1050), (0, 980, 980)],
)
def test_a_clock_that_is_set_back_makes_no_grace_longer(
    asked: int | None, now: int, expected: int
) -> None:
    """What runs is stopped at the moment that was worked out, or once the grace is over."""
    assert stop_moment(1050, asked, now) == expected


@pytest.mark.parametrize(
    ("asked", "left", "shortens"),
    [(30, None, True), (30, 20, False), (10, 20, True), (20, 20, False), (0, -3, False)],
)
def test_the_shorter_grace_counts(asked: int, left: int | None, shortens: bool) -> None:
    """Another cancellation never gives what runs more time."""
    assert shortens_grace(asked, left) == shortens
