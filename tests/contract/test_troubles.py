"""Tasks that failed or are unknown are named by an index, which every transition keeps."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Progress
from distflow.core.model import Task
from distflow.core.readings import Problems
from distflow.core.run import TaskCut
from distflow.core.status import ACTIVE_RUNS, RunStatus, TaskStatus
from distflow.ports.run_store import RunStore
from tests.support.stores import (
    Subject,
    claim,
    final,
    finish,
    make_spec,
    open_run,
    outcome,
    resolve,
)

NONE = Problems([], [], 0, [], [])


def open_graph(store: RunStore, *, at_once: bool) -> int:
    """A run with a plain task, tolerated ones and one with a verify hook; returns the epoch."""
    tasks = [
        Task("plain", "pkg:f"),
        *[Task(f"soft{number}", "pkg:f", continue_on_error=True) for number in range(3)],
        Task("once", "pkg:f", effects="at_most_once", verify="pkg:check"),
        Task("both", "pkg:f", effects="at_most_once", verify="pkg:check", continue_on_error=True),
    ]
    if at_once:
        store.create_run(make_spec(), "creation", tasks)
    else:
        store.create_run(make_spec(), "creation")
        store.append_tasks("creation", 0, tasks[:2])
        store.append_tasks("creation", 1, tasks[2:])
        store.seal_run("creation", len(tasks))
    return store.acquire_lease("anna", 60.0)


def settle(store: RunStore, epoch: int, task: str, status: str) -> None:
    """Let a worker bring this outcome."""
    claim(store, epoch, task, f"t-{task}")
    done = final(task, f"t-{task}", status, keep=status == "unknown")
    finish(store, epoch, done._replace(progress=Progress(2, started=True)))


@pytest.mark.parametrize("at_once", [True, False])
def test_each_kind_stands_apart(subject: Subject, at_once: bool) -> None:
    """Failures, those that are tolerated, and unknown tasks, with those that have a verify hook;
    so many of each by name as are asked for.
    """
    store = subject.store
    epoch = open_graph(store, at_once=at_once)
    assert store.read_troubles(10) == NONE
    for task in ("plain", "soft2", "soft0", "soft1"):
        settle(store, epoch, task, "failure")
    for task in ("once", "both"):
        settle(store, epoch, task, "unknown")
    softs = ["soft0", "soft1", "soft2"]
    both = ["both", "once"]
    assert store.read_troubles(10) == Problems(["plain"], softs, 3, both, both)
    assert store.read_troubles(1) == Problems(["plain"], softs[:1], 3, both[:1], both[:1])


def test_what_is_decided_is_none(subject: Subject) -> None:
    """An unknown task that a person decides is a failure, tolerated or not, or no trouble; so is
    one whose worker tells its true outcome after all.
    """
    store = subject.store
    epoch = open_graph(store, at_once=True)
    for task in ("once", "both"):
        settle(store, epoch, task, "unknown")
    resolve(store, "op1", "both", "fail", outcome("failure"), "anna", "")
    assert store.read_troubles(10) == Problems([], ["both"], 1, ["once"], ["once"])
    finish(store, epoch, final("once", "t-once"))
    assert store.read_troubles(10) == Problems([], ["both"], 1, [], [])


@pytest.mark.parametrize("decision", ["done", "retry"])
def test_what_a_person_mends(subject: Subject, decision: str) -> None:
    """Done or to be run again: neither is a trouble."""
    store = subject.store
    settle(store, open_graph(store, at_once=True), "once", "unknown")
    packed = outcome("success") if decision == "done" else b""
    resolve(store, "op1", "once", decision, packed, "anna", "")  # type: ignore[arg-type]
    assert store.read_troubles(10) == NONE


def test_what_is_lost_or_reopened(subject: Subject) -> None:
    """A claim whose worker is lost is a failure; a resume that sets it aside forgets it."""
    store = subject.store
    epoch = open_graph(store, at_once=True)
    claim(store, epoch, "plain", "t1")
    store.settle_claim(epoch, "b1", final("plain", "t1", "failure"))
    assert store.read_troubles(10).failed == ["plain"]
    store.set_status(RunStatus.FAILURE, ACTIVE_RUNS, epoch=epoch)
    store.begin_reopen(epoch, "reopening")
    store.reopen_tasks(epoch, [("plain", TaskStatus.FAILURE, Progress(2), False)])
    assert store.read_troubles(10) == NONE


def test_what_a_snapshot_brings(subject: Subject) -> None:
    """Outcomes that were hydrated count, once."""
    brought = [("a", outcome("failure", started=True), None), ("b", outcome("unknown"), None)]
    open_run(subject.store, "a", "b", "c", imported=[*brought, *brought])
    assert subject.store.read_troubles(10) == Problems(["a"], [], 0, ["b"], [])


def test_a_deleted_run_has_none(subject: Subject) -> None:
    """Nothing of the index is left behind for a run of the same name."""
    store = subject.store
    settle(store, open_graph(store, at_once=True), "plain", "failure")
    store.delete_run(force=True)
    open_run(store, "plain")
    assert store.read_troubles(10) == NONE
    assert store.read_cut(["plain"]) == [TaskCut(None, None, None, None)]


def test_a_sample_of_progress(subject: Subject) -> None:
    """All of it where there is little, and not much more than was asked for elsewhere."""
    store = subject.store
    names = [f"t{number}" for number in range(3000)]
    open_run(store, *names, imported=[(name, None, Progress(2)) for name in names])
    assert store.sample_progress(5000) == store.read_progress()
    some = store.sample_progress(100)
    assert 100 <= len(some) < 1000
    assert set(some) < set(names)


def test_what_a_node_has_added_is_told_with_its_outcome(subject: Subject) -> None:
    """The graph of the start says nothing of these tasks: whoever tells an outcome does, and that
    is remembered where a person decides later.
    """
    store = subject.store
    epoch = open_graph(store, at_once=True)
    brought: list[tuple[str, str, dict[str, Any]]] = [
        ("n.soft", "failure", {"tolerated": True}),
        ("n.hard", "failure", {}),
        ("n.once", "unknown", {"hooked": True}),
        ("n.both", "unknown", {"tolerated": True, "hooked": True}),
        ("n.good", "success", {"tolerated": True, "hooked": True}),
    ]
    for name, status, said in brought:
        claim(store, epoch, name, f"t-{name}")
        done = final(name, f"t-{name}", status, keep=status == "unknown", started=True)
        done = done._replace(progress=Progress(2, started=True), **said)
        finish(store, epoch, done)
    unknown = ["n.both", "n.once"]
    assert store.read_troubles(10) == Problems(["n.hard"], ["n.soft"], 1, unknown, unknown)
    resolve(store, "op1", "n.both", "fail", outcome("failure"), "anna", "")
    softs = ["n.both", "n.soft"]
    assert store.read_troubles(10) == Problems(["n.hard"], softs, 2, ["n.once"], ["n.once"])


def test_lost_and_refused_children(subject: Subject) -> None:
    """A coordinator that settles them says whether their failure is tolerated."""
    store = subject.store
    epoch = open_graph(store, at_once=True)
    claim(store, epoch, "n.lost", "t1")
    store.settle_claim(epoch, "b1", final("n.lost", "t1", "failure")._replace(tolerated=True))
    settled = [(name, outcome("failure")) for name in ("n.a", "n.b", "n.c", "soft0")]
    assert store.settle_unheld(epoch, settled, tolerated={"n.a", "n.c"}) == set()
    softs = ["n.a", "n.c", "n.lost", "soft0"]
    assert store.read_troubles(10) == Problems(["n.b"], softs, 4, [], [])


def test_failures_that_a_node_may_have(subject: Subject) -> None:
    """A coordinator judges them as tolerated when all children are final; one that is evaluated
    again is judged anew, and what is no failure stays what it is.
    """
    store = subject.store
    epoch = open_graph(store, at_once=True)
    for task in ("n.a", "n.b", "plain"):
        settle(store, epoch, task, "failure")
    settle(store, epoch, "once", "unknown")
    settle(store, epoch, "n.good", "success")
    judged = ["n.a", "n.b", "once", "n.good", "n.none"]
    for _delivery in range(2):
        store.tolerate(epoch, judged)
        assert store.read_troubles(10) == Problems(["plain"], judged[:2], 2, ["once"], ["once"])
    store.set_status(RunStatus.FAILURE, ACTIVE_RUNS, epoch=epoch)
    store.begin_reopen(epoch, "reopening")
    store.reopen_tasks(epoch, [("n.a", TaskStatus.FAILURE, Progress(2), False)])
    store.set_status(RunStatus.RUNNING, {RunStatus.REOPENING}, epoch=epoch)
    claim(store, epoch, "n.a", "t2")
    finish(store, epoch, final("n.a", "t2", "failure"))
    assert store.read_troubles(10).failed == ["n.a", "plain"]
    assert store.read_troubles(10).tolerated == ["n.b"]
    store.tolerate(epoch, [])
    store.tolerate(epoch, [f"n.{number}" for number in range(3000)])
