"""What one coordinator of many runs relies on."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from distflow.core.status import RunStatus
from distflow.errors import LeaseHeld, RunGone, StaleEpoch
from distflow.ports.run_store import RunStore
from distflow.ports.service import Renewal
from tests.support.stores import RedisSubject, Subject, claim, final, finish, make_spec, open_run
from tests.support.wait import wait_for

HOUR_MS = 3_600_000

#: More than one script or command of the Redis store names.
MANY = [f"none-{number}" for number in range(1100)]


def _renewal(store: RunStore, epoch: int, *, queued: int = 0, waiting: int = 0) -> Renewal:
    return Renewal(store.run_id, "anna", epoch, 60.0, queued, waiting)


def test_an_announcement_holds_until_it_ends(subject: Subject) -> None:
    """Submitters see whether somebody will lead what they detach: the one that ends first first."""
    service = subject.service
    assert service.list_coordinators() == []
    service.announce("anna", 30.0)
    service.announce("bert", 20.0)
    service.announce("carl", 0.01)
    wait_for(lambda: service.list_coordinators() == ["bert", "anna"], 5, "the third one's end")
    # A repeated one lasts from now on.
    service.announce("bert", 50.0)
    assert service.list_coordinators() == ["anna", "bert"]
    for _ in range(2):
        service.withdraw_announcement("anna")
        assert service.list_coordinators() == ["bert"]


def test_an_announcement_from_the_future_is_none(subject: Subject) -> None:
    """It is of a coordinator that was there before the clock was set back."""
    subject.service.announce("anna", 30.0)
    subject.move_announcement("anna", HOUR_MS)
    subject.service.announce("bert", 5.0)
    assert subject.service.list_coordinators() == ["bert"]


def test_an_announcement_takes_away_those_that_are_over(redis_subject: RedisSubject) -> None:
    """Nothing else ever would; also on a server that is full."""
    service, key = redis_subject.service, f"{redis_subject.prefix}:coordinators"
    for owner in ("anna", "dead", "gone"):
        service.announce(owner, 5.0)
    redis_subject.move_announcement("dead", HOUR_MS)
    redis_subject.move_announcement("gone", -HOUR_MS)
    redis_subject.fill()
    try:
        service.announce("bert", 5.0)
    finally:
        redis_subject.make_room()
    assert redis_subject.client.zrange(key, 0, -1) == [b"anna", b"bert"]


def test_active_runs_are_those_that_somebody_should_lead(subject: Subject) -> None:
    """From the first write of a run until whoever ends it says so."""
    other = subject.connect("run-2")
    assert subject.service.list_active() == set()
    epoch = open_run(subject.store)
    other.create_run(make_spec("run-2"), "creation")
    assert subject.service.list_active() == {"run-1", "run-2"}
    subject.store.release_lease("anna", epoch)
    assert subject.service.list_active() == {"run-1", "run-2"}
    subject.store.release_lease("anna", epoch, is_over=True)
    other.delete_run()
    assert subject.service.list_active() == set()


def test_runs_that_nobody_leads_are_found(subject: Subject) -> None:
    """Among many that do not exist; with what says whether somebody will lead it in a moment."""
    led, made = subject.store, subject.connect("run-2")
    epoch = open_run(led)
    made.create_run(replace(make_spec("run-2"), detached=True), "creation")
    found = subject.service.find_unled([*MANY, "run-1", "run-2"])
    assert found.keys() == {"run-2"}
    assert found["run-2"]._replace(age_seconds=0) == (RunStatus.CREATING, 0, True, False)
    assert -1.5 < found["run-2"].age_seconds < 5
    subject.lapse_lease()
    found = subject.service.find_unled(["run-1"])
    assert found["run-1"]._replace(age_seconds=0) == (RunStatus.RUNNING, 0, False, True)
    led.renew_lease("anna", epoch, 60.0, queued=0, waiting=0)
    assert subject.service.find_unled(["run-1"]) == {}
    assert subject.service.find_unled([]) == {}


def test_leases_of_others_are_shortened_at_once(subject: Subject) -> None:
    """A service that stands by does so; what is not led, or is no run, does no harm."""
    store = subject.store
    open_run(store)
    store.acquire_lease("bert", 0.3, force=True)
    subject.stretch_lease(HOUR_MS)
    subject.service.shorten_leases([*MANY[:101], "run-1"])
    wait_for(lambda: store.read_info().coordinator is None, 5, "the lease to lapse")
    subject.service.shorten_leases(["run-1"])
    assert store.read_info().coordinator is None


def test_a_short_lease_stays_as_it_is(subject: Subject) -> None:
    """Only what lasts longer than it was asked for is shortened, to no less than that."""
    open_run(subject.store)
    subject.service.shorten_leases(["run-1"])
    subject.stretch_lease(-59_000)
    assert subject.store.read_info().coordinator == "anna"
    subject.service.shorten_leases(["run-1"])
    with pytest.raises(LeaseHeld):
        subject.store.acquire_lease("bert", 60.0)


def test_renewals_answer_for_each_lease(subject: Subject) -> None:
    """What happened to one run is no concern of the others; what is kept is published."""
    kept, taken, deleted = subject.store, subject.connect("run-2"), subject.connect("run-3")
    epochs = [open_run(store) for store in (kept, taken, deleted)]
    newer = taken.acquire_lease("bert", 60.0, force=True)
    deleted.delete_run(force=True)
    renewals = [
        *(Renewal(run_id, "anna", 1, 60.0, 0, 0) for run_id in MANY[:101]),
        _renewal(deleted, epochs[2]),
        _renewal(taken, epochs[1]),
        _renewal(kept, epochs[0], queued=1, waiting=1),
    ]
    for _ in range(2):
        *gone, overtaken, renewed = subject.service.renew_leases(renewals)
        assert {type(error) for error in gone} == {RunGone}
        assert len(gone) == 102
        assert isinstance(overtaken, StaleEpoch)
        assert renewed is None
        counts = kept.read_info().counts
        assert (counts["queued"], counts["waiting"]) == (1, 1)
    assert (taken.read_info().coordinator, taken.read_info().epoch) == ("bert", newer)
    assert subject.service.renew_leases([]) == []


def test_a_lease_that_lapsed_is_taken_up_again(subject: Subject) -> None:
    """While nobody else has led the run, it is still its owner's; also on a server that is full."""
    epoch = open_run(subject.store)
    subject.lapse_lease()
    subject.fill()
    try:
        assert subject.service.renew_leases([_renewal(subject.store, epoch)]) == [None]
    finally:
        subject.make_room()
    assert subject.store.read_info().coordinator == "anna"


def test_leases_are_released_as_far_as_they_are_held(subject: Subject) -> None:
    """A run that another leads meanwhile stays with it; one that is gone does no harm."""
    held, taken = subject.store, subject.connect("run-2")
    epochs = {store.run_id: open_run(store) for store in (held, taken)}
    taken.acquire_lease("bert", 60.0, force=True)
    for _ in range(2):
        subject.service.release_leases("anna", {"none": 1, **epochs})
        assert held.read_info().coordinator is None
        assert taken.read_info().coordinator == "bert"
    subject.service.release_leases("anna", {})
    # Who leads next is another: what the first one still sends is refused.
    assert held.acquire_lease("carl", 60.0) > epochs["run-1"]
    (renewed,) = subject.service.renew_leases([_renewal(held, epochs["run-1"])])
    assert isinstance(renewed, StaleEpoch)


def test_events_of_many_runs_are_read_together(subject: Subject) -> None:
    """Each after its own last one; runs without any are left out, as are those that are gone."""
    stores = [subject.connect(run_id) for run_id in ("run-1", "run-2", "run-3")]
    epochs = [open_run(store) for store in stores]
    for store, epoch in zip(stores[:2], epochs, strict=False):
        claim(store, epoch, "a", "t1", start=False)
        finish(store, epoch, final("a", "t1"))
    found = subject.service.read_events(dict.fromkeys(["run-3", "run-2", "run-1", "none"], "0-0"))
    assert found.keys() == {"run-1", "run-2"}
    for events in found.values():
        assert [(event.kind, event.task) for event in events] == [
            ("claimed", "a"),
            ("finished", "a"),
        ]
    claimed = found["run-1"][0].id
    rest = subject.service.read_events({"run-1": claimed, "run-2": found["run-2"][-1].id})
    assert rest == {"run-1": found["run-1"][1:]}


def test_a_read_waits_for_the_first_event_of_any_run(subject: Subject) -> None:
    """As long as it was asked to, and no longer."""
    store, other = subject.connect("run-2"), subject.connect("run-2")
    epoch = open_run(store)
    after = {"run-1": "0-0", "run-2": store.last_event_id()}
    began = time.monotonic()
    assert subject.service.read_events(after, block_ms=30) == {}
    assert time.monotonic() - began >= 0.03
    teller = threading.Timer(0.05, claim, (other, epoch, "a", "t1"))
    teller.start()
    found = subject.service.read_events(after, block_ms=10_000)
    teller.join()
    assert [event.kind for event in found.pop("run-2")] == ["claimed"]
    assert found == {}
    # With no run there is nothing that could come.
    assert subject.service.read_events({}, block_ms=0) == {}
