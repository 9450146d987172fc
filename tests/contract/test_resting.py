"""How long a run ran, and where its tasks stand: what people are told of it."""

from __future__ import annotations

import pytest

from distflow.core.claim import Progress
from distflow.core.model import Task
from distflow.core.status import RESTING_RUNS, RunStatus
from tests.support.stores import (
    Subject,
    make_spec,
    open_run,
    outcome,
    resolve,
)


@pytest.mark.parametrize("status", sorted(RESTING_RUNS))
def test_time_at_rest_is_counted(subject: Subject, status: RunStatus) -> None:
    """Once, whatever reply was lost, and until the run moves on."""
    store = subject.store
    epoch = open_run(store)
    before = store.read_info()
    assert (before.rest_at, before.rested_seconds) == (None, 0.0)
    subject.set_clock(10_000)
    for _delivery in range(2):
        store.set_status(status, {RunStatus.RUNNING}, epoch=epoch)
        assert store.read_info().rest_at is not None
    ran = store.read_info().run_seconds
    subject.set_clock(70_000)
    assert store.read_info().run_seconds == ran
    for _delivery in range(2):
        store.begin_reopen(epoch, "again")
        info = store.read_info()
        assert info.rest_at is None
        assert 59 < info.rested_seconds < 65
    # Where the clock is set back meanwhile, no time is given away.
    store.set_status(RunStatus.RUNNING, {RunStatus.REOPENING}, epoch=epoch)
    store.set_status(status, {RunStatus.RUNNING}, epoch=epoch)
    subject.set_clock(0)
    store.set_status(RunStatus.RUNNING, {status}, epoch=epoch)
    assert 59 < store.read_info().rested_seconds < 65


def test_rest_before_the_start_counts_for_nothing(subject: Subject) -> None:
    """A run that was paused before anybody led it has no run time by then."""
    store = subject.store
    store.create_run(make_spec(), "creation", [Task("a", "pkg:f")])
    store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    subject.set_clock(60_000)
    assert store.read_info().run_seconds is None
    store.acquire_lease("anna", 60.0)
    assert store.read_info().run_seconds == pytest.approx(0.0, abs=5.0)
    store.set_status(RunStatus.RUNNING, {RunStatus.PAUSED})
    assert store.read_info().rested_seconds < 5


def test_a_decision_ends_the_rest(subject: Subject) -> None:
    """A run that is blocked goes on by it."""
    store = subject.store
    epoch = open_run(
        store, imported=[("a", outcome("unknown"), Progress(1, token="t1", started=True))]
    )
    store.set_status(RunStatus.BLOCKED, {RunStatus.RUNNING}, epoch=epoch)
    assert store.read_info().rest_at is not None
    resolve(store, "person", "a", "done", outcome("success"), "p", "")
    info = store.read_info()
    assert (info.status, info.rest_at) == (RunStatus.RUNNING, None)


def test_counts_are_no_more_than_there_are(subject: Subject) -> None:
    """What a coordinator told before it died is older than what workers told since."""
    store = subject.store
    epoch = open_run(store)
    total = store.read_info().total
    store.renew_lease("anna", epoch, 60.0, queued=total, waiting=1)
    info = store.read_info()
    assert sum(info.counts.values()) == total
    assert (info.counts["waiting"], info.counts["queued"]) == (1, total - 1)
