"""What a coordinator takes for forgotten by Redis, judged on its own clock."""

from __future__ import annotations

from distflow.core.watch.forgotten import ForgottenClaims


def test_a_flow_of_short_tasks_is_not_forgotten() -> None:
    """At each look another task is between its claim's end and the event that tells of it: none of
    them is missing for long.
    """
    watch = ForgottenClaims(stale_seconds=3.0)
    for second in range(20):
        assert not watch.look({f"t{second}": float(second)}, frozenset(), float(second))


def test_a_task_that_is_claimed_again_and_again_is_not_forgotten() -> None:
    """A loop of one task: each claim is another."""
    watch = ForgottenClaims(stale_seconds=3.0)
    for second in range(20):
        assert not watch.look({"loop": float(second)}, frozenset(), float(second))


def test_a_claim_that_stays_missing_is_forgotten() -> None:
    """Redis came back with older data: no event will ever tell how the task ended."""
    watch = ForgottenClaims(stale_seconds=3.0)
    looks = [watch.look({"a": 0.5, "b": 0.5}, frozenset({"b"}), second) for second in range(6)]
    assert looks == [False, False, False, False, True, True]


def test_a_claim_that_is_seen_again_starts_afresh() -> None:
    """It was only late."""
    watch = ForgottenClaims(stale_seconds=3.0)
    assert not watch.look({"a": 0.5}, frozenset(), 1.0)
    assert not watch.look({"a": 0.5}, frozenset({"a"}), 3.0)
    assert not watch.look({"a": 0.5}, frozenset(), 5.0)


def test_a_task_that_keeps_its_claim_is_not_forgotten() -> None:
    """However long it runs."""
    watch = ForgottenClaims(stale_seconds=3.0)
    for second in range(20):
        assert not watch.look({"a": 0.5}, frozenset({"a"}), float(second))
