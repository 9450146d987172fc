"""A person's resume, and the decisions on unknown tasks."""

from __future__ import annotations

import pytest

from distflow.core.claim import Code, Progress
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import WrongState
from tests.support.stores import (
    Imported,
    Subject,
    again,
    claim,
    final,
    finish,
    make_spec,
    open_run,
    outcome,
    picture,
    resolve,
)

FAILURE, SKIPPED, CANCELLED = TaskStatus.FAILURE, TaskStatus.SKIPPED, TaskStatus.CANCELLED
ALL = ("success", "failure", "skipped", "cancelled", "unknown", "absent")


def ended_run(subject: Subject) -> int:
    """A run with a task of each outcome; returns the epoch."""
    store = subject.store
    imported: list[Imported] = [(name, outcome(name, attempt=1), None) for name in ALL[:5]]
    imported[4] = ("unknown", outcome("unknown"), Progress(2, token="t1", started=True))
    epoch = open_run(store, *ALL, imported=imported)
    store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, reason="a timeout")
    return epoch


def test_a_reopening_begins_a_generation(subject: Subject) -> None:
    """Claims are refused; begun again, or continued by another, it is the same generation."""
    store = subject.store
    epoch = ended_run(subject)
    store.begin_reopen(epoch, "first")
    info = store.read_info()
    assert (info.status, info.generation, info.reason) == (RunStatus.REOPENING, 2, None)
    assert claim(store, epoch, "absent", "t1").code == Code.STOPPED
    before = picture(subject)
    store.begin_reopen(epoch, "first")
    assert picture(subject) == before
    later = store.acquire_lease("bert", 60.0, force=True)
    store.begin_reopen(later, "second")
    assert store.read_info().generation == 2
    store.set_status(RunStatus.RUNNING, {RunStatus.REOPENING}, epoch=later)
    store.begin_reopen(later, "third")
    assert store.read_info().generation == 3


def test_a_reopening_that_has_ended_is_not_begun_by_a_late_delivery(subject: Subject) -> None:
    """The run would stand still, and nobody would know."""
    store = subject.store
    epoch = ended_run(subject)
    store.begin_reopen(epoch, "first")
    store.set_status(RunStatus.RUNNING, {RunStatus.REOPENING}, epoch=epoch)
    before = picture(subject)
    store.begin_reopen(epoch, "first")
    assert picture(subject) == before


def test_a_run_without_its_graph_is_not_reopened(subject: Subject) -> None:
    """Its submission was cut off: the message says what to do."""
    store = subject.store
    store.create_run(make_spec(), "creation")
    epoch = store.acquire_lease("anna", 60.0)
    with pytest.raises(WrongState, match=r"never completely submitted: .*distflow delete run-1"):
        store.begin_reopen(epoch, "first")
    assert store.read_status() == RunStatus.CREATING


def test_what_the_caller_saw_is_set_aside(subject: Subject) -> None:
    """Promise 5: failure, skipped and cancelled run again, with the progress that was given."""
    store = subject.store
    epoch = ended_run(subject)
    store.begin_reopen(epoch, "first")
    next_try = Progress(2, base=1)
    seen: list[TaskStatus | None] = [TaskStatus(name) for name in ALL[:5]]
    items = [
        (name, status, next_try, name == "failure")
        for name, status in zip(ALL, [*seen, None], strict=True)
    ]
    store.reopen_tasks(epoch, items)
    after = picture(subject)
    assert set(after.results) == {"success", "unknown"}
    assert store.read_progress() == {
        **dict.fromkeys(("failure", "skipped", "cancelled", "absent"), next_try),
        "unknown": Progress(2, token="t1", started=True),
    }
    aside = [(e.kind, e.task, e.status, e.packed) for e in store.read_history()]
    assert aside == [
        ("set_aside", name, name, outcome(name, attempt=1))
        for name in ("failure", "skipped", "cancelled")
    ]
    store.set_status(RunStatus.RUNNING, {RunStatus.REOPENING}, epoch=epoch)
    for name in ("failure", "skipped", "cancelled", "absent"):
        assert claim(store, epoch, name, f"again-{name}") == (Code.GRANTED, 2, 1, 1, 0)
    for name in ("success", "unknown"):
        assert claim(store, epoch, name, "t9").code == Code.DONE


def test_setting_aside_again_changes_nothing(subject: Subject) -> None:
    """The reply was lost: no second entry in the history, no second count."""
    store = subject.store
    epoch = ended_run(subject)
    store.begin_reopen(epoch, "first")
    items = [("failure", FAILURE, Progress(2, base=1), False)]
    store.reopen_tasks(epoch, items)
    before = picture(subject)
    store.reopen_tasks(epoch, items)
    assert picture(subject) == before


def test_what_the_caller_did_not_see_stays(subject: Subject) -> None:
    """A live worker told it since: it may be the failure of a task that must not start again."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    store.begin_reopen(epoch, "first")
    finish(store, epoch, final("a", "t1", "failure", started=True))
    before = picture(subject)
    store.reopen_tasks(epoch, [("a", None, Progress(), False)])
    store.reopen_tasks(epoch, [("a", SKIPPED, Progress(), False)])
    store.reopen_tasks(epoch, [("b", FAILURE, Progress(5), False)])
    assert picture(subject) == before


def test_a_live_claim_is_not_reopened(subject: Subject) -> None:
    """Its numbers stay, and its outcome is recorded."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    store.begin_reopen(epoch, "first")
    before = picture(subject)
    store.reopen_tasks(epoch, [("a", None, Progress(7), False)])
    assert picture(subject) == before
    assert finish(store, epoch, final("a", "t1")) == Code.RECORDED


def test_a_reopening_that_was_cut_off_goes_on(subject: Subject) -> None:
    """Half was set aside, the coordinator died: its successor sets aside the rest."""
    store = subject.store
    epoch = ended_run(subject)
    store.begin_reopen(epoch, "first")
    store.reopen_tasks(epoch, [("skipped", SKIPPED, Progress(2, base=1), False)])
    later = store.acquire_lease("bert", 60.0, force=True)
    store.begin_reopen(later, "second")
    rest = [
        ("skipped", None, Progress(2, base=1), False),
        ("cancelled", CANCELLED, Progress(2, base=1), False),
        ("failure", FAILURE, Progress(2, base=1), False),
    ]
    store.reopen_tasks(later, rest)
    store.set_status(RunStatus.RUNNING, {RunStatus.REOPENING}, epoch=later)
    assert set(picture(subject).results) == {"success", "unknown"}
    assert store.read_info().generation == 2
    assert [e.task for e in store.read_history() if e.kind == "set_aside"] == [
        "skipped",
        "cancelled",
        "failure",
    ]


def test_a_reopening_that_was_stopped_says_so(subject: Subject) -> None:
    """A person cancelled the run meanwhile: nothing more is set aside."""
    store = subject.store
    epoch = ended_run(subject)
    store.begin_reopen(epoch, "first")
    store.set_status(RunStatus.CANCELLING, {RunStatus.REOPENING})
    before = picture(subject)
    with pytest.raises(WrongState, match="run run-1 is no longer being reopened"):
        store.reopen_tasks(epoch, [("failure", FAILURE, Progress(2), False)])
    assert picture(subject) == before


def test_many_tasks_are_reopened(subject: Subject) -> None:
    """More names than one script takes."""
    store = subject.store
    names = [f"t{number}" for number in range(2500)]
    epoch = open_run(store, *names)
    store.settle_unheld(epoch, [(name, outcome("cancelled")) for name in names])
    store.begin_reopen(epoch, "first")
    store.reopen_tasks(epoch, [(name, CANCELLED, Progress(), False) for name in names])
    assert subject.raw_results() == {}
    assert store.read_info().counts["cancelled"] == 0
    assert len(store.read_history()) == 2500


def test_an_outcome_of_the_old_generation_comes_too_late(subject: Subject) -> None:
    """REFUSED: what was set aside does not come back by a repeated delivery."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    told = final("a", "t1", "failure")
    finish(store, epoch, told)
    store.begin_reopen(epoch, "first")
    store.reopen_tasks(epoch, [("a", FAILURE, Progress(2, base=1), False)])
    assert finish(store, epoch, told) == Code.REFUSED
    assert subject.raw_results() == {}


@pytest.mark.parametrize(("decision", "status"), [("done", "success"), ("fail", "failure")])
def test_a_person_decides_an_unknown_task(subject: Subject, decision: str, status: str) -> None:
    """resolve: once; repeated it answers the same; what was unknown stays in the history."""
    store = subject.store
    ended_run(subject)
    decided = outcome(status, message="looked it up", started=True)

    def say(operation: str, packed: bytes) -> TaskStatus:
        return resolve(store, operation, "unknown", decision, packed, "eva", "ledger")  # type: ignore[arg-type]

    assert say("op", decided) == status
    after = picture(subject)
    assert after.results["unknown"] == decided
    assert after.progress == {}
    entry = store.read_history()[-1]
    assert (entry.kind, entry.task, entry.status) == ("resolved", "unknown", decision)
    assert (entry.by, entry.note, entry.packed) == ("eva", "ledger", outcome("unknown"))
    event = store.read_events("0-0")[-1]
    assert (event.kind, event.task, event.status) == ("resolved", "unknown", status)
    assert say("op", decided) == status
    assert picture(subject) == after
    with pytest.raises(WrongState, match=f"'unknown' is {status}: only an unknown task can be"):
        say("op2", outcome("success", message="another"))
    assert picture(subject) == after


def test_a_person_lets_an_unknown_task_start_again(subject: Subject) -> None:
    """Resolve --retry: a claim is granted, once more, and the lost token holds nothing."""
    store = subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    finish(store, epoch, final("a", "t1", "unknown"))
    for _delivery in range(2):
        assert resolve(store, "op", "a", "retry", b"", "eva", "") == TaskStatus.READY
    assert store.read_progress() == {"a": Progress(2, base=1, token="op")}
    assert [entry.kind for entry in store.read_history()] == ["resolved"]
    assert picture(subject).results == {}
    assert finish(store, epoch, final("a", "t1")) == Code.REFUSED
    assert claim(store, epoch, "a", "t2") == (Code.GRANTED, 2, 1, 1, 0)
    with pytest.raises(WrongState, match="task 'a' is not ended"):
        resolve(store, "op2", "a", "retry", b"", "eva", "")


def test_an_imported_unknown_task_is_retried(subject: Subject) -> None:
    """Resolve --retry needs no progress from the snapshot."""
    store = subject.store
    epoch = open_run(store, imported=[("a", outcome("unknown"), None)])
    assert resolve(store, "op", "a", "retry", b"", "eva", "") == TaskStatus.READY
    assert claim(store, epoch, "a", "t1") == (Code.GRANTED, 1, 1, 0, 0)


def test_only_an_unknown_task_is_decided(subject: Subject) -> None:
    """resolve: anything else is refused by what it is, and nothing changes."""
    store = subject.store
    epoch = ended_run(subject)
    store.set_status(RunStatus.RUNNING, {RunStatus.FAILURE})
    claim(store, epoch, "absent", "t1")
    finish(store, epoch, again("absent", "t1"))
    before = picture(subject)
    for name in ("success", "failure", "skipped", "cancelled", "absent", "nowhere"):
        what = name if name in ALL[:4] else "not ended"
        for decision, packed in (("done", outcome("success", data=1)), ("retry", b"")):
            with pytest.raises(WrongState, match=f"task '{name}' is {what}: only an unknown task"):
                resolve(store, "op", name, decision, packed, "eva", "")  # type: ignore[arg-type]
    assert picture(subject) == before


def test_a_decision_lets_a_blocked_run_go_on(subject: Subject) -> None:
    """It is running as soon as somebody leads it; any other run stays as it is."""
    store = subject.store
    imported: list[Imported] = [(name, outcome("unknown"), None) for name in ("a", "b")]
    open_run(store, imported=imported)
    store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    resolve(store, "op", "a", "retry", b"", "eva", "")
    assert store.read_status() == RunStatus.PAUSED
    store.set_status(RunStatus.BLOCKED, {RunStatus.PAUSED})
    resolve(store, "op2", "b", "done", outcome("success"), "eva", "")
    assert store.read_status() == RunStatus.RUNNING
    assert store.read_info().ended_at is None


def test_a_decision_that_is_delivered_again_later_decides_nothing(subject: Subject) -> None:
    """A `retry` whose reply was lost is sent again after the task has started and been lost once
    more: the third start needs a decision of its own.
    """
    store = subject.store
    epoch = open_run(store, "a")
    for token, operation in (("t1", "o1"), ("t2", "o2")):
        assert claim(store, epoch, "a", token).code == Code.GRANTED
        unknown = final("a", token, "unknown", keep=True)
        assert store.settle_claim(epoch, "b1", unknown) == Code.RECORDED
        before = picture(subject)
        if operation == "o2":
            assert resolve(store, "o1", "a", "retry", b"", "ann", "") == TaskStatus.UNKNOWN
            assert picture(subject) == before
        assert resolve(store, operation, "a", "retry", b"", "ann", "") == TaskStatus.READY


def test_a_decision_in_a_stopped_run_goes_on_with_stopping_it(subject: Subject) -> None:
    """A run that was cancelled while a task was unknown does not run again unasked."""
    store = subject.store
    epoch = open_run(store, "a")
    claim(store, epoch, "a", "t1")
    store.settle_claim(epoch, "b1", final("a", "t1", "unknown", keep=True))
    store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, reason="cancelled by ann")
    store.set_status(RunStatus.BLOCKED, {RunStatus.CANCELLING}, epoch=epoch)
    resolve(store, "o1", "a", "done", outcome("success"), "ann", "")
    assert store.read_status() == RunStatus.CANCELLING
