"""TimeWaits: each task is told once, at its latest time."""

from __future__ import annotations

from distflow.core.time_waits import TimeWaits


def test_the_latest_time_counts() -> None:
    """A task that waits anew, or no more, is not told at its earlier time, nor is anybody woken
    for that.
    """
    waits = TimeWaits()
    for index, due_ms in ((0, 10), (1, 20), (2, 30), (0, 40), (1, 20)):
        waits.add(index, due_ms)
    assert (waits.next_due(), list(waits.take_due(19))) == (20, [])
    assert list(waits.take_due(20)) == [1]
    assert (1 in waits, 2 in waits, waits.items()) == (False, True, {2: 30, 0: 40})
    for _ in range(2):
        waits.drop(2)
    assert waits.next_due() == 40
    assert list(waits.take_due(99)) == [0]
    assert (waits.next_due(), waits.items()) == (None, {})


def test_what_is_done_with_one_may_add_another() -> None:
    """Whoever takes what is due may let it wait again."""
    waits = TimeWaits()
    waits.add(0, 1)
    waits.add(1, 2)
    taken = []
    for index in waits.take_due(5):
        taken.append(index)
        if len(taken) == 1:
            waits.add(0, 9)
    assert (taken, waits.next_due()) == ([0, 1], 9)
