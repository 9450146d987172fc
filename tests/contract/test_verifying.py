"""What a verify hook says of an unknown task: it counts for the attempt that it was asked about."""

from __future__ import annotations

import pytest

from distflow.core.claim import Code, Progress, Unknown
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import WrongState
from tests.support.stores import (
    Subject,
    claim,
    final,
    finish,
    open_run,
    outcome,
    picture,
    resolve,
)

UNKNOWN = TaskStatus.UNKNOWN


def lose(subject: Subject, epoch: int, attempt: int = 1, lost: int = 0) -> bytes:
    """Task ``a`` starts and its worker is lost; returns the unknown outcome."""
    store = subject.store
    token = f"t{attempt}"
    assert claim(store, epoch, "a", token).code == Code.GRANTED
    unknown = final("a", token, "unknown", attempt=attempt, keep=True)
    unknown = unknown._replace(progress=Progress(attempt + 1, lost=lost))
    assert store.settle_claim(epoch, "b1", unknown) == Code.RECORDED
    return unknown.packed


def test_what_is_asked_about(subject: Subject) -> None:
    """The unknown outcome, with how many workers were lost; nothing where it is not unknown."""
    store = subject.store
    epoch = open_run(store)
    assert store.fetch_unknown("a") is None
    packed = lose(subject, epoch, lost=2)
    last = Progress(2, lost=2, token="t1", started=True)
    assert store.fetch_unknown("a") == Unknown(packed, last)
    resolve(store, "op", "a", "done", outcome("success"), "eva", "")
    assert store.fetch_unknown("a") is None


def test_an_imported_outcome_may_be_asked_about(subject: Subject) -> None:
    """It needs no progress."""
    open_run(subject.store, imported=[("a", outcome("unknown"), None)])
    assert subject.store.fetch_unknown("a") == Unknown(outcome("unknown"), Progress())


def test_a_retry_by_a_hook_gives_no_new_budget(subject: Subject) -> None:
    """Attempts of the generation and losses count on: a task that kills its workers must end."""
    store = subject.store
    epoch = open_run(store)
    asked = lose(subject, epoch)
    for _delivery in range(2):
        status = resolve(store, "op1", "a", "retry", b"", "verify", "", asked=asked)
        assert status == TaskStatus.READY
    assert store.read_progress() == {"a": Progress(2, lost=1, token="op1")}
    asked = lose(subject, epoch, 2, lost=1)
    resolve(store, "op2", "a", "retry", b"", "verify", "", asked=asked)
    assert store.read_progress() == {"a": Progress(3, lost=2, token="op2")}
    assert claim(store, epoch, "a", "t3") == (Code.GRANTED, 3, 1, 0, 2)


def test_a_slow_hook_decides_no_later_attempt(subject: Subject) -> None:
    """Asked about attempt 1, it says nothing of attempt 2: a second start would be a second
    charge.
    """
    store = subject.store
    epoch = open_run(store)
    first = lose(subject, epoch)
    resolve(store, "op1", "a", "retry", b"", "verify", "", asked=first)
    with pytest.raises(WrongState, match="task 'a' is not ended"):
        resolve(store, "op2", "a", "retry", b"", "slow", "", asked=first)
    second = lose(subject, epoch, 2)
    before = picture(subject)
    for decision, packed in (("retry", b""), ("done", outcome("success")), ("undecided", b"")):
        with pytest.raises(WrongState, match="in a later attempt than"):
            resolve(store, "op3", "a", decision, packed, "slow", "", asked=first)  # type: ignore[arg-type]
    assert picture(subject) == before
    resolve(store, "op4", "a", "done", outcome("success"), "verify", "", asked=second)
    assert store.read_statuses(["a"]) == [TaskStatus.SUCCESS]


def test_who_cannot_tell_leaves_it_unknown(subject: Subject) -> None:
    """Undecided: an event for the coordinator and an entry for people, once; a person, another
    hook and the lost worker itself may still say what happened.
    """
    store = subject.store
    epoch = open_run(store)
    asked = lose(subject, epoch)
    store.set_status(RunStatus.BLOCKED, {RunStatus.RUNNING})
    for _delivery in range(2):
        status = resolve(store, "op", "a", "undecided", b"", "verify", "no idea", asked=asked)
        assert status == UNKNOWN
    assert store.fetch_unknown("a") == Unknown(asked, Progress(2, token="t1", started=True))
    assert store.read_status() == RunStatus.BLOCKED
    entry = store.read_history("a")[-1]
    assert (entry.kind, entry.status, entry.by, entry.note) == (
        "asked",
        "undecided",
        "verify",
        "no idea",
    )
    assert [entry.kind for entry in store.read_history("a")] == ["lost", "asked"]
    event = store.read_events("0-0")[-1]
    assert (event.kind, event.status, event.worker, event.note) == (
        "resolved",
        "unknown",
        "verify",
        "no idea",
    )
    assert finish(store, epoch, final("a", "t1")) == Code.RECORDED
    assert store.read_statuses(["a"]) == [TaskStatus.SUCCESS]
    assert store.read_status() == RunStatus.RUNNING


def test_the_lost_worker_and_the_hook(subject: Subject) -> None:
    """Whoever tells first counts; the other is refused, and a worker's outcome is kept."""
    store = subject.store
    epoch = open_run(store)
    asked = lose(subject, epoch)
    assert finish(store, epoch, final("a", "t1", data=1)) == Code.RECORDED
    with pytest.raises(WrongState, match="task 'a' is success"):
        resolve(store, "op", "a", "retry", b"", "verify", "", asked=asked)
    assert store.read_results(["a"]) == [final("a", "t1", data=1).packed]
    claim(store, epoch, "b", "t1")
    unknown = final("b", "t1", "unknown", keep=True)
    store.settle_claim(epoch, "b1", unknown)
    resolve(store, "op", "b", "retry", b"", "verify", "", asked=unknown.packed)
    assert finish(store, epoch, final("b", "t1", keep=True)) == Code.REFUSED
    entry = store.read_history("b")[-1]
    assert (entry.kind, entry.status) == ("refused", "success")
