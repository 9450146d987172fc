"""The lease, fencing by epoch, events, and what a coordinator settles."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from distflow.core.claim import Code, Progress
from distflow.core.run import Event
from distflow.core.status import ENDED_RUNS, RunStatus, TaskStatus
from distflow.errors import LeaseHeld, StaleEpoch, WrongState
from distflow.ports.run_store import RunStore
from tests.support.stores import (
    Imported,
    Subject,
    again,
    claim,
    final,
    finish,
    open_run,
    outcome,
    picture,
)
from tests.support.wait import wait_for


def test_one_coordinator_leads_a_run(subject: Subject) -> None:
    """A held lease is refused by the name of its holder; force and its end give it to another."""
    store = subject.store
    first = open_run(store)
    before = picture(subject)
    with pytest.raises(LeaseHeld, match=r"run run-1 is led by anna$"):
        store.acquire_lease("bert", 60.0)
    assert picture(subject) == before
    second = store.acquire_lease("bert", 60.0, force=True)
    assert store.read_info().coordinator == "bert"
    subject.lapse_lease()
    assert store.read_info().coordinator is None
    third = store.acquire_lease("anna", 60.0)
    store.release_lease("anna", third)
    fourth = store.acquire_lease("bert", 60.0)
    assert first < second < third < fourth == store.read_info().epoch
    taken = store.read_history()
    assert [(entry.kind, entry.by) for entry in taken] == [
        ("taken_over", "bert"),
        ("taken_over", "anna"),
        ("taken_over", "bert"),
    ]
    assert taken[-1].note == f"epoch {fourth}"


def test_a_lease_runs_out(subject: Subject) -> None:
    """After its time another may lead, unless it was renewed."""
    store = subject.store
    epoch = open_run(store)
    store.renew_lease("anna", epoch, 0.05, queued=0, waiting=0)
    wait_for(lambda: store.read_info().coordinator is None, what="the lease to lapse")
    assert store.acquire_lease("bert", 60.0) > epoch


def test_a_lease_that_was_got_is_got_again(subject: Subject) -> None:
    """The reply was lost: the same epoch, no take-over."""
    store = subject.store
    epoch = open_run(store)
    before = picture(subject)
    assert store.acquire_lease("anna", 60.0) == epoch
    assert store.acquire_lease("anna", 60.0, force=True) == epoch
    assert picture(subject) == before


def test_a_lease_that_lapsed_is_renewed_by_its_epoch(subject: Subject) -> None:
    """While nobody else led, the run is still its coordinator's."""
    store = subject.store
    epoch = open_run(store)
    subject.lapse_lease()
    store.renew_lease("anna", epoch, 60.0, queued=1, waiting=1)
    info = store.read_info()
    assert (info.coordinator, info.counts["queued"], info.counts["waiting"]) == ("anna", 1, 1)


def test_only_its_holder_gives_a_lease_up(subject: Subject) -> None:
    """What an older holder releases is no lease any more; nothing is queued without one."""
    store = subject.store
    old = open_run(store)
    new = store.acquire_lease("bert", 60.0, force=True)
    store.renew_lease("bert", new, 60.0, queued=4, waiting=0)
    for owner, epoch in (("anna", old), ("anna", new), ("bert", old)):
        store.release_lease(owner, epoch)
        assert store.read_info().coordinator == "bert"
    store.release_lease("bert", new)
    assert store.read_info().counts["queued"] == 0
    store.release_lease("bert", new)
    store.acquire_lease("anna", 60.0)
    assert store.read_info().counts["queued"] == 0


def test_who_lets_go_is_told_whether_another_came(subject: Subject) -> None:
    """By the epoch: also where that one is gone already, and where the run is."""
    store = subject.store
    epoch = open_run(store)
    assert store.release_lease("anna", epoch)
    assert store.release_lease("anna", epoch)
    new = store.acquire_lease("bert", 60.0)
    assert not store.release_lease("anna", epoch, is_over=True)
    assert store.read_info().coordinator == "bert"
    assert store.release_lease("bert", new)
    store.delete_run()
    assert not store.release_lease("bert", new)


def test_epochs_grow_although_a_clock_goes_back(subject: Subject) -> None:
    """An epoch is at least the time in milliseconds, and more than any before it."""
    store = subject.store
    epochs = [open_run(store)]
    now_ms = store.read_info().as_of * 1000
    assert abs(epochs[0] - now_ms) < 5000
    for offset_ms in (-86_400_000, 0, 3_600_000, -3_600_000):
        subject.set_clock(offset_ms)
        epochs.append(store.acquire_lease(f"owner{len(epochs)}", 60.0, force=True))
    assert epochs == sorted(set(epochs))
    assert epochs[1] == epochs[0] + 1
    assert abs(epochs[3] - epochs[2] - 3_600_000) < 5000
    assert epochs[4] == epochs[3] + 1


WRITES: dict[str, Callable[[RunStore, int], object]] = {
    "renew_lease": lambda s, epoch: s.renew_lease("anna", epoch, 9.0, queued=1, waiting=1),
    "trim_events": lambda s, epoch: s.trim_events(epoch, "99999999999999-0"),
    "settle_claim": lambda s, epoch: s.settle_claim(epoch, "b1", final("a", "t1", "failure")),
    "end_batch": lambda s, epoch: s.end_batch(epoch, "b9"),
    "settle_unheld": lambda s, epoch: s.settle_unheld(epoch, [("c", outcome("skipped"))]),
    "tolerate": lambda s, epoch: s.tolerate(epoch, ["b"]),
    "begin_reopen": lambda s, epoch: s.begin_reopen(epoch, "reopening"),
    "reopen_tasks": lambda s, epoch: s.reopen_tasks(
        epoch, [("b", TaskStatus.FAILURE, Progress(2), False)]
    ),
    "set_status": lambda s, epoch: s.set_status(RunStatus.SUCCESS, set(RunStatus), epoch=epoch),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_coordinator_that_slept_writes_nothing(subject: Subject, write: str) -> None:
    """Every write of an older epoch is refused, and would have changed something."""
    store = subject.store
    old = open_run(store, "a", "b", "c")
    store.begin_batch(old, "b1", "w1", "job")
    store.begin_batch(old, "b9", "w9", "job")
    claim(store, old, "a", "t1")
    claim(store, old, "b", "t2")
    finish(store, old, final("b", "t2", "failure"))
    if write == "reopen_tasks":
        store.begin_reopen(old, "earlier")
    new = store.acquire_lease("bert", 60.0, force=True)
    before = picture(subject)
    with pytest.raises(StaleEpoch, match="run run-1: another coordinator has taken it over"):
        WRITES[write](store, old)
    assert picture(subject) == before
    WRITES[write](store, new)
    assert picture(subject) != before


def test_events_are_read_after_an_id(subject: Subject) -> None:
    """Attach: the last id, then only what comes after; trimmed events are gone for all."""
    store = subject.store
    epoch = open_run(store, "a", "b", "c")
    assert store.last_event_id() == "0-0"
    for number, task in enumerate(("a", "b", "c")):
        claim(store, epoch, task, f"t{number}")
    events = store.read_events("0-0")
    assert [event.task for event in events] == ["a", "b", "c"]
    assert store.last_event_id() == events[2].id
    assert store.read_events(events[0].id) == events[1:]
    assert store.read_events(events[2].id) == []
    store.trim_events(epoch, events[1].id)
    assert store.read_events("0-0") == events[1:]
    store.trim_events(epoch, events[1].id)
    assert store.read_events("0-0") == events[1:]


def test_events_are_read_in_portions(subject: Subject) -> None:
    """At most what 1,000 transitions told at a time."""
    store = subject.store
    names = [f"t{number}" for number in range(1200)]
    epoch = open_run(store, *names)
    for name in names:
        store.advance(epoch, "b1", [again(name, "t1")])
    first = store.read_events("0-0")
    rest = store.read_events(first[-1].id)
    assert [event.task for event in first + rest] == names
    assert len(first) == 1000


def test_a_reader_waits_for_an_event(subject: Subject) -> None:
    """read_events with block_ms returns when an event comes, and empty when none does."""
    store = subject.store
    epoch = open_run(store)
    assert store.read_events("0-0", block_ms=20) == []
    found: list[Event] = []
    reading = threading.Event()

    def read() -> None:
        reading.set()
        found.extend(store.read_events("0-0", block_ms=20_000))

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait(5)
    claim(subject.connect("run-1"), epoch, "a", "t1")
    reader.join(10)
    assert not reader.is_alive()
    assert [event.task for event in found] == ["a"]


@pytest.mark.parametrize("status", ["unknown", "failure", "cancelled"])
def test_a_lost_claim_gets_its_outcome(subject: Subject, status: str) -> None:
    """settle_claim: RECORDED, the evidence is in the history; repeated, the same."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    lost = final("a", "t1", status, keep=True)
    assert store.settle_claim(epoch, "b1", lost) == Code.RECORDED
    after = picture(subject)
    assert (after.results, after.claims) == ({"a": lost.packed}, {})
    (entry,) = store.read_history()
    assert (entry.kind, entry.status, entry.packed) == ("lost", status, lost.packed)
    assert store.read_events("0-0")[-1].kind == "finished"
    assert store.settle_claim(epoch, "b1", lost) == Code.RECORDED
    assert picture(subject) == after


def test_a_lost_claim_goes_on_elsewhere(subject: Subject) -> None:
    """settle_claim as a wait: claimed again at once; repeated, it takes nothing from the next."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    lost = again("a", "t1", lost=1)
    assert store.settle_claim(epoch, "b1", lost) == Code.RECORDED
    after = picture(subject)
    assert (after.results, after.claims) == ({}, {})
    assert [entry.kind for entry in store.read_history()] == ["lost"]
    assert store.settle_claim(epoch, "b1", lost) == Code.RECORDED
    assert picture(subject) == after
    assert claim(store, epoch, "a", "t2", batch="b2") == (Code.GRANTED, 2, 1, 0, 1)
    before = picture(subject)
    assert store.settle_claim(epoch, "b1", lost) == Code.RECORDED
    assert picture(subject) == before


@pytest.mark.parametrize("kind", ["final", "wait"])
def test_a_worker_that_told_first_is_believed(subject: Subject, kind: str) -> None:
    """settle_claim: REFUSED where the claim has moved on, and nothing changes."""
    store = subject.store
    epoch = open_run(store)
    lost = final("a", "t1", "unknown") if kind == "final" else again("a", "t1")
    told = final("a", "t1") if kind == "final" else again("a", "t1", delay_ms=5)
    assert store.settle_claim(epoch, "b1", lost) == Code.REFUSED
    claim(store, epoch, "a", "t1")
    assert store.settle_claim(epoch, "b1", lost._replace(token="t0")) == Code.REFUSED
    finish(store, epoch, told)
    before = picture(subject)
    assert store.settle_claim(epoch, "b1", lost) == Code.REFUSED
    assert picture(subject) == before


def test_what_never_ran_gets_its_outcome(subject: Subject) -> None:
    """settle_unheld leaves claimed and final tasks alone, and says which; repeated, the same."""
    store = subject.store
    imported: list[Imported] = [("waiting", None, Progress(3))]
    names = ("done", "held", "waiting", "fresh", "failed")
    epoch = open_run(store, *names, imported=imported)
    claim(store, epoch, "done", "t1")
    claim(store, epoch, "failed", "t2")
    claim(store, epoch, "held", "t3")
    finish(store, epoch, final("done", "t1"))
    finish(store, epoch, final("failed", "t2", "failure"))
    cancelled = outcome("cancelled", message="stopped")
    settled = [(name, cancelled) for name in names]
    assert store.settle_unheld(epoch, settled) == {"done", "held", "failed"}
    after = picture(subject)
    assert store.read_statuses(names) == ["success", None, "cancelled", "cancelled", "failure"]
    assert store.read_progress() == {}
    assert store.settle_unheld(epoch, settled) == {"done", "held", "failed"}
    assert picture(subject) == after


def test_many_tasks_are_settled(subject: Subject) -> None:
    """More names than one script takes, each once; those left alone are named throughout."""
    store = subject.store
    names = [f"t{number}" for number in range(2500)]
    epoch = open_run(store, *names)
    for name in ("t0", "t1000", "t2499"):
        claim(store, epoch, name, "t1")
    skipped = outcome("skipped")
    left = store.settle_unheld(epoch, [(name, skipped) for name in names])
    assert left == {"t0", "t1000", "t2499"}
    assert store.read_info().counts["skipped"] == 2497


def test_a_cut_shows_outcome_claim_progress_and_note(subject: Subject) -> None:
    """read_cut tells all four of each task asked for, in that order."""
    store = subject.store
    epoch = open_run(store, "a", "b", "c", "d")
    for task in ("a", "b", "c"):
        claim(store, epoch, task, "t1")
    store.save_note("a", "t1", b"job")
    finish(store, epoch, final("a", "t1", "unknown"))
    finish(store, epoch, again("b", "t1"))
    c, a, b, d = store.read_cut(["c", "a", "b", "d"])
    held = Progress(2, token="t1", started=True)
    assert a == (final("a", "t1", "unknown").packed, None, held, b"job")
    assert b.progress == store.read_progress()["b"]
    assert (b.packed, b.claim) == (None, None)
    assert c == (None, store.read_claims()["c"], None, None)
    assert d == (None, None, None, None)
    assert store.read_cut([]) == []


def test_a_run_moves_between_statuses(subject: Subject) -> None:
    """set_status: from the allowed ones only, once, with an event; reason and times are kept."""
    store = subject.store
    epoch = open_run(store)
    began = store.read_info().clock_at or 0.0
    with pytest.raises(WrongState, match=r"run run-1 is running$"):
        store.set_status(RunStatus.SUCCESS, {RunStatus.PAUSED, RunStatus.BLOCKED})
    paused = store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING}, reason="by hand")
    assert paused == RunStatus.PAUSED
    before = picture(subject)
    # Made already, whoever made it.
    assert store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING}, reason="again") == paused
    assert picture(subject) == before
    assert store.read_info().reason == "by hand"
    subject.set_clock(9000)
    store.set_status(RunStatus.RUNNING, {RunStatus.PAUSED}, epoch=epoch, restart_clock=True)
    info = store.read_info()
    assert 9.0 <= (info.clock_at or 0.0) - began < 15.0
    assert info.ended_at is None
    moves = [(event.kind, event.status) for event in store.read_events("0-0")]
    assert moves == [("moved", "paused"), ("moved", "running")]


def test_the_shortest_grace_counts(subject: Subject) -> None:
    """A cancellation says when what runs is stopped; another may only shorten that, and a repeated
    call changes nothing. A reopening forgets it.
    """
    store = subject.store
    epoch = open_run(store)

    def cancel(grace_seconds: float | None) -> float | None:
        store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=grace_seconds)
        return store.read_info().stop_at

    first = cancel(30.0)
    assert first is not None
    assert 25 < first - store.read_info().as_of <= 30
    assert cancel(60.0) == cancel(None) == first
    shorter = cancel(0.0)
    assert shorter is not None
    assert -5 < shorter - store.read_info().as_of <= 0
    store.begin_reopen(epoch, "again")
    assert store.read_info().stop_at is None


@pytest.mark.parametrize("status", sorted(ENDED_RUNS))
def test_an_ended_run_has_nothing_in_flight(subject: Subject, status: RunStatus) -> None:
    """It has an end and counts neither queued nor waiting tasks; going on, it has no end."""
    store = subject.store
    epoch = open_run(store)
    store.renew_lease("anna", epoch, 60.0, queued=3, waiting=2)
    store.set_status(status, {RunStatus.RUNNING}, epoch=epoch)
    info = store.read_info()
    assert abs((info.ended_at or 0.0) - info.as_of) < 5
    assert (info.counts["queued"], info.counts["waiting"]) == (0, 0)
    store.set_status(RunStatus.RUNNING, {status})
    assert store.read_info().ended_at is None
