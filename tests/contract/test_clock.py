"""The server's clock is set: nothing is waited for longer than was asked for, and what its
coordinator has measured is moved to where it now stands.
"""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.status import ACTIVE_RUNS, RunStatus
from distflow.errors import LeaseHeld, LookAgain, StaleEpoch
from tests.support.stores import (
    RedisSubject,
    Subject,
    again,
    claim,
    finish,
    open_run,
    picture,
)
from tests.support.wait import wait_for

HOUR_MS = 3_600_000


def waiting(subject: Subject, delay_ms: int) -> tuple[int, int]:
    """A run whose task ``a`` waits; its epoch, and before when the task does not run."""
    epoch = open_run(subject.store)
    claim(subject.store, epoch, "a", "t1")
    finish(subject.store, epoch, again("a", "t1", delay_ms=delay_ms))
    return epoch, subject.store.read_progress()["a"].not_before


def test_a_wait_is_moved(subject: Subject) -> None:
    """The task may be claimed when the time that the coordinator gave has come."""
    epoch, not_before = waiting(subject, 2000)
    store = subject.store
    subject.set_clock(-HOUR_MS)
    assert claim(store, epoch, "a", "t2").code == Code.NOT_READY
    right = int(store.read_info().as_of * 1000) - 1
    store.set_times(epoch, [("a", not_before, right)])
    known = store.read_progress()["a"]
    assert (known.not_before, known.attempt, known.token) == (right, 2, "t1")
    assert claim(store, epoch, "a", "t2").code == Code.GRANTED


def test_what_has_changed_since_is_not_moved(subject: Subject) -> None:
    """Another try may wait by now, and a person may have cancelled: those times are right. A call
    that is delivered twice changes nothing.
    """
    epoch, not_before = waiting(subject, 60_000)
    store = subject.store
    store.set_times(epoch, [("a", not_before, not_before - 5000)])
    before = picture(subject)
    store.set_times(epoch, [("a", not_before, 1), ("b", 0, 1)], clock_at=(7, 1), stop_at=(7, 1))
    assert picture(subject) == before


def test_the_times_of_a_run_are_moved(subject: Subject) -> None:
    """Since when its timeout counts, and when what runs is stopped."""
    store = subject.store
    epoch = open_run(store)
    store.set_status(RunStatus.CANCELLING, ACTIVE_RUNS, grace_seconds=60.0)
    info = store.read_info()
    assert info.clock_at is not None
    assert info.stop_at is not None
    began, stop = round(info.clock_at * 1000), round(info.stop_at * 1000)
    store.set_times(epoch, (), clock_at=(began, began + 7), stop_at=(stop, stop - 9))
    info = store.read_info()
    assert (info.clock_at, info.stop_at) == ((began + 7) / 1000, (stop - 9) / 1000)


def test_a_replaced_coordinator_moves_nothing(subject: Subject) -> None:
    """It has slept, and measured nothing."""
    old, not_before = waiting(subject, 60_000)
    subject.store.acquire_lease("bert", 60.0, force=True)
    before = picture(subject)
    with pytest.raises(StaleEpoch):
        subject.store.set_times(old, [("a", not_before, 1)])
    assert picture(subject) == before


def test_a_grace_is_no_longer_than_asked_for(subject: Subject) -> None:
    """Back by an hour: what runs is stopped within the grace, and a shorter one still counts."""
    store = subject.store
    open_run(store)
    store.set_status(RunStatus.CANCELLING, ACTIVE_RUNS, grace_seconds=60.0)
    subject.set_clock(-HOUR_MS)
    info = store.read_info()
    assert info.stop_at == pytest.approx(info.as_of + 60.0, abs=1.0)
    for grace, left in [(300.0, 60.0), (20.0, 20.0), (40.0, 20.0)]:
        store.set_status(RunStatus.CANCELLING, ACTIVE_RUNS, grace_seconds=grace)
        info = store.read_info()
        assert info.stop_at == pytest.approx(info.as_of + left, abs=1.0)


def test_a_grace_that_changes_while_it_is_compared(
    redis_subject: RedisSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cancel at once: the shortest of the graces counts, whoever comes last; and whoever never
    comes to it is told so.
    """
    store, other = redis_subject.connect("run-1"), redis_subject.store
    open_run(other)
    other.set_status(RunStatus.CANCELLING, ACTIVE_RUNS, grace_seconds=60.0)
    run, graces = store._run, [10.0]

    def overtaken(*arguments: Any) -> Any:
        answer = run(*arguments)
        if answer[0] == Code.LOOK_AGAIN and graces:
            other.set_status(RunStatus.CANCELLING, ACTIVE_RUNS, grace_seconds=graces.pop())
        return answer

    monkeypatch.setattr(store, "_run", overtaken)
    store.set_status(RunStatus.CANCELLING, ACTIVE_RUNS, grace_seconds=30.0)
    info = store.read_info()
    assert graces == []
    assert info.stop_at == pytest.approx(info.as_of + 10.0, abs=1.0)
    graces += [9.9 - number / 10 for number in reversed(range(40))]
    with pytest.raises(LookAgain, match="others are cancelling"):
        store.set_status(RunStatus.CANCELLING, ACTIVE_RUNS, grace_seconds=1.0)


def test_a_lease_is_no_longer_than_asked_for(subject: Subject) -> None:
    """Whoever is refused it need not wait for more than that; one who lives renews it before."""
    store = subject.store
    open_run(store)
    store.acquire_lease("bert", 0.3, force=True)
    subject.stretch_lease(HOUR_MS)
    with pytest.raises(LeaseHeld):
        store.acquire_lease("carl", 60.0)
    wait_for(lambda: store.read_info().coordinator is None, 5, "the lease to lapse")
    epoch = store.acquire_lease("carl", 60.0)
    # What its holder renews is not shortened by who asks for less.
    store.renew_lease("carl", epoch, 60.0, queued=0, waiting=0)
    with pytest.raises(LeaseHeld):
        store.acquire_lease("dora", 0.1)
    assert store.read_info().coordinator == "carl"
    subject.stretch_lease(-59_000)
    assert store.read_info().coordinator == "carl"
