"""How long a task waits for its next attempt: as it was asked for, and never too long."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distflow.core.claim import Progress
from distflow.core.model import LONGEST_WAIT_SECONDS, Loop, Retry, Task
from distflow.core.outcome import (
    Attempt,
    backoff_seconds,
    decide,
    left_of_wait_ms,
    longest_wait_seconds,
)
from distflow.errors import InvalidInput
from tests.support.judging import (
    METRICS,
    RAISED,
    attempt,
    judge,
    task_of,
)


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        (Retry(9, delay=3.0), [3, 3, 3, 3]),
        (Retry(9, delay=3.0, backoff="exponential"), [3, 6, 12, 24]),
        (Retry(9, delay=3.0, backoff="exponential", max_delay=10.0), [3, 6, 10, 10]),
        (Retry(9, delay=3.0, max_delay=1.0), [1, 1, 1, 1]),
        (Retry(9), [0, 0, 0, 0]),
    ],
)
def test_backoff(retry: Retry, delays: list[float]) -> None:
    """Fixed keeps the delay, exponential doubles it, the cap holds."""
    assert [backoff_seconds(retry, tries, 0.5) for tries in (1, 2, 3, 4)] == delays


def test_backoff_counts_the_tries_of_a_generation() -> None:
    """A resume starts with the first delay again."""
    task = task_of(retry=Retry(9, delay=1.0, backoff="exponential"))
    assert judge(task, attempt(12, base=10), RAISED).delay_seconds == 2.0


@given(
    st.floats(0, 1e9),
    st.none() | st.floats(0, 1e9),
    st.floats(0, 1),
    st.integers(1, 10**9),
    st.floats(0, 1, exclude_max=True),
)
def test_every_delay_is_a_number_of_milliseconds(
    delay: float, max_delay: float | None, jitter: float, tries: int, roll: float
) -> None:
    """However many tries: never negative, within the cap and the jitter, and 64 bits in ms."""
    for backoff in ("fixed", "exponential"):
        retry = Retry(1, delay, backoff, max_delay, jitter)
        seconds = backoff_seconds(retry, tries, roll)
        cap = LONGEST_WAIT_SECONDS if max_delay is None else max_delay
        assert 0 <= seconds <= cap * (1 + jitter)
        assert int(seconds * 1000) < 2**53


def test_jitter_spreads_to_both_sides() -> None:
    """A jitter of a tenth adds or takes away a tenth at most."""
    retry = Retry(1, delay=10.0, jitter=0.1)
    assert [backoff_seconds(retry, 1, roll) for roll in (0.0, 0.5, 1.0)] == [9.0, 10.0, 11.0]


@pytest.mark.parametrize("bad", [-1, -0.001, math.nan, math.inf, 1e10])
def test_delays_that_nobody_can_wait_for_are_refused(bad: float) -> None:
    """A NaN or an infinity would end the worker that has to wait for it."""
    for make in (
        lambda: Retry(1, delay=bad),
        lambda: Retry(1, max_delay=bad),
        lambda: Loop("m:u", 1, interval=bad),
    ):
        with pytest.raises(InvalidInput, match="seconds, 0 to 1e9"):
            make()


@pytest.mark.parametrize(
    ("policy", "attempt", "base", "longest"),
    [
        ({}, 5, 0, 0.0),
        ({"retry": Retry(3, delay=2.0)}, 2, 0, 2.0),
        ({"retry": Retry(9, delay=2.0, backoff="exponential")}, 5, 0, 16.0),
        ({"retry": Retry(9, delay=2.0, backoff="exponential")}, 5, 3, 2.0),
        ({"retry": Retry(9, delay=2.0, backoff="exponential", max_delay=5.0)}, 9, 0, 5.0),
        ({"retry": Retry(3, delay=2.0, jitter=0.5)}, 2, 0, 3.0),
        ({"loop": Loop("m:f", 3, interval=7.0)}, 1, 0, 7.0),
        ({"loop": Loop("m:f", 3, interval=7.0), "retry": Retry(3, delay=9.0)}, 1, 0, 9.0),
    ],
)
def test_no_wait_is_longer(policy: Any, attempt: int, base: int, longest: float) -> None:
    """Whatever a decision says, the bound holds: by it a clock that was set is told from a wait."""
    task = Task("a", "m:f", **policy)
    assert longest_wait_seconds(task, Progress(attempt, base=base)) == longest


@pytest.mark.parametrize(
    ("not_before", "now", "told", "left"),
    [
        (5000, 3000, 3000, 2000),
        (5000, 4000, 3000, 1000),
        (5000, 6000, 3000, 0),
        (5000, 3000, 0, 2000),
        # The clock was set back by 1000 since it was told; and before that.
        (5000, 2000, 3000, 2000),
        (5000, 2000, 6000, 3000),
        # It was set forward.
        (5000, 9000, 3000, 0),
    ],
)
def test_what_is_left_of_a_wait(not_before: int, now: int, told: int, left: int) -> None:
    """Never more than was asked for."""
    assert left_of_wait_ms(not_before, now, told) == left


@given(
    st.integers(1, 9),
    st.integers(0, 8),
    st.floats(0, 0.999),
    st.sampled_from(["fixed", "exponential"]),
    st.floats(0, 1),
)
def test_what_is_decided_is_within_the_bound(
    attempt: int, base: int, roll: float, backoff: Any, jitter: float
) -> None:
    """The delay of a retry is never more than what the next try is known to have waited for."""
    retry = Retry(9, delay=2.0, backoff=backoff, max_delay=100.0, jitter=jitter)
    at = Attempt(attempt + base, 1, base, 0, started=True)
    decision = decide(
        Task("t", "m:f", retry=retry), at, RAISED, metrics=METRICS, worker="w", roll=roll
    )
    assert decision.kind == "wait"
    longest = longest_wait_seconds(Task("t", "m:f", retry=retry), decision.progress)
    assert decision.delay_seconds <= longest + 1e-9
