"""How long batches go on, when what waits in them goes elsewhere, and when queues rest."""

from __future__ import annotations

import pytest

from distflow.core import pacing
from distflow.core.pacing import (
    BOUNCE_MS,
    FLUSH_MS,
    GROUP_TASKS,
    Bounces,
    Crew,
    Lingering,
    QueueRests,
    count_group,
    has_worked_long,
    is_grouped,
    is_short,
    patience_ms,
)


@pytest.mark.parametrize(
    ("effects", "timeout", "run_ms", "grouped"),
    [
        ("idempotent", None, 20.0, True),
        ("idempotent", None, 20.1, False),
        ("idempotent", None, None, False),
        ("idempotent", 5.0, 1.0, False),
        ("normal", None, 1.0, False),
        ("at_most_once", None, 1.0, False),
    ],
)
def test_only_what_may_run_again_is_recorded_with_others(
    effects: str, timeout: float | None, run_ms: float | None, grouped: bool
) -> None:
    """Idempotent, known to be short, and not ended from outside."""
    assert is_grouped(effects, timeout, run_ms) == grouped


def test_a_function_is_short_from_its_measurement_on() -> None:
    """Up to 20 ms; nothing is known of what was never measured."""
    assert [is_short(ms) for ms in (0.0, 20.0, 20.1, None)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("run_times", "count"),
    [
        ([], 0),
        ([None, 1.0], 0),
        ([1.0, 1.0, None, 1.0], 2),
        ([20.0] * 9, 3),
        ([FLUSH_MS / 2 - 0.05] * 9, 2),
        ([FLUSH_MS / 2 - 0.06] * 9, 3),
        ([0.0] * (GROUP_TASKS + 9), GROUP_TASKS),
    ],
)
def test_a_group_ends_when_its_first_outcome_is_due(
    run_times: list[float | None], count: int
) -> None:
    """50 ms of work, what each task costs counted, or a thousand tasks; or one that goes alone."""
    assert count_group(iter(run_times)) == count


def test_a_batch_claims_no_more_after_half_a_second() -> None:
    """Its worker is free for whatever comes first by then."""
    assert [has_worked_long(seconds) for seconds in (0.0, 0.4999, 0.5, 9.0)] == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("setup_ms", "grouped", "expected"),
    [
        (None, False, 100.0),
        (None, True, 200.0),
        (0.0, True, 100.0),
        (300.0, False, 400.0),
        (9000.0, False, 1100.0),
    ],
)
def test_what_waits_goes_elsewhere(setup_ms: float | None, grouped: bool, expected: float) -> None:
    """A slow import is waited for, for a second at most; what was claimed in a group its worker
    gives back by itself.
    """
    assert patience_ms(100.0, setup_ms=setup_ms, grouped=grouped) == expected


def test_a_queue_rests_twice_as_long_each_time() -> None:
    """From a second to a minute; it works again once a batch is begun."""
    rests = QueueRests()
    now = 100.0
    for length in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        assert not rests.is_resting("q", now)
        rests.note_failed("q", now)
        assert rests.is_resting("q", now + length - 0.01)
        assert not rests.is_resting("other", now)
        now += length
    rests.note_begun("q")
    rests.note_begun("never")
    rests.note_failed("q", now)
    assert not rests.is_resting("q", now + 1.0)


def test_a_queue_of_a_full_redis_rests_for_a_moment() -> None:
    """That says nothing of its workers: the next failure rests as long as it would have."""
    rests = QueueRests()
    rests.note_failed("q", 0.0)
    rests.note_full("q", 1.0)
    assert rests.is_resting("q", 1.9)
    assert not rests.is_resting("q", 2.0)
    rests.note_failed("q", 2.0)
    assert rests.is_resting("q", 3.9)


def test_a_queue_that_rests_for_the_first_time() -> None:
    """It did not rest before; no room is no failure, so that the first of those rests a second."""
    rests = QueueRests()
    assert rests.until("q") == 0.0
    rests.note_full("q", 0.0)
    assert rests.until("q") == 1.0
    rests.note_failed("q", 5.0)
    assert rests.until("q") == 6.0


def test_little_work_waits_for_more() -> None:
    """For a moment, once, and only while batches are out that may bring it."""
    lingering = Lingering(10.0, 5.0)
    assert not lingering.until
    assert not lingering.holds_back("q", 1.0, 7.0, awaits=False)
    assert not lingering.holds_back("q", 5.0, 7.0, awaits=True)
    assert lingering.holds_back("q", 4.9, 7.0, awaits=True)
    assert lingering.holds_back("r", 4.9, 7.005, awaits=True)
    assert lingering.until == pytest.approx({"q": 7.01, "r": 7.015})
    assert lingering.holds_back("q", 1.0, 7.009, awaits=True)
    assert not lingering.holds_back("q", 1.0, 7.011, awaits=True)
    assert lingering.until == pytest.approx({"r": 7.015})
    assert not lingering.holds_back("r", 9.0, 7.011, awaits=True)
    assert not lingering.until


def test_a_task_that_bounces_waits() -> None:
    """Not the first time; each by itself."""
    bounces = Bounces()
    assert [bounces.note(1), bounces.note(2), bounces.note(1), bounces.note(1)] == [
        0,
        0,
        BOUNCE_MS,
        BOUNCE_MS,
    ]


def test_who_works_and_who_idles() -> None:
    """There is always one worker, and none idles behind more batches than workers."""
    assert [Crew.of(4, 1), Crew.of(0, 0), Crew.of(2, 5)] == [Crew(4, 3), Crew(1, 1), Crew(2, 0)]
    assert pacing.UNCOUNTED_CREW.idle > 1
