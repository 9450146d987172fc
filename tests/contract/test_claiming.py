"""Batches, claims, starts and beats."""

from __future__ import annotations

import pytest

from distflow.core.claim import ClaimReply, ClaimRequest, Code, Progress
from distflow.core.status import RunStatus
from distflow.wire.codec import unpack
from tests.support.stores import Subject, again, claim, final, finish, open_run, picture


def test_a_batch_is_told_what_its_tasks_need(subject: Subject) -> None:
    """begin_batch answers OK with parameters, origin, context, the size limit and whether to wait
    for the disk, and beats.
    """
    epoch = open_run(subject.store)
    opening = subject.store.begin_batch(epoch, "b1", "w1", "job-1")
    assert opening.code == Code.OK
    assert unpack(opening.params) == {"day": "2026-01-01"}
    assert opening[2:] == ("0123abcd", "pkg.module:factory", 16 * 1024 * 1024, False)
    beat = subject.store.read_beats()["b1"]
    assert (beat.worker, beat.job, beat.task) == ("w1", "job-1", "")
    assert abs(beat.at / 1000 - subject.store.read_info().as_of) < 5


def test_a_granted_claim_is_held(subject: Subject) -> None:
    """GRANTED: the claim stands with the numbers of its attempt, started where asked."""
    epoch = open_run(subject.store)
    reply = claim(subject.store, epoch, "a", "t1")
    assert reply == (Code.GRANTED, 1, 1, 0, 0)
    claim(subject.store, epoch, "b", "t2", start=False)
    held = subject.store.read_claims()
    assert held["a"][:4] == (1, 1, "t1", "b1")
    assert held["a"].started == held["a"].claimed > 0
    assert held["b"].started == 0
    events = subject.store.read_events("0-0")
    assert [(e.kind, e.task, e.attempt, e.batch) for e in events] == [
        ("claimed", "a", 1, "b1"),
        ("claimed", "b", 1, "b1"),
    ]
    assert subject.store.read_info().counts["running"] == 2


def test_a_claim_carries_on_with_the_numbers_of_the_progress(subject: Subject) -> None:
    """Attempts, iterations and losses count on over claims."""
    epoch = open_run(subject.store)
    claim(subject.store, epoch, "a", "t1")
    finish(subject.store, epoch, again("a", "t1", iteration=4, base=1, lost=2))
    assert claim(subject.store, epoch, "a", "t2") == (Code.GRANTED, 2, 4, 1, 2)


def test_a_task_with_an_outcome_is_done(subject: Subject) -> None:
    """DONE: promise 1, whatever the outcome is."""
    names = ["success", "failure", "skipped", "cancelled", "unknown"]
    epoch = open_run(subject.store, *names)
    for name in names:
        claim(subject.store, epoch, name, "t1")
        finish(subject.store, epoch, final(name, "t1", name))
        before = picture(subject)
        assert claim(subject.store, epoch, name, "t2").code == Code.DONE
        assert picture(subject) == before


def test_a_held_task_is_busy(subject: Subject) -> None:
    """BUSY: one claim at a time, also within a batch."""
    epoch = open_run(subject.store)
    claim(subject.store, epoch, "a", "t1")
    subject.store.begin_batch(epoch, "b2", "w1", "job")
    before = picture(subject)
    assert claim(subject.store, epoch, "a", "t2").code == Code.BUSY
    assert claim(subject.store, epoch, "a", "t3", batch="b2").code == Code.BUSY
    assert picture(subject) == before


@pytest.mark.parametrize("group", [False, True])
def test_a_task_that_is_claimed_twice_in_one_call_is_busy(subject: Subject, group: bool) -> None:
    """BUSY for the second: a batch that names a task twice runs it once. The claim is the first
    one's.
    """
    epoch = open_run(subject.store)
    subject.store.begin_batch(epoch, "b1", "w1", "job")
    wanted = [ClaimRequest("a", token, True, (), group) for token in ("t1", "t2")]
    replies = subject.store.advance(epoch, "b1", claims=wanted).claims
    assert [reply.code for reply in replies] == [Code.GRANTED, Code.BUSY]
    assert subject.store.read_claims()["a"].token == "t1"
    assert finish(subject.store, epoch, final("a", "t2")) == Code.REFUSED
    assert finish(subject.store, epoch, final("a", "t1")) == Code.RECORDED


@pytest.mark.parametrize(
    ("status", "tolerated", "code"),
    [
        ("success", False, Code.GRANTED),
        ("failure", True, Code.GRANTED),
        ("failure", False, Code.NOT_READY),
        ("skipped", True, Code.NOT_READY),
        ("cancelled", True, Code.NOT_READY),
        ("unknown", True, Code.NOT_READY),
        (None, True, Code.NOT_READY),
    ],
)
def test_a_task_waits_for_its_dependencies_in_the_batch(
    subject: Subject, status: str | None, tolerated: bool, code: Code
) -> None:
    """NOT_READY unless each is a success, or a failure that is tolerated."""
    epoch = open_run(subject.store)
    claim(subject.store, epoch, "a", "t1")
    if status:
        finish(subject.store, epoch, final("a", "t1", status))
    assert claim(subject.store, epoch, "b", "t2", needs=(("a", tolerated),)).code == code


def test_outcomes_are_recorded_before_claims_are_asked(subject: Subject) -> None:
    """One round trip records a task and claims the one that needs it."""
    epoch = open_run(subject.store)
    claim(subject.store, epoch, "a", "t1")
    wanted = ClaimRequest("b", "t2", True, (("a", False),))
    answer = subject.store.advance(epoch, "b1", [final("a", "t1")], [wanted])
    assert answer.finishes == (Code.RECORDED,)
    assert answer.claims == ((Code.GRANTED, 1, 1, 0, 0),)


def test_a_waiting_task_is_not_ready_before_its_time(subject: Subject) -> None:
    """NOT_READY until the time has come by the clock of the store."""
    epoch = open_run(subject.store)
    claim(subject.store, epoch, "a", "t1")
    finish(subject.store, epoch, again("a", "t1", delay_ms=60_000))
    subject.set_clock(50_000)
    assert claim(subject.store, epoch, "a", "t2").code == Code.NOT_READY
    subject.set_clock(61_000)
    assert claim(subject.store, epoch, "a", "t2").code == Code.GRANTED


def test_what_started_at_most_once_is_never_claimed(subject: Subject) -> None:
    """NOT_READY: promise 3 holds for a snapshot whose outcome is missing, too."""
    imported = [("a", None, Progress(2, started=True))]
    epoch = open_run(subject.store, imported=imported)
    subject.store.begin_batch(epoch, "b1", "w1", "job")
    before = picture(subject)
    assert claim(subject.store, epoch, "a", "t1").code == Code.NOT_READY
    assert picture(subject) == before


def test_as_many_batches_as_the_run_allows_hold_claims(subject: Subject) -> None:
    """LIMIT counts the other batches: the holder of a claim may take more."""
    store = subject.store
    epoch = open_run(store, "a", "b", "c", "d", concurrency=2)
    assert claim(store, epoch, "a", "t1", batch="b1").code == Code.GRANTED
    assert claim(store, epoch, "b", "t2", batch="b2").code == Code.GRANTED
    assert claim(store, epoch, "c", "t3", batch="b3").code == Code.LIMIT
    assert claim(store, epoch, "c", "t4", batch="b2").code == Code.GRANTED
    finish(store, epoch, final("a", "t1"))
    assert claim(store, epoch, "d", "t5", batch="b3").code == Code.GRANTED


def test_what_an_older_coordinator_sent_is_void(subject: Subject) -> None:
    """STALE_EPOCH, for batches and for claims; what is held already goes on and is recorded."""
    store = subject.store
    old = open_run(store)
    claim(store, old, "a", "t1")
    new = store.acquire_lease("bert", 60.0, force=True)
    before = picture(subject)
    assert store.begin_batch(old, "b2", "w1", "job").code == Code.STALE_EPOCH
    assert claim(store, old, "b", "t2").code == Code.STALE_EPOCH
    assert claim(store, old, "a", "t1") == (Code.GRANTED, 1, 1, 0, 0)
    assert picture(subject) == before
    assert finish(store, old, final("a", "t1")) == Code.RECORDED
    assert claim(store, new, "b", "t2").code == Code.GRANTED


@pytest.mark.parametrize("status", [s for s in RunStatus if s != RunStatus.RUNNING])
def test_a_run_that_does_not_run_starts_nothing(subject: Subject, status: RunStatus) -> None:
    """STOPPED in every status but running; what is held is still recorded."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    store.set_status(status, {RunStatus.RUNNING})
    assert store.begin_batch(epoch, "b2", "w1", "job").code == Code.STOPPED
    assert claim(store, epoch, "b", "t2").code == Code.STOPPED
    assert claim(store, epoch, "a", "t1").code == Code.GRANTED
    assert finish(store, epoch, final("a", "t1")) == Code.RECORDED
    assert store.read_status() == status


def test_a_deleted_run_is_gone(subject: Subject) -> None:
    """GONE is what every call of a worker is answered, and nothing is written."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    store.delete_run(force=True)
    wanted = ClaimRequest("b", "t2", True)
    answer = store.advance(epoch, "b1", [final("a", "t1")], [wanted], ending=True)
    assert answer.finishes == (Code.GONE,)
    assert [reply.code for reply in answer.claims] == [Code.GONE]
    assert store.begin_batch(epoch, "b1", "w1", "job").code == Code.GONE
    assert store.start_task("a", "t1") == Code.GONE
    assert store.beat("b1", "w1", "job", "") == (Code.GONE, "")
    assert store.read_cut(["a"]) == [(None, None, None, None)]
    assert store.read_events("0-0") == []
    assert store.last_event_id() == "0-0"


def test_only_the_holder_starts_a_task(subject: Subject) -> None:
    """start_task: GRANTED to the token that holds the claim, again too, and REFUSED to others."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1", start=False)
    assert store.start_task("a", "other") == Code.REFUSED
    assert store.start_task("b", "t1") == Code.REFUSED
    assert store.read_claims()["a"].started == 0
    assert store.start_task("a", "t1") == Code.GRANTED
    assert store.read_claims()["a"].started > 0
    before = picture(subject)
    subject.set_clock(1000)
    assert store.start_task("a", "t1") == Code.GRANTED
    assert picture(subject) == before


def test_a_cancelled_run_starts_not_even_what_is_claimed(subject: Subject) -> None:
    """start_task: STOPPED while the run is being cancelled, but not while it is paused."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1", start=False)
    claim(store, epoch, "b", "t2", start=False)
    store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    assert store.start_task("a", "t1") == Code.GRANTED
    store.set_status(RunStatus.CANCELLING, {RunStatus.PAUSED})
    assert store.start_task("b", "t2") == Code.STOPPED
    assert store.read_claims()["b"].started == 0
    # What has started before is told so again: its call is under way.
    assert store.start_task("a", "t1") == Code.GRANTED


def test_a_beat_tells_of_its_batch_and_hears_of_its_run(subject: Subject) -> None:
    """beat: OK with the status of the run."""
    store = subject.store
    epoch = open_run(store)
    store.begin_batch(epoch, "b1", "w1", "job")
    begun = store.read_beats()["b1"]
    subject.set_clock(5000)
    assert store.beat("b1", "w1", "job", "a") == (Code.OK, "running")
    assert not store.read_beats()["b1"].overdue
    assert store.beat("b1", "w1", "job", "a", overdue=True) == (Code.OK, "running")
    assert store.read_beats()["b1"].overdue
    beat = store.read_beats()["b1"]
    assert beat.task == "a"
    assert 5000 <= beat.at - begun.at < 10_000
    store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING})
    assert store.beat("b1", "w1", "job", "a") == (Code.OK, "cancelling")


def test_a_batch_that_was_given_up_does_not_come_back(subject: Subject) -> None:
    """beat: REFUSED after end_batch, and for a batch that never began."""
    store = subject.store
    epoch = open_run(store)
    store.begin_batch(epoch, "b1", "w1", "job")
    store.end_batch(epoch, "b1")
    assert store.beat("b1", "w1", "job", "") == (Code.REFUSED, "")
    assert store.beat("b2", "w1", "job", "") == (Code.REFUSED, "")
    assert store.read_beats() == {}
    # Its last script has nothing to add: whoever gave it up knows.
    store.advance(epoch, "b1", ending=True, unstarted=["a"])
    assert store.read_events("0-0") == []


def test_a_batch_ends_with_what_it_did_not_start(subject: Subject) -> None:
    """The ending names what is to be dispatched again, once."""
    store = subject.store
    epoch = open_run(store)
    store.begin_batch(epoch, "b1", "w1", "job")
    for _delivery in range(2):
        store.advance(epoch, "b1", ending=True, unstarted=["a", "b"])
    ended = store.read_events("0-0")
    assert [(e.kind, e.batch, e.unstarted) for e in ended] == [("batch_ended", "b1", ("a", "b"))]
    assert store.read_beats() == {}


def test_a_batch_that_was_given_up_claims_nothing(subject: Subject) -> None:
    """STOPPED: a worker that comes back to a batch that others have now must not go on with it,
    since nobody would watch its claims.
    """
    store = subject.store
    epoch = open_run(store, "a", "b")
    assert claim(store, epoch, "a", "t1").code == Code.GRANTED
    assert store.end_batch(epoch, "b1") == Code.BUSY
    assert store.settle_claim(epoch, "b1", again("a", "t1")) == Code.RECORDED
    assert store.end_batch(epoch, "b1") == Code.OK
    assert claim(store, epoch, "b", "t2", begin=False).code == Code.STOPPED
    assert claim(store, epoch, "b", "t3", batch="b2", begin=False).code == Code.STOPPED
    assert claim(store, epoch, "b", "t4", batch="b2").code == Code.GRANTED


def test_a_claim_that_has_told_its_outcome_is_not_granted_again(subject: Subject) -> None:
    """NOT_READY: a delivery that the network held back finds its token used up."""
    store = subject.store
    epoch = open_run(store, "a")
    assert claim(store, epoch, "a", "t1").code == Code.GRANTED
    assert finish(store, epoch, again("a", "t1")) == Code.RECORDED
    assert claim(store, epoch, "a", "t1").code == Code.NOT_READY
    assert claim(store, epoch, "a", "t2").code == Code.GRANTED


def test_an_entry_that_is_queued_twice_disturbs_nobody(subject: Subject) -> None:
    """STOPPED: the second worker leaves the batch, its beat and its claim to the first."""
    store = subject.store
    epoch = open_run(store, "a")
    assert store.begin_batch(epoch, "b1", "w1", "b1").code == Code.OK
    assert claim(store, epoch, "a", "t1", begin=False).code == Code.GRANTED
    before = picture(subject)
    assert store.begin_batch(epoch, "b1", "w2", "b1").code == Code.STOPPED
    assert picture(subject) == before
    assert store.begin_batch(epoch, "b1", "w1", "b1").code == Code.OK


def test_a_group_claims_what_rests_on_its_own_claims(subject: Subject) -> None:
    """A chain is claimed at once by the batch that runs it in order; not on another's claim, and
    not without asking for a group.
    """
    store = subject.store
    epoch = open_run(store, "a", "b", "c")
    for batch in ("b1", "b2"):
        store.begin_batch(epoch, batch, "w", f"job-{batch}")

    def chain(batch: str, *, group: bool) -> list[Code]:
        requests = [
            ClaimRequest("a", f"{batch}-a", start=True, group=group),
            ClaimRequest("b", f"{batch}-b", start=True, needs=(("a", False),), group=group),
            ClaimRequest("c", f"{batch}-c", start=True, needs=(("b", False),), group=group),
        ]
        return [reply.code for reply in store.advance(epoch, batch, (), requests).claims]

    assert chain("b1", group=False) == [Code.GRANTED, Code.NOT_READY, Code.NOT_READY]
    assert chain("b2", group=True) == [Code.BUSY, Code.NOT_READY, Code.NOT_READY]
    assert chain("b1", group=True) == [Code.GRANTED] * 3


def test_of_a_quiet_claim_no_event_tells(subject: Subject) -> None:
    """Its end tells enough; it is held as any other."""
    store = subject.store
    epoch = open_run(store, "a", "b")
    store.begin_batch(epoch, "b1", "w", "job")
    store.advance(epoch, "b1", (), [ClaimRequest("a", "t1", start=True, quiet=True)])
    after = [final("a", "t1")]
    store.advance(epoch, "b1", after, [ClaimRequest("b", "t2", start=True)])
    told = [(event.kind, event.task) for event in store.read_events("0-0")]
    assert told == [("finished", "a"), ("claimed", "b")]
    assert set(store.read_claims()) == {"b"}


def test_what_a_call_finishes_it_may_claim_again(subject: Subject) -> None:
    """A task that is to run again, claimed by the very call that says so."""
    store = subject.store
    epoch = open_run(store, "a")
    assert claim(store, epoch, "a", "t1").code == Code.GRANTED
    wanted = [ClaimRequest("a", "t2", start=True)]
    advanced = store.advance(epoch, "b1", [again("a", "t1")], wanted)
    assert advanced.finishes == (Code.RECORDED,)
    assert advanced.claims[0][:2] == (Code.GRANTED, 2)


def test_a_claim_that_is_given_back_is_free(subject: Subject) -> None:
    """What was claimed ahead and not begun is released: another batch may claim it, and the attempt
    is not used up. Another's claim is not released.
    """
    store = subject.store
    epoch = open_run(store, "a", "b")
    for batch in ("b1", "b2"):
        store.begin_batch(epoch, batch, "w", f"job-{batch}")
    store.advance(epoch, "b1", (), [ClaimRequest("a", "t1", start=True)])
    store.advance(epoch, "b2", (), [ClaimRequest("b", "t2", start=True)])
    for _delivery in range(2):
        store.advance(epoch, "b1", released=[("a", "t1"), ("b", "t1")])
    assert set(store.read_claims()) == {"b"}
    assert [event.kind for event in store.read_events("0-0")] == ["claimed", "claimed", "released"]
    again = store.advance(epoch, "b2", (), [ClaimRequest("a", "t3", start=True)])
    assert again.claims[0] == ClaimReply(Code.GRANTED, 1, 1, 0, 0)
