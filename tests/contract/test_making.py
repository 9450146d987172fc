"""Runs are made, listed, read and deleted."""

from __future__ import annotations

import pytest

from distflow.core.claim import Code, Progress
from distflow.core.model import Loop, Ref, Retry, Task
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import LookAgain, RunExists, RunGone, RunNotFound, WrongState
from tests.support.stores import (
    Imported,
    Subject,
    claim,
    final,
    finish,
    make_spec,
    open_run,
    outcome,
    picture,
    resolve,
)


def test_a_run_is_created_once(subject: Subject) -> None:
    """The same operation may create again, changing nothing; another is refused by name."""
    store = subject.store
    store.create_run(make_spec(concurrency=3), "creation")
    before = picture(subject)
    store.create_run(make_spec(concurrency=3), "creation")
    assert picture(subject) == before
    with pytest.raises(RunExists, match=r"run 'run-1' exists already: .*distflow status run-1"):
        store.create_run(make_spec(), "another")
    assert picture(subject) == before


def test_a_run_tells_what_it_was_made_from(subject: Subject) -> None:
    """read_info has the spec, the times and the counts."""
    store = subject.store
    spec = make_spec(concurrency=3)
    store.create_run(spec, "creation")
    fresh = store.read_info()
    assert (fresh.status, fresh.total, fresh.epoch, fresh.generation) == ("creating", 0, 0, 1)
    assert (fresh.started_at, fresh.ended_at, fresh.coordinator) == (None, None, None)
    store.seal_run("creation", 7)
    epoch = store.acquire_lease("anna", 60.0)
    store.renew_lease("anna", epoch, 60.0, queued=2, waiting=1)
    info = store.read_info()
    assert (info.workflow, info.params, info.origin) == (spec.workflow, spec.params, spec.origin)
    assert info.options == RunOptions(3, 60.0, "pkg.module:factory")
    assert (info.run_id, info.version, info.durability) == ("run-1", 1, "aof-always")
    assert info.server == spec.server
    assert (info.status, info.total, info.epoch) == (RunStatus.RUNNING, 7, epoch)
    assert info.coordinator == "anna"
    assert info.counts == {
        **dict.fromkeys(("success", "failure", "skipped", "cancelled", "unknown", "running"), 0),
        "queued": 2,
        "waiting": 1,
    }
    assert info.pending == 4
    assert info.started_at == info.clock_at
    assert info.created_at <= (info.started_at or 0) <= info.as_of + 0.001
    assert info.as_of - info.created_at < 5


def test_the_graph_comes_back_as_it_was(subject: Subject) -> None:
    """Chunks keep their order, whatever order they were sent in; a repeated one is one."""
    store = subject.store
    plain = [Task(f"t{n}", "pkg.tasks:work") for n in range(4096)]
    rich = Task(
        "rich",
        "pkg.tasks:work",
        args=(1, (2, [Ref("t1")]), {"k": Ref("t2")}),
        kwargs={"x": 2.5},
        depends_on=("t1", "t2"),
        retry=Retry(3, delay=1.0, backoff="exponential", max_delay=9.0, jitter=0.5, lost=2),
        loop=Loop("pkg.tasks:until", 5, 2.0),
        timeout=3.0,
        condition="pkg.tasks:wanted",
        priority=-4,
        continue_on_error=True,
        queue="slow",
        effects="idempotent",
    )
    store.create_run(make_spec(), "creation")
    for chunk, tasks in ((1, [rich]), (0, plain), (0, plain), (2, plain[:2])):
        store.append_tasks("creation", chunk, tasks)
    assert list(store.iter_tasks()) == [plain, [rich], plain[:2]]


def test_a_large_graph_is_kept_in_chunks(subject: Subject) -> None:
    """50,000 tasks come back in their order: chunk 10 does not come after chunk 1."""
    store = subject.store
    store.create_run(make_spec(), "creation")
    task = Task("", "pkg.tasks:work")
    for chunk in range(13):
        names = range(chunk * 4096, min(50_000, (chunk + 1) * 4096))
        store.append_tasks("creation", chunk, [task._replace(name=f"t{n}") for n in names])
    found = [task.name for tasks in store.iter_tasks() for task in tasks]
    assert found == [f"t{n}" for n in range(50_000)]


def test_a_run_is_sealed_once(subject: Subject) -> None:
    """Sealed again by its maker nothing changes; nobody adds to a frozen graph."""
    store = subject.store
    store.create_run(make_spec(), "creation")
    not_by_this = "run-1 is not being created by this operation"
    with pytest.raises(WrongState, match=not_by_this):
        store.append_tasks("another", 0, [])
    with pytest.raises(WrongState, match=not_by_this):
        store.hydrate("another", [])
    with pytest.raises(WrongState, match=not_by_this):
        store.seal_run("another", 1)
    assert store.read_status() == RunStatus.CREATING
    store.seal_run("creation", 3)
    before = picture(subject)
    store.seal_run("creation", 4)
    with pytest.raises(WrongState, match=not_by_this):
        store.append_tasks("creation", 1, [])
    with pytest.raises(WrongState, match=not_by_this):
        store.hydrate("creation", [("a", outcome("success"), None)])
    with pytest.raises(WrongState, match=not_by_this):
        store.hydrate_notes("creation", [("a", b"job")])
    assert picture(subject) == before
    assert list(store.iter_tasks()) == []


def test_a_snapshot_is_put_into_a_run_once(subject: Subject) -> None:
    """Outcomes are counted once however often a chunk is sent; progress is kept."""
    store = subject.store
    imported: list[Imported] = [
        ("a", outcome("success"), None),
        ("b", None, Progress(3, base=2)),
        ("c", outcome("unknown"), Progress(2, started=True, token="gone")),
        ("d", outcome("failure"), Progress(2)),
    ]
    store.create_run(make_spec(), "creation")
    store.hydrate("creation", imported)
    before = picture(subject)
    assert before.results == {name: packed for name, packed, _ in imported if packed}
    assert before.progress == {name: known for name, _, known in imported if known}
    store.hydrate("creation", imported)
    store.hydrate("creation", [("a", outcome("failure"), None)])
    assert picture(subject) == before


def test_many_outcomes_are_imported(subject: Subject) -> None:
    """A snapshot of any size is put into a run."""
    imported: list[Imported] = [(f"t{n}", outcome("success", data=n), None) for n in range(2_500)]
    open_run(subject.store, imported=imported)
    assert subject.raw_results() == {name: packed for name, packed, _ in imported}
    assert subject.store.read_info().counts["success"] == 2_500


def test_imported_work_is_done(subject: Subject) -> None:
    """Promise 1 in a hydrated run: DONE, and a satisfied dependency."""
    store = subject.store
    imported: list[Imported] = [("a", outcome("success"), None), ("b", None, Progress(3, base=2))]
    epoch = open_run(store, imported=imported)
    assert claim(store, epoch, "a", "t1").code == Code.DONE
    reply = claim(store, epoch, "b", "t1", needs=(("a", False),))
    assert reply == (Code.GRANTED, 3, 1, 2, 0)


def test_runs_are_listed(subject: Subject) -> None:
    """Oldest first, until they are deleted; those that somebody should lead apart."""
    for run_id in ("z", "a", "run-1"):
        subject.connect(run_id).create_run(make_spec(run_id), "creation")
    assert subject.list_runs() == ["z", "a", "run-1"]
    assert subject.list_active_runs() == ["a", "run-1", "z"]
    subject.connect("a").mark_active(None)
    assert subject.list_active_runs() == ["run-1", "z"]
    subject.connect("a").mark_active(1)
    subject.connect("z").delete_run()
    assert subject.list_runs() == ["a", "run-1"]
    assert subject.list_active_runs() == ["a", "run-1"]


def test_a_run_at_work_is_not_deleted(subject: Subject) -> None:
    """A lease, then a claim, refuse it; nothing is lost."""
    store = subject.store
    epoch = open_run(store)
    with pytest.raises(WrongState, match=r"run-1 is being coordinated: .*--force"):
        store.delete_run()
    claim(store, epoch, "a", "t1")
    store.release_lease("anna", epoch)
    with pytest.raises(WrongState, match=r"run-1 has tasks at work: .*--force"):
        store.delete_run()
    finish(store, epoch, final("a", "t1"))
    assert subject.list_runs() == ["run-1"]
    store.delete_run()
    assert subject.list_runs() == []


def test_nothing_is_left_of_a_deleted_run(subject: Subject) -> None:
    """Every key goes; reads say that there is no run, writes that it was deleted."""
    store = subject.store
    epoch = open_run(store)
    store.begin_batch(epoch, "b1", "w1", "job")
    claim(store, epoch, "a", "t1")
    finish(store, epoch, final("a", "t1", "unknown"))
    finish(store, epoch, final("a", "t2"))
    claim(store, epoch, "b", "t1")
    store.save_note("b", "t1", b"job")
    store.delete_run(force=True)
    for read in (
        store.read_info,
        store.read_status,
        store.delete_run,
        lambda: store.set_status(RunStatus.PAUSED, set(RunStatus)),
        lambda: resolve(store, "op", "a", "retry", b"", "", ""),
    ):
        with pytest.raises(RunNotFound, match="there is no run 'run-1'"):
            read()
    for write in (
        lambda: store.append_tasks("creation", 0, []),
        lambda: store.hydrate("creation", []),
        lambda: store.hydrate_notes("creation", []),
        lambda: store.seal_run("creation", 0),
        lambda: store.acquire_lease("anna", 1.0),
        lambda: store.renew_lease("anna", epoch, 1.0, queued=0, waiting=0),
        lambda: store.trim_events(epoch, "1-0"),
        lambda: store.settle_claim(epoch, "b1", final("b", "t1")),
        lambda: store.end_batch(epoch, "b1"),
        lambda: store.settle_unheld(epoch, [("b", outcome("skipped"))]),
        lambda: store.begin_reopen(epoch, "op"),
        lambda: store.reopen_tasks(epoch, [("a", TaskStatus.UNKNOWN, Progress(), False)]),
        lambda: store.set_status(RunStatus.PAUSED, set(RunStatus), epoch=epoch),
    ):
        with pytest.raises(RunGone, match="run run-1 was deleted"):
            write()
    store.release_lease("anna", epoch)
    assert not any((store.read_claims(), store.read_progress(), store.read_beats()))
    assert not any((store.read_history(), store.read_events("0-0"), list(store.iter_tasks())))
    assert store.read_statuses(["a"]) == [None]
    # The id is free again, and what was is not there.
    open_run(store)
    assert subject.raw_results() == {}
    assert store.fetch_note("b") is None


def test_a_creation_that_was_cut_off_is_discarded(subject: Subject) -> None:
    """So that the run can be made anew; who still writes it is refused, and stays so."""
    store, slow = subject.store, subject.connect("run-1")
    assert store.read_creation() is None
    store.create_run(make_spec(), "first")
    begun = store.read_creation()
    assert begun is not None
    assert begun.operation == "first"
    # Whatever is written shows.
    seen = {begun}
    store.append_tasks("first", 0, [Task("a", "m:f"), Task("b", "m:f")])
    seen.add(store.read_creation() or begun)
    store.hydrate("first", [("a", outcome("success"), None)])
    seen.add(store.read_creation() or begun)
    store.hydrate("first", [("b", None, Progress(attempt=2))])
    seen.add(store.read_creation() or begun)
    store.hydrate_notes("first", [("b", b"note")])
    seen.add(store.read_creation() or begun)
    assert len(seen) == 5
    for _ in range(2):
        store.discard_creation("first")
        assert store.read_creation() is None
        with pytest.raises(RunNotFound):
            store.read_info()
        with pytest.raises(RunGone):
            slow.append_tasks("first", 1, [Task("c", "m:f")])
    # Nobody else's: it has the next creation already.
    assert subject.list_active_runs() == ["run-1"]
    store.create_run(make_spec(), "second")
    assert store.read_creation() == ("second", (0, 0, 0, 0))
    with pytest.raises(WrongState):
        slow.append_tasks("first", 1, [Task("c", "m:f")])


def test_what_is_discarded_for_good_is_in_no_list(subject: Subject) -> None:
    """Where no other creation follows."""
    store = subject.store
    store.create_run(make_spec(), "first")
    store.discard_creation("first", unlist=True)
    assert subject.list_runs() == []
    assert subject.list_active_runs() == []


def test_a_made_run_is_discarded_until_somebody_leads_it(subject: Subject) -> None:
    """Its writer does not know whether it was made; who leads it may have run its tasks already."""
    store = subject.store
    store.create_run(make_spec(), "first", [Task("a", "m:f")])
    with pytest.raises(LookAgain):
        store.discard_creation("second", unlist=True, made=True)
    store.discard_creation("first", unlist=True, made=True)
    assert subject.list_runs() == subject.list_active_runs() == []
    store.create_run(make_spec(), "second", [Task("a", "m:f")])
    store.acquire_lease("somebody", 30.0)
    before = picture(subject)
    with pytest.raises(LookAgain):
        store.discard_creation("second", unlist=True, made=True)
    assert picture(subject) == before
    assert subject.list_active_runs() == ["run-1"]


def test_a_run_created_anew_while_it_is_deleted_stays_listed(
    redis_subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists lie in other slots: somebody was faster than the deletion is with them. A service
    would not find the run.
    """
    store, other = redis_subject.store, redis_subject.connect("run-1")
    store.create_run(make_spec(), "first")

    def create_anew() -> None:
        other.create_run(make_spec(), "second")

    monkeypatch.setattr(store, "_note_deleted", create_anew)
    store.delete_run()
    assert redis_subject.list_runs() == ["run-1"]
    assert redis_subject.list_active_runs() == ["run-1"]
    monkeypatch.undo()
    store.delete_run()
    assert redis_subject.list_runs() == redis_subject.list_active_runs() == []


def test_what_is_written_by_another_is_not_discarded(subject: Subject) -> None:
    """Nor what was sealed: its writer was slow, not dead."""
    store = subject.store
    store.create_run(make_spec(), "second")
    with pytest.raises(LookAgain):
        store.discard_creation("first")
    assert store.read_creation() is not None
    store.seal_run("second", 0)
    before = picture(subject)
    with pytest.raises(LookAgain):
        store.discard_creation("second")
    assert store.read_creation() is None
    assert picture(subject) == before
