"""What people decide of tasks: all or none, corrected until something rests on it."""

from __future__ import annotations

import pytest

from distflow.core.claim import Code, Progress
from distflow.core.resolution import Decision, Dependent, Resolution, leader_rule, said_tries
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import LeaseHeld, LookAgain, RunNotFound, StaleEpoch, WrongState
from tests.support.stores import Subject, again, claim, final, finish, open_run, outcome, picture

FAILED = outcome("failure", started=True, attempt=1)
DONE = outcome("success", data=1)
UNTRIED = said_tries(None)


def failed_run(subject: Subject) -> int:
    """``pay`` started and failed, at most once, and ``ship`` and ``tell`` were skipped for it."""
    store = subject.store
    epoch = open_run(store, "pay", "ship", "tell", "other")
    claim(store, epoch, "pay", "t1")
    finish(store, epoch, final("pay", "t1", "failure", started=True))
    skips = [(name, outcome("skipped")) for name in ("ship", "tell")]
    assert store.settle_unheld(epoch, skips) == set()
    return epoch


def decide(subject: Subject, decision: Decision, *items: Resolution, op: str = "op") -> list[str]:
    """What eva decides."""
    return list(subject.store.resolve_tasks(op, decision, items, "eva", "looked it up"))


@pytest.mark.parametrize("decision", ["done", "retry"])
def test_a_failure_that_no_resume_runs_again(subject: Subject, decision: Decision) -> None:
    """It is decided, and what was skipped because of it has no outcome any more; the decision that
    is delivered twice is taken once.
    """
    store = subject.store
    failed_run(subject)
    progress = Progress(2, base=1, token="op") if decision == "retry" else None
    packed = DONE if decision == "done" else b""
    item = Resolution("pay", packed, FAILED, progress, skipped=("ship", "tell", "other"))
    expected = [TaskStatus.SUCCESS if decision == "done" else TaskStatus.READY]
    assert decide(subject, decision, item) == expected
    after = picture(subject)
    assert after.results == ({"pay": DONE} if decision == "done" else {})
    assert after.progress == ({"pay": progress} if progress else {})
    assert store.read_troubles(9).failed == []
    entry = store.read_history("pay")[-1]
    assert (entry.kind, entry.status, entry.packed) == ("resolved", decision, FAILED)
    event = store.read_events("0-0")[-1]
    assert (event.kind, event.task, event.status) == ("resolved", "pay", expected[0])
    assert decide(subject, decision, item) == expected
    assert picture(subject) == after


def test_what_was_skipped_otherwise_stays(subject: Subject) -> None:
    """A task that is no longer skipped when the decision comes keeps what it has."""
    store = subject.store
    epoch = failed_run(subject)
    claim(store, epoch, "other", "t2")
    finish(store, epoch, final("other", "t2"))
    decide(subject, "done", Resolution("pay", DONE, FAILED, skipped=("other",)))
    assert store.read_statuses(["other", "ship"]) == [TaskStatus.SUCCESS, TaskStatus.SKIPPED]


def test_all_or_none(subject: Subject) -> None:
    """One of two that is not as it was seen: nothing of either has changed."""
    store = subject.store
    epoch = failed_run(subject)
    claim(store, epoch, "other", "t2")
    before = picture(subject)
    good = Resolution("pay", DONE, FAILED, skipped=("ship",))
    for bad in (Resolution("other", DONE, FAILED), Resolution("other", DONE, None)):
        with pytest.raises(WrongState, match="task 'other' is not ended"):
            decide(subject, "done", good, bad)
    stale = Resolution("pay", DONE, outcome("failure", started=True, attempt=7))
    with pytest.raises(WrongState, match="task 'pay' is failure"):
        decide(subject, "done", stale)
    assert picture(subject) == before
    with pytest.raises(RunNotFound):
        subject.connect("nope").resolve_tasks("op", "done", [good], "eva", "")


def test_whoever_leads_looks_again(subject: Subject) -> None:
    """They may be about to write what followed from the failure: a skip, or the run's end."""
    store = subject.store
    epoch = failed_run(subject)
    rule = leader_rule(TaskStatus.FAILURE, takes_away=False)
    decide(subject, "done", Resolution("pay", DONE, FAILED, skipped=("ship",), leader=rule))
    assert store.read_info().coordinator is None
    with pytest.raises(StaleEpoch):
        store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)
    with pytest.raises(StaleEpoch):
        store.settle_unheld(epoch, [("ship", outcome("skipped"))])
    assert store.acquire_lease("bert", 60.0) > epoch


def test_a_skip_that_came_in_between(subject: Subject) -> None:
    """It would stand behind what is decided now: nothing is decided, and the caller looks again."""
    store = subject.store
    epoch = failed_run(subject)
    seen = store.read_info().counts["skipped"]
    store.settle_unheld(epoch, [("other", outcome("skipped"))])
    before = picture(subject)
    item = Resolution("pay", DONE, FAILED)
    with pytest.raises(LookAgain, match="other tasks were skipped"):
        store.resolve_tasks("op", "done", [item], "eva", "", skips=seen)
    assert picture(subject) == before
    for _delivery in range(2):
        told = store.resolve_tasks("op", "done", [item], "eva", "", skips=seen + 1)
        assert told == [TaskStatus.SUCCESS]


def test_a_decision_is_corrected(subject: Subject) -> None:
    """As long as nobody has begun what rests on it; a worker that claims it was faster."""
    store = subject.store
    epoch = failed_run(subject)
    decide(subject, "done", Resolution("pay", DONE, FAILED, skipped=("ship",)))
    epoch = store.acquire_lease("anna", 60.0)
    other = outcome("success", data=2)
    unbegun = (Dependent("ship", "", UNTRIED),)
    decide(subject, "done", Resolution("pay", other, DONE, dependents=unbegun), op="op2")
    assert store.read_results(["pay"]) == [other]
    claim(store, epoch, "ship", "t2")
    before = picture(subject)
    with pytest.raises(WrongState, match="'ship', which depends on it, has begun"):
        decide(subject, "done", Resolution("pay", DONE, other, dependents=unbegun), op="op3")
    assert picture(subject) == before
    finish(store, epoch, again("ship", "t2"))
    with pytest.raises(WrongState, match="'ship', which depends on it, has begun"):
        decide(subject, "done", Resolution("pay", DONE, other, dependents=unbegun), op="op3")


def test_what_rested_on_it_is_void(subject: Subject) -> None:
    """A decision that takes a success away is taken only while nobody leads the run, and what the
    last coordinator had queued is not begun any more.
    """
    store = subject.store
    epoch = failed_run(subject)
    decide(subject, "done", Resolution("pay", DONE, FAILED, skipped=("ship",)))
    epoch = store.acquire_lease("anna", 60.0)
    store.begin_batch(epoch, "b2", "w2", "job")
    progress = Progress(2, base=1, token="op2")
    dependents = (Dependent("ship", "", UNTRIED),)
    item = Resolution("pay", b"", DONE, progress, dependents, leader="absent")
    with pytest.raises(LeaseHeld, match="anna leads run run-1"):
        decide(subject, "retry", item, op="op2")
    assert store.read_results(["pay"]) == [DONE]
    store.release_lease("anna", epoch)
    assert decide(subject, "retry", item, op="op2") == [TaskStatus.READY]
    assert claim(store, epoch, "ship", "t2", batch="b2", begin=False).code == Code.STALE_EPOCH
    assert store.acquire_lease("bert", 60.0) > epoch + 1


def test_a_retry_is_corrected_until_it_begins(subject: Subject) -> None:
    """From its claim on it is the worker's; a retry that nobody decided is none to be corrected."""
    store = subject.store
    epoch = failed_run(subject)
    progress = Progress(2, base=1, token="op")
    decide(subject, "retry", Resolution("pay", b"", FAILED, progress))
    assert decide(subject, "fail", Resolution("pay", FAILED, None), op="op2") == ["failure"]
    again_progress = Progress(3, base=2, token="op3")
    decide(subject, "retry", Resolution("pay", b"", FAILED, again_progress), op="op3")
    epoch = store.acquire_lease("anna", 60.0)
    claim(store, epoch, "pay", "t3")
    with pytest.raises(WrongState, match="task 'pay' is not ended"):
        decide(subject, "done", Resolution("pay", DONE, None), op="op4")
    with pytest.raises(WrongState, match="task 'other' is not ended"):
        decide(subject, "done", Resolution("other", DONE, None), op="op4")


def test_a_blocked_run_goes_on(subject: Subject) -> None:
    """As after any decision; one that has ended stays so until somebody resumes it."""
    store = subject.store
    epoch = failed_run(subject)
    store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)
    decide(subject, "done", Resolution("pay", DONE, FAILED))
    assert store.read_status() == RunStatus.FAILURE
