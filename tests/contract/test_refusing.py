"""A worker that cannot run a task gives it back: nothing happened, and who refused what stays."""

from __future__ import annotations

from distflow.core.claim import ClaimReply, ClaimRequest, Code, Refused, WorkerFacts
from distflow.core.run import RefusalKey
from distflow.core.status import RunStatus
from tests.support.stores import (
    Subject,
    claim,
    final,
    finish,
    open_run,
    outcome,
    picture,
)

BY = WorkerFacts("w1", "2026-01-01", "host-1", 41, "/srv/app")
WORDS = "ModuleNotFoundError: No module named 'shop'"


def refused(task: str, token: str, scope: str = "function shop:charge") -> Refused:
    """What a worker says of a task that it claimed by this token."""
    return Refused(task, token, scope, "shop:charge", WORDS, "Traceback: ...")


def test_a_refused_task_is_free_and_uses_no_attempt(subject: Subject) -> None:
    """Promise 9. Another batch may claim it at once, as the same attempt; repeated, the same. What
    another holds is left to it.
    """
    store = subject.store
    epoch = open_run(store, "a", "b")
    for batch in ("b1", "b2"):
        store.begin_batch(epoch, batch, "w", f"job-{batch}")
    store.advance(epoch, "b1", (), [ClaimRequest("a", "t1", start=True)])
    store.advance(epoch, "b2", (), [ClaimRequest("b", "t2", start=True)])
    store.advance(epoch, "b1", refused=[refused("a", "t1"), refused("b", "t1")], by=BY)
    after = picture(subject)
    store.advance(epoch, "b1", refused=[refused("a", "t1"), refused("b", "t1")], by=BY)
    assert picture(subject) == after
    assert set(store.read_claims()) == {"b"}
    told = store.read_events("0-0")[-1]
    assert (told.kind, told.task, told.worker, told.note) == ("released", "a", "w1", WORDS)
    reply = store.advance(epoch, "b2", (), [ClaimRequest("a", "t3", start=True)]).claims[0]
    assert reply == ClaimReply(Code.GRANTED, 1, 1, 0, 0)


def test_who_refused_what_is_read(subject: Subject) -> None:
    """One refusal for each registration and scope, with the tasks that it came with; the history
    has an entry for each task and registration. What is wrong now counts.
    """
    store = subject.store
    epoch = open_run(store, "a", "b")
    for task in ("a", "b", "a"):
        claim(store, epoch, task, f"t-{task}")
        store.advance(epoch, "b1", refused=[refused(task, f"t-{task}")], by=BY)
    later = BY._replace(born="2026-01-02", pid=42)
    store.advance(epoch, "b1", refused=[refused("a", "gone")._replace(words="new")], by=later)
    one, two = sorted(store.read_refusals())
    assert one.key == RefusalKey("function shop:charge", "w1", "2026-01-01")
    assert (one.what, one.words, one.trace) == ("shop:charge", WORDS, "Traceback: ...")
    assert (one.host, one.pid, one.directory) == ("host-1", 41, "/srv/app")
    assert (one.tasks, two.tasks) == (("a", "b"), ("a",))
    assert one.since <= two.since
    assert (two.pid, two.words) == (42, "new")
    entries = [(e.kind, e.task, e.by, e.note) for e in store.read_history()]
    assert entries == [
        ("misfit", "a", "w1", WORDS),
        ("misfit", "b", "w1", WORDS),
        ("misfit", "a", "w1", "new"),
    ]


def test_many_tasks_are_counted_not_named(subject: Subject) -> None:
    """A run of any size keeps 100 names for each."""
    store = subject.store
    epoch = open_run(store, "a")
    some = [refused(f"t{number}", "none") for number in range(150)]
    store.advance(epoch, "b1", refused=some, by=BY)
    (refusal,) = store.read_refusals()
    assert refusal.tasks == tuple(f"t{number}" for number in range(100))
    assert len(store.read_history()) == 100


def test_what_no_worker_can_run_fails(subject: Subject) -> None:
    """It is settled as what never ran is; it counts as a failure, and the refusals are forgotten in
    the same step. A lost reply changes nothing.
    """
    store = subject.store
    epoch = open_run(store, "a", "b")
    claim(store, epoch, "a", "t1")
    store.advance(epoch, "b1", refused=[refused("a", "t1"), refused("b", "x", "task b")], by=BY)
    failed = outcome("failure", error=WORDS)
    key = RefusalKey("function shop:charge", "w1", "2026-01-01")
    for _delivery in range(2):
        assert store.settle_unheld(epoch, [("a", failed)], forgotten=[key]) == set()
        assert store.read_troubles(5).failed == ["a"]
        assert store.read_info().counts["failure"] == 1
        assert [refusal.scope for refusal in store.read_refusals()] == ["task b"]
    assert store.settle_unheld(epoch, [], forgotten=[RefusalKey("task b", "w1", "2026-01-01")]) == (
        set()
    )
    assert store.read_refusals() == []


def test_a_worker_that_was_faster_is_believed(subject: Subject) -> None:
    """Another worker could run it after all, at this very moment: what it holds is not settled."""
    store = subject.store
    epoch = open_run(store, "a", "b")
    claim(store, epoch, "a", "t1")
    claim(store, epoch, "b", "t2")
    finish(store, epoch, final("b", "t2"))
    failed = outcome("failure", error=WORDS)
    assert store.settle_unheld(epoch, [("a", failed), ("b", failed)]) == {"a", "b"}
    assert store.read_statuses(["a", "b"]) == [None, "success"]


def test_a_resume_asks_each_worker_anew(subject: Subject) -> None:
    """It may have been mended since."""
    store = subject.store
    epoch = open_run(store, "a")
    store.advance(epoch, "b1", refused=[refused("a", "t1")], by=BY)
    store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)
    store.begin_reopen(epoch, "op")
    assert store.read_refusals() == []
