"""Outcomes: recorded once, repeated, refused, late."""

from __future__ import annotations

import hashlib

import msgpack
import pytest

from distflow.core.claim import Code, Finish, Progress
from distflow.core.model import Metrics
from distflow.core.run import Event
from distflow.core.status import RunStatus, TaskStatus
from tests.support.stores import (
    RedisSubject,
    Subject,
    again,
    claim,
    final,
    finish,
    open_run,
    outcome,
    picture,
)

OUTCOMES = ["success", "failure", "skipped", "cancelled", "unknown"]


def give_up(subject: Subject, epoch: int, task: str, token: str) -> Finish:
    """The coordinator takes the worker of a started task for lost."""
    unknown = final(task, token, "unknown", keep=True)
    assert subject.store.settle_claim(epoch, "b1", unknown) == Code.RECORDED
    return unknown


@pytest.mark.parametrize("status", OUTCOMES)
def test_an_outcome_is_recorded_once(subject: Subject, status: str) -> None:
    """RECORDED: the result, its counter and one event; the claim is gone; repeated, it is told."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    done = final("a", "t1", status)
    assert finish(store, epoch, done) == Code.RECORDED
    after = picture(subject)
    assert after.results == {"a": done.packed}
    assert after.claims == {}
    assert store.read_info().counts[status] == 1
    assert store.read_statuses(["a", "b"]) == [TaskStatus(status), None]
    assert store.fetch_results(["b", "a"]) == store.read_results(["b", "a"]) == [None, done.packed]
    ended = store.read_events("0-0")[-1]
    assert ended == Event(
        ended.id, "finished", "a", status=status, attempt=1, worker="w1", duration=0.25
    )
    assert finish(store, epoch, done) == Code.RECORDED
    assert picture(subject) == after


def test_only_an_unknown_outcome_leaves_progress(subject: Subject) -> None:
    """Of an unknown outcome the token stays, by which its true one may be told."""
    store = subject.store
    epoch = open_run(store)
    for task, status in (("a", "unknown"), ("b", "failure")):
        claim(store, epoch, task, "t1")
        finish(store, epoch, final(task, "t1", status))
    assert store.read_progress() == {"a": Progress(2, token="t1", started=True)}


@pytest.mark.parametrize(
    ("status", "following", "kind"),
    [("failure", 2, "retried"), ("failure", 1, "looped"), ("success", 1, "looped")],
)
def test_a_wait_is_recorded_once(subject: Subject, status: str, following: int, kind: str) -> None:
    """RECORDED: progress and one event, no result; what the attempt brought is in the history."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    wait = again("a", "t1", delay_ms=60_000)
    wait = wait._replace(status=status, progress=Progress(following))
    assert finish(store, epoch, wait) == Code.RECORDED
    after = picture(subject)
    known = store.read_progress()["a"]
    assert known == Progress(following, not_before=known.not_before, token="t1")
    assert (after.results, after.claims) == ({}, {})
    (entry,) = store.read_history()
    assert entry.kind == kind
    assert (entry.task, entry.attempt, entry.by, entry.packed) == ("a", 1, "w1", wait.packed)
    event = store.read_events("0-0")[-1]
    assert (event.kind, event.task, event.attempt) == ("waiting", "a", 1)
    assert event.not_before == known.not_before
    assert 50_000 < known.not_before - entry.at * 1000 <= 60_001
    assert finish(store, epoch, wait) == Code.RECORDED
    assert picture(subject) == after


def test_a_wait_is_told_again_after_the_next_claim(subject: Subject) -> None:
    """A delivery that was late on its way disturbs no claim that another holds since."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    finish(store, epoch, again("a", "t1"))
    claim(store, epoch, "a", "t2", batch="b2")
    before = picture(subject)
    assert finish(store, epoch, again("a", "t1")) == Code.RECORDED
    assert picture(subject) == before


@pytest.mark.parametrize("first", ["success", "failure", "skipped", "cancelled"])
@pytest.mark.parametrize("later", ["success", "failure", "wait"])
def test_a_recorded_outcome_is_never_replaced(subject: Subject, first: str, later: str) -> None:
    """REFUSED, also under the very token that brought the first: promise 2; evidence is kept."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    finish(store, epoch, final("a", "t1", first))
    for number, token in enumerate(("t1", "t2"), 1):
        message = f"of {token}"
        rival = again("a", token) if later == "wait" else final("a", token, later, message=message)
        before = picture(subject)
        assert finish(store, epoch, rival) == Code.REFUSED
        after = picture(subject)
        assert after.results == before.results
        assert after.progress == before.progress
        assert after.info == before.info
        entry = store.read_history("a")[-1]
        assert (entry.kind, entry.by, entry.packed) == ("refused", "w1", rival.packed)
        assert len(store.read_history("a")) == number
        assert store.read_events("0-0")[-1].kind == "refused"


def test_a_token_that_holds_nothing_records_nothing(subject: Subject) -> None:
    """REFUSED where another token holds the claim, and where none does."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    for task in ("a", "b"):
        for rival in (final(task, "t9"), again(task, "t9")):
            assert finish(store, epoch, rival) == Code.REFUSED
    assert store.read_claims()["a"].token == "t1"
    assert store.read_progress() == {}
    assert subject.raw_results() == {}
    assert [entry.kind for entry in store.read_history()] == ["refused"] * 4
    assert finish(store, epoch, final("a", "t1")) == Code.RECORDED


def test_the_token_of_a_lost_attempt_that_goes_on_holds_nothing(subject: Subject) -> None:
    """REFUSED: the claim was given up and the task waits for another."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    lost = again("a", "t1")
    assert store.settle_claim(epoch, "b1", lost) == Code.RECORDED
    for rival in (final("a", "t1"), lost):
        assert finish(store, epoch, rival) == Code.REFUSED
    assert claim(store, epoch, "a", "t2").code == Code.GRANTED
    assert finish(store, epoch, final("a", "t1")) == Code.REFUSED
    assert finish(store, epoch, final("a", "t2")) == Code.RECORDED


@pytest.mark.parametrize("status", ["success", "failure", "cancelled", "unknown"])
def test_the_worker_of_an_unknown_task_tells_how_it_ended(subject: Subject, status: str) -> None:
    """RECORDED: the token that was lost reports after all; what stood before is in the history."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    unknown = give_up(subject, epoch, "a", "t1")
    late = final("a", "t1", status, message="after all", keep=True)
    assert finish(store, epoch, late) == Code.RECORDED
    after = picture(subject)
    assert after.results == {"a": late.packed}
    entry = store.read_history("a")[-1]
    assert (entry.kind, entry.status, entry.packed) == ("late", "unknown", unknown.packed)
    assert store.read_events("0-0")[-1].kind == "finished"
    assert finish(store, epoch, late) == Code.RECORDED
    assert picture(subject) == after


def test_the_worker_of_an_unknown_task_vouches_that_nothing_happened(subject: Subject) -> None:
    """RECORDED: a late NotDone lets the task run again."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    give_up(subject, epoch, "a", "t1")
    assert finish(store, epoch, again("a", "t1")) == Code.RECORDED
    after = picture(subject)
    assert after.results == {}
    assert finish(store, epoch, again("a", "t1")) == Code.RECORDED
    assert picture(subject) == after
    assert claim(store, epoch, "a", "t2") == (Code.GRANTED, 2, 1, 0, 0)


def test_another_token_does_not_decide_an_unknown_task(subject: Subject) -> None:
    """REFUSED: only the token that was lost knows."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    unknown = give_up(subject, epoch, "a", "t1")
    for rival in (final("a", "t2"), again("a", "t2")):
        assert finish(store, epoch, rival) == Code.REFUSED
    assert subject.raw_results() == {"a": unknown.packed}


def test_a_token_reopens_no_other_outcome_than_an_unknown(subject: Subject) -> None:
    """REFUSED: not even progress from a snapshot lets a token replace what is final."""
    imported = [("a", outcome("failure"), Progress(2, token="t1"))]
    epoch = open_run(subject.store, imported=imported)
    for rival in (final("a", "t1"), again("a", "t1")):
        assert finish(subject.store, epoch, rival) == Code.REFUSED
    assert subject.raw_results() == {"a": outcome("failure")}


def test_a_late_outcome_lets_a_blocked_run_go_on(subject: Subject) -> None:
    """Promise 4: a run that stood still for a decision is running when it has been made."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    give_up(subject, epoch, "a", "t1")
    store.set_status(RunStatus.BLOCKED, {RunStatus.RUNNING}, epoch=epoch)
    finish(store, epoch, final("a", "t1"))
    assert store.read_status() == RunStatus.RUNNING
    assert store.read_info().ended_at is None


def test_a_result_is_a_plain_map(redis_subject: RedisSubject) -> None:
    """Any msgpack library reads the results hash: a map with the field names, data as it is."""
    store = redis_subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    done = final("a", "t1", data={"rows": [1, 2], 7: b"x"}, metrics=Metrics(10.5, 12.0, 1.5))
    finish(store, epoch, done)
    claim(store, epoch, "b", "t2")
    finish(store, epoch, final("b", "t2", "failure", message="no", error="E: no", traceback="…"))
    raw = redis_subject.client.hgetall(redis_subject.keys.results)
    plain = {task: msgpack.unpackb(packed, strict_map_key=False) for task, packed in raw.items()}
    assert plain == {
        b"a": {
            "status": "success",
            "data": {"rows": [1, 2], 7: b"x"},
            "metrics": {"start_time": 10.5, "end_time": 12.0, "duration": 1.5},
            "attempt": 1,
        },
        b"b": {
            "status": "failure",
            "message": "no",
            "error": "E: no",
            "data": None,
            "attempt": 1,
            "traceback": "…",
        },
    }


def test_a_large_value_is_in_the_history_as_its_digest(subject: Subject) -> None:
    """Over 64 KiB, the history has size and SHA-1; up to that, the bytes themselves."""
    store = subject.store
    epoch = open_run(store)
    frame = len(outcome("success", data="x" * 65_000)) - 65_000
    for size in (64 * 1024, 64 * 1024 + 1):
        done = final("a", "t1", data="x" * (size - frame), attempt=1)
        assert len(done.packed) == size
        finish(store, epoch, done)
        entry = store.read_history()[-1]
        if size == 64 * 1024:
            assert (entry.packed, entry.note) == (done.packed, "")
        else:
            digest = hashlib.sha1(done.packed).hexdigest()
            assert (entry.packed, entry.note) == (None, f"{size} bytes, SHA-1 {digest}")


def test_the_history_forgets_the_oldest_but_no_evidence(subject: Subject) -> None:
    """10,000 entries, and the evidence of at_most_once tasks for ever."""
    store = subject.store
    epoch = open_run(store)
    kept = 3

    def refuse(numbers: range, *, keep: bool) -> None:
        refused = [Finish("a", f"t{n}", n, "final", "failure", b"", keep=keep) for n in numbers]
        for start in range(0, len(refused), 500):
            store.advance(epoch, "b1", refused[start : start + 500])

    refuse(range(1, 3), keep=False)
    refuse(range(3, 3 + kept), keep=True)
    refuse(range(6, 10_004), keep=False)
    assert [entry.attempt for entry in store.read_history()] == list(range(1, 10_004))
    refuse(range(10_004, 10_054), keep=False)
    expected = [*range(3, 6), *range(54, 10_054)]
    assert [entry.attempt for entry in store.read_history()] == expected
