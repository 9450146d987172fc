"""A server that has reached its maxmemory: what adds to it is refused whole, the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from distflow.core.claim import ClaimRequest, Code, Progress
from distflow.core.expansion import Expansion
from distflow.core.model import Task
from distflow.core.run import HeldTask, Repair
from distflow.core.status import ACTIVE_RUNS, RunStatus, TaskStatus
from distflow.errors import RedisRefuses
from distflow.ports.run_store import RunStore
from tests.support.stores import (
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

TASKS = ("a", "b", "c", "d")


@pytest.fixture(autouse=True)
def room(subject: Subject) -> Iterator[None]:
    """Whatever a test does to the server, there is room for the next one."""
    yield
    subject.make_room()


#: What a store is asked to do under an epoch, where ``a`` is claimed by the token ``t1``.
Ask = Callable[[RunStore, int], object]

#: What begins something, or brings as much as a user likes.
REFUSED: dict[str, Ask] = {
    "create": lambda store, _: store.create_run(make_spec(), "other"),
    "append": lambda store, _: store.append_tasks("creation", 1, [Task("x", "pkg.tasks:work")]),
    "hydrate": lambda store, _: store.hydrate("creation", [("x", outcome("success"), None)]),
    "hydrate_notes": lambda store, _: store.hydrate_notes("creation", [("x", b"note")]),
    "hydrate_expansions": lambda store, _: store.hydrate_expansions(
        "creation", [("x", Expansion("t9", 1, 1, 0, ()), [[]], b"")]
    ),
    "seal": lambda store, _: store.seal_run("creation", 4),
    "begin_batch": lambda store, epoch: store.begin_batch(epoch, "b9", "w9", "job"),
    "start_task": lambda store, _: store.start_task("a", "t1"),
    "save_note": lambda store, _: store.save_note("a", "t1", b"note"),
    "write_chunk": lambda store, _: store.write_chunk("a", "t1", 0, b"x"),
    "begin_reopen": lambda store, epoch: store.begin_reopen(epoch, "reopening"),
}

#: What ends, stops or decides something, or keeps what others rest on.
TAKEN: dict[str, Ask] = {
    "pause": lambda store, _: store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING}),
    "cancel": lambda store, _: store.set_status(
        RunStatus.CANCELLING, ACTIVE_RUNS, reason="enough", grace_seconds=1.0
    ),
    "end": lambda store, epoch: store.set_status(
        RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch
    ),
    "acquire_lease": lambda store, _: store.acquire_lease("bert", 60.0, force=True),
    "renew_lease": lambda store, epoch: store.renew_lease("anna", epoch, 60.0, queued=3, waiting=4),
    "release_lease": lambda store, epoch: store.release_lease("anna", epoch),
    "beat": lambda store, _: store.beat("b1", "w1", "job", "a"),
    "settle_claim": lambda store, epoch: store.settle_claim(
        epoch, "b1", final("a", "t1", "failure", error="WorkerLost: no")
    ),
    "settle_unheld": lambda store, epoch: store.settle_unheld(epoch, [("d", outcome("cancelled"))]),
    "end_batch": lambda store, epoch: store.end_batch(epoch, "b2"),
    "tolerate": lambda store, epoch: store.tolerate(epoch, ["b"]),
    "resolve": lambda store, _: resolve(
        store, "op", "c", "fail", outcome("failure", error="no"), "eva", ""
    ),
    "record_repair": lambda store, epoch: store.record_repair(
        epoch, "op", Repair("worker_lost", "b1", "w1", "lost")
    ),
    "hold_tasks": lambda store, epoch: store.hold_tasks(epoch, [HeldTask("a", "w1", 1.0)]),
    "trim_events": lambda store, epoch: store.trim_events(epoch, store.last_event_id()),
    "set_times": lambda store, epoch: store.set_times(
        epoch, [("a", 1, 2)], clock_at=(1, 2), stop_at=(1, 2)
    ),
    "mark_active": lambda store, _: store.mark_active(1),
    "unlist": lambda store, _: store.mark_active(None),
    "delete": lambda store, _: store.delete_run(force=True),
}


def _half_way(subject: Subject) -> int:
    """A run of which ``a`` is claimed, ``b`` succeeded, ``c`` is unknown and ``d`` is open."""
    store = subject.store
    epoch = open_run(store, *TASKS)
    claim(store, epoch, "a", "t1", start=False)
    claim(store, epoch, "b", "t2")
    finish(store, epoch, final("b", "t2"))
    claim(store, epoch, "c", "t3")
    lost = final("c", "t3", "unknown", keep=True)
    finish(store, epoch, lost._replace(progress=Progress(2, started=True)))
    store.begin_batch(epoch, "b2", "w2", "job")
    return epoch


@pytest.mark.parametrize("name", REFUSED)
def test_what_adds_is_refused_whole(subject: Subject, name: str) -> None:
    """The call fails, nothing has changed, and with room it does what it is for."""
    store = subject.store
    making = name in ("append", "hydrate", "hydrate_notes", "hydrate_expansions", "seal")
    if name == "create":
        epoch = 0
    elif making:
        epoch = 0
        store.create_run(make_spec(), "creation")
        store.append_tasks("creation", 0, [Task(task, "pkg.tasks:work") for task in TASKS])
    else:
        epoch = _half_way(subject)
    before = None if name == "create" else picture(subject)
    subject.fill()
    with pytest.raises(RedisRefuses, match="maxmemory"):
        REFUSED[name](subject.connect_impatient(), epoch)
    if before is None:
        assert (subject.list_runs(), subject.list_active_runs()) == ([], [])
    else:
        assert picture(subject) == before
    subject.make_room()
    REFUSED[name](store, epoch)


@pytest.mark.parametrize("name", TAKEN)
def test_what_ends_and_decides_is_taken(subject: Subject, name: str) -> None:
    """It does the same as where there is room."""
    epoch = _half_way(subject)
    subject.fill()
    TAKEN[name](subject.connect_impatient(), epoch)


@pytest.mark.parametrize(
    "done",
    [
        final("a", "t1"),
        final("a", "t1", "failure", error="no"),
        final("a", "t1", "unknown", keep=True),
        again("a", "t1", delay_ms=1000),
    ],
    ids=["success", "failure", "unknown", "retry"],
)
def test_an_outcome_is_taken(subject: Subject, done: object) -> None:
    """What was done is never lost for want of room, however it ended."""
    epoch = _half_way(subject)
    subject.fill()
    assert finish(subject.store, epoch, done) == Code.RECORDED  # type: ignore[arg-type]
    assert "a" not in subject.store.read_claims()


def test_a_late_outcome_is_taken(subject: Subject) -> None:
    """The worker of an unknown task tells how it ended after all."""
    epoch = _half_way(subject)
    subject.fill()
    assert finish(subject.store, epoch, final("c", "t3", keep=True)) == Code.RECORDED
    assert subject.store.read_statuses(["c"]) == [TaskStatus.SUCCESS]


def test_nothing_more_is_claimed(subject: Subject) -> None:
    """The answer is that of a limit: the worker gives the task back, and asks with the next batch.
    A claim that is held already is the caller's.
    """
    epoch = _half_way(subject)
    store = subject.store
    subject.fill()
    wanted = [ClaimRequest("d", "t9", start=True), ClaimRequest("a", "t1", start=True)]
    told = store.advance(epoch, "b1", claims=wanted)
    assert [reply.code for reply in told.claims] == [Code.LIMIT, Code.GRANTED]
    told = store.advance(epoch, "b1", finishes=[final("a", "t1")], claims=wanted[:1])
    assert (told.finishes[0], told.claims[0].code) == (Code.RECORDED, Code.LIMIT)
    store.advance(epoch, "b1", ending=True, unstarted=["d"])
    assert "b1" not in store.read_beats()
    subject.make_room()
    assert claim(store, epoch, "d", "t9", batch="b3").code == Code.GRANTED


def test_a_reopening_is_refused_by_the_chunk(subject: Subject) -> None:
    """What it has set aside stays so, the rest stands; the next reopening ends it."""
    epoch = _half_way(subject)
    store = subject.store
    finish(store, epoch, final("a", "t1", "failure", error="no"))
    store.begin_reopen(epoch, "reopening")
    before = picture(subject)
    subject.fill()
    item = ("a", TaskStatus.FAILURE, Progress(2), True)
    with pytest.raises(RedisRefuses, match="maxmemory"):
        subject.connect_impatient().reopen_tasks(epoch, [item])
    assert picture(subject) == before
    subject.make_room()
    store.reopen_tasks(epoch, [item])
    assert store.read_statuses(["a"]) == [None]


def test_everything_can_be_read(subject: Subject) -> None:
    """A picture of the run is the same as where there is room."""
    epoch = _half_way(subject)
    before = picture(subject), subject.store.read_cut(TASKS), subject.store.read_vitals()
    subject.fill()
    store = subject.store
    assert (picture(subject), store.read_cut(TASKS), store.read_vitals()) == before
    unknown = store.fetch_unknown("c")
    assert unknown is not None
    assert store.read_head().info.epoch == epoch
    assert store.read_standing(TASKS).statuses[1] == TaskStatus.SUCCESS
    assert store.sample_progress(10)
    assert store.read_server().now > 0
