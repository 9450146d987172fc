"""Notes: what ctx.save keeps for the next attempt and for verify hooks."""

from __future__ import annotations

from distflow.core.claim import Code
from distflow.core.model import Task
from distflow.core.status import RunStatus, TaskStatus
from tests.support.stores import (
    Subject,
    again,
    claim,
    final,
    finish,
    make_spec,
    open_run,
    picture,
    resolve,
)


def test_the_holder_of_a_claim_saves(subject: Subject) -> None:
    """The newest note counts, of each task by itself; to save it again changes nothing."""
    store = subject.store
    epoch = open_run(store)
    assert store.fetch_note("a") is None
    claim(store, epoch, "a", "t1")
    for note in (b"job 1", b"job 2"):
        assert store.save_note("a", "t1", note) == Code.OK
        assert store.fetch_note("a") == note
    before = picture(subject)
    assert store.save_note("a", "t1", b"job 2") == Code.OK
    assert picture(subject) == before
    assert store.fetch_note("b") is None


def test_a_note_outlives_attempts_and_reopenings(subject: Subject) -> None:
    """What an attempt saved is there for the next, and for the next generation."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    store.save_note("a", "t1", b"job")
    finish(store, epoch, again("a", "t1"))
    claim(store, epoch, "a", "t2")
    assert store.fetch_note("a") == b"job"
    finish(store, epoch, final("a", "t2", "failure", attempt=2))
    store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING})
    store.begin_reopen(epoch, "op")
    known = store.read_cut(["a"])[0].progress
    store.reopen_tasks(epoch, [("a", TaskStatus.FAILURE, known or again("a", "").progress, False)])
    assert store.fetch_note("a") == b"job"


def test_who_holds_nothing_saves_nothing(subject: Subject) -> None:
    """A zombie must not write over what the next attempt saved, nor anybody after the end."""
    store = subject.store
    epoch = open_run(store)
    assert store.save_note("a", "t1", b"never claimed") == Code.REFUSED
    claim(store, epoch, "a", "t1")
    assert store.settle_claim(epoch, "b1", again("a", "t1")) == Code.RECORDED
    claim(store, epoch, "a", "t2")
    store.save_note("a", "t2", b"job 2")
    assert store.save_note("a", "t1", b"zombie") == Code.REFUSED
    finish(store, epoch, final("a", "t2"))
    assert store.save_note("a", "t2", b"too late") == Code.REFUSED
    assert store.fetch_note("a") == b"job 2"


def test_an_attempt_that_was_given_up_as_unknown_still_saves(subject: Subject) -> None:
    """Its outcome would be believed, and so is its note, until somebody decides."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    store.settle_claim(epoch, "b1", final("a", "t1", "unknown"))
    assert store.save_note("a", "t2", b"another") == Code.REFUSED
    assert store.save_note("a", "t1", b"job") == Code.OK
    assert store.fetch_note("a") == b"job"
    resolve(store, "op", "a", "retry", b"", "eva", "")
    assert store.save_note("a", "t1", b"too late") == Code.REFUSED
    assert store.fetch_note("a") == b"job"


def test_notes_are_put_into_a_run_that_is_made(subject: Subject) -> None:
    """A snapshot brings them."""
    store = subject.store
    store.create_run(make_spec(), "creation")
    store.append_tasks("creation", 0, [Task("a", "pkg.tasks:work")])
    for _delivery in range(2):
        store.hydrate_notes("creation", [("a", b"job")])
    store.seal_run("creation", 1)
    assert picture(subject).notes == {"a": b"job"}


def test_no_note_of_a_deleted_run(subject: Subject) -> None:
    """GONE, and none to be read."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    store.save_note("a", "t1", b"job")
    store.delete_run(force=True)
    assert store.save_note("a", "t1", b"job") == Code.GONE
    assert store.fetch_note("a") is None
    assert store.fetch_unknown("a") is None
