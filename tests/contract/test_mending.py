"""What is told of repairs, what a coordinator compares, and indices that are restored."""

from __future__ import annotations

import pytest

from distflow.core.claim import WorkerFacts
from distflow.core.run import HeldTask, RefusalKey, Repair, Vitals
from distflow.errors import StaleEpoch
from tests.support.stores import (
    RedisSubject,
    Subject,
    claim,
    final,
    finish,
    open_run,
    outcome,
    picture,
    resolve,
)

LOST = Repair("worker_lost", "run-1-7-1", "w1", "worker w1 was lost")


def test_a_repair_is_an_event_an_entry_and_a_count(subject: Subject) -> None:
    """Whoever reads the run learns what had gone wrong, how often, and with whom."""
    store = subject.store
    epoch = open_run(store)
    store.record_repair(epoch, "op1", LOST)
    store.record_repair(epoch, "op2", LOST)
    store.record_repair(epoch, "op3", Repair("events_lost", "", "", "all is read again"))
    assert store.read_info().repairs == {"worker_lost": 2, "events_lost": 1}
    entries = [(e.kind, e.status, e.by, e.note) for e in store.read_history()]
    assert entries[0] == ("repaired", "worker_lost", "w1", "worker w1 was lost")
    assert entries[2] == ("repaired", "events_lost", "", "all is read again")
    first = store.read_events("0-0")[0]
    assert (first.kind, first.status, first.batch) == ("repaired", "worker_lost", "run-1-7-1")
    assert (first.worker, first.note) == ("w1", "worker w1 was lost")


def test_a_repair_is_counted_once(subject: Subject) -> None:
    """The reply was lost, and the call is made again."""
    store = subject.store
    epoch = open_run(store)
    store.record_repair(epoch, "op1", LOST)
    before = picture(subject)
    store.record_repair(epoch, "op1", LOST)
    assert picture(subject) == before


def test_a_worker_that_cannot_read_jobs_is_named(subject: Subject) -> None:
    """It stays as a refusal of no task, whoever leads; a lost reply changes nothing."""
    store = subject.store
    epoch = open_run(store)
    repair = Repair("entry_refused", "run-1-7-1", "w1", "worker w1: UntrustedBytes: refused")
    by = WorkerFacts("w1", "2026-01-01", "host-1", 41)
    for _delivery in range(2):
        store.record_repair(epoch, "op1", repair, by=by)
    (refusal,) = store.read_refusals()
    assert refusal.key == RefusalKey("", "w1", "2026-01-01")
    assert (refusal.what, refusal.words) == ("its jobs", repair.note)
    assert (refusal.host, refusal.pid, refusal.tasks) == ("host-1", 41, ())
    assert len(store.read_history()) == 1


def test_a_replaced_coordinator_tells_of_nothing(subject: Subject) -> None:
    """Neither of repairs nor of what is held."""
    store = subject.store
    old = open_run(store)
    store.acquire_lease("bert", 60.0, force=True)
    before = picture(subject)
    with pytest.raises(StaleEpoch):
        store.record_repair(old, "op1", LOST)
    with pytest.raises(StaleEpoch):
        store.hold_tasks(old, [HeldTask("a", "w1", 1.5)])
    assert picture(subject) == before


def test_what_is_held_is_said_until_it_is_not(subject: Subject) -> None:
    """Each call says all of it; a task that has ended is held by nobody."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    held = HeldTask("a", "w1", 1795230933.25)
    store.hold_tasks(epoch, [held])
    assert store.read_info().held == (held,)
    finish(store, epoch, final("a", "t1"))
    assert store.read_info().held == ()
    claim(store, epoch, "b", "t2")
    store.hold_tasks(epoch, [])
    assert store.read_info().held == ()


def test_vitals_are_what_events_have_told(subject: Subject) -> None:
    """Outcomes, claims, the newest event, the run's status, and what nobody knows the end of."""
    store = subject.store
    assert store.read_vitals() == Vitals(0, 0, "0-0", "", 0)
    epoch = open_run(store)
    assert store.read_vitals() == Vitals(0, 0, "0-0", "running", 0)
    claim(store, epoch, "a", "t1")
    claim(store, epoch, "b", "t2")
    finish(store, epoch, final("a", "t1"))
    assert store.read_vitals() == Vitals(1, 1, store.last_event_id(), "running", 0)
    finish(store, epoch, final("b", "t2", "unknown"))
    assert store.read_vitals() == Vitals(2, 0, store.last_event_id(), "running", 1)
    resolve(store, "op", "b", "done", outcome("success"), "p", "")
    assert store.read_vitals() == Vitals(2, 0, store.last_event_id(), "running", 0)


def test_indices_are_complete(subject: Subject) -> None:
    """Nothing to do; and a run that is not there is not listed."""
    open_run(subject.store)
    assert not subject.store.restore_indices()
    other = subject.connect("other")
    assert not other.restore_indices()
    assert subject.list_runs() == ["run-1"]


def test_a_lost_index_is_restored(redis_subject: RedisSubject) -> None:
    """Either of them; the run keeps its place by the time of its creation."""
    for run_id in ("run-1", "run-2"):
        open_run(redis_subject.connect(run_id))
    client, prefix, store = redis_subject.client, redis_subject.prefix, redis_subject.store
    for key in (f"{prefix}:runs", f"{prefix}:active"):
        assert client.delete(key) == 1
        assert store.restore_indices()
        assert not store.restore_indices()
        assert redis_subject.connect("run-2").restore_indices()
    assert redis_subject.list_runs() == ["run-1", "run-2"]
    assert redis_subject.list_active_runs() == ["run-1", "run-2"]
