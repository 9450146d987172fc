"""Workers that cannot run a task harm nobody: promise 9, without processes."""

from __future__ import annotations

import re

import pytest

from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.claim import Refused, WorkerFacts, scope_of
from distflow.core.model import Effects, Loop, Retry
from distflow.core.status import RunStatus, TaskStatus
from tests.support.leading import Leading, PlayedWorker, played

WORDS = "ImportError: no m"


def refuse(led: Leading, worker: PlayedWorker, task: str, scope: str = "") -> None:
    """Let a worker take a task and give it back, since something is missing there."""
    led.take(worker, task).refuse(task, scope=scope)
    assert led.step() is None


def test_another_worker_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent again at once, as the same attempt, and nobody waits."""
    led = Leading(played("a", "at_most_once"))
    led.begin()
    good = led.worker("good")
    refuse(led, led.worker("misfit"), "a")
    led.take(good, "a").finish("a")
    assert led.step() == RunStatus.SUCCESS
    result = led.result("a")
    assert result is not None
    assert (result.status, result.attempt) == (TaskStatus.SUCCESS, 1)
    assert led.said("warning") == [
        f"worker misfit on host host, pid 7, in /srv cannot run m:f: {WORDS}"
    ]


@pytest.mark.parametrize("effects", ["normal", "idempotent", "at_most_once"])
def test_what_no_worker_can_run_fails(monkeypatch: pytest.MonkeyPatch, effects: Effects) -> None:
    """Every worker has refused, and no other has come for a minute: it fails in the words of all,
    not by its Retry, and as no unknown task; what rests on it is skipped.
    """
    led = Leading(played("a", effects, retry=Retry(5)), played("b", depends_on=("a",)))
    led.begin()
    for worker in (led.worker("w1"), led.worker("w2")):
        refuse(led, worker, "a")
    assert led.go_on(58) is None
    assert led.go_on(3) == RunStatus.FAILURE
    result = led.result("a")
    assert result is not None
    assert (result.status, result.attempt, result.started) == (TaskStatus.FAILURE, 0, False)
    assert result.error == (
        f"{WORDS} (worker w1 on host host, pid 7, in /srv, worker w2 on host host, pid 7, in /srv)"
    )
    assert result.traceback == "trace"
    assert led.info.counts["skipped"] == 1
    assert led.store.read_refusals() == []


def test_while_one_worker_has_not_refused_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be busy for hours: promise 9."""
    led = Leading(played("a"), played("long"))
    led.begin()
    busy = led.take(led.worker("busy"), "long")
    refuse(led, led.worker("misfit"), "a")
    assert led.go_on(600) is None
    assert led.info.counts["failure"] == 0
    busy.finish("long")
    assert led.step() is None
    led.take(busy, "a").finish("a")
    assert led.step() == RunStatus.SUCCESS


def test_a_worker_that_comes_in_time_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rolling deployment: for a while no worker has the function, and then one does. What is held
    goes out as soon as the new one is seen; it has a minute for itself.
    """
    tasks = [played(f"t{number}") for number in range(20)]
    led = Leading(*tasks)
    led.begin()
    old = led.worker("old")
    refuse(led, old, "t0")
    assert led.go_on(50) is None
    sent = len(led.transport.sent)
    new = led.worker("new")
    assert led.go_on(50) is None
    assert len(led.transport.sent) > sent
    for task in tasks:
        led.take(new, task.name).finish(task.name)
        ended = led.step()
    assert ended == RunStatus.SUCCESS
    assert led.info.counts["success"] == 20


def test_where_nobody_listens_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The misfit is gone as well: a worker is missing, which is another wait."""
    led = Leading(played("a"))
    led.begin()
    refuse(led, led.worker("misfit"), "a")
    led.transport.workers.clear()
    assert led.go_on(300) is None
    assert led.info.counts["failure"] == 0
    # Its refusals are forgotten: there may be ever more of such workers.
    assert led.store.read_refusals() == []


def test_what_is_held_is_tried_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """One task at a time: code may be installed below workers that stay. Once one could run it, all
    others follow, and its refusal is forgotten.
    """
    led = Leading(*[played(f"t{number}") for number in range(50)])
    led.begin()
    worker = led.worker("w1")
    for name in ("t0", "t1"):
        refuse(led, worker, name)
    before = len(led.transport.sent)
    assert led.go_on(1.5) is None
    (tried,) = led.transport.sent[before:]
    (task,) = tried.tasks
    led.take(worker, task.name).finish(task.name)
    assert led.step() is None
    assert led.store.read_refusals() == []
    assert led.step(1.0) is None
    assert len(led.transport.sent) > before + 1


def test_a_try_that_is_refused_is_not_sent_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ever less often, so that workers have time for others."""
    led = Leading(*[played(f"t{number}") for number in range(5)])
    led.begin()
    worker = led.worker()
    refuse(led, worker, "t0")
    for batch in list(led.transport.queued.values()):
        refuse(led, worker, batch.tasks[0].name)
    assert led.transport.queued == {}
    tries = 0
    for _half_second in range(110):
        led.go_on(0.5)
        for batch in list(led.transport.queued.values()):
            tries += 1
            refuse(led, worker, batch.tasks[0].name)
    assert 4 <= tries <= 7
    assert led.info.counts["failure"] == 0


def test_the_refusals_survive_their_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in the store: the next coordinator holds what is held, without asking each worker
    once more; it gives others a minute of its own.
    """
    led = Leading(*[played(f"t{number}") for number in range(5)])
    led.begin()
    refuse(led, led.worker(), "t0")
    led.transport.queued.clear()
    before = len(led.transport.sent)
    led.take_over()
    assert len(led.transport.sent) == before
    assert led.go_on(58) is None
    assert led.go_on(4) == RunStatus.FAILURE
    assert led.info.counts["failure"] == 5


def test_a_restarted_worker_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same name: what it said before says nothing of it now."""
    led = Leading(played("a"))
    led.begin()
    worker = led.worker()
    refuse(led, worker, "a")
    assert led.go_on(50) is None
    led.transport.queued.clear()
    worker.born = "again"
    assert led.go_on(59) is None
    refuse(led, worker, "a") if led.transport.queued else None
    assert led.info.counts["failure"] == 0


@pytest.mark.parametrize(
    ("scope", "failed"),
    [
        ("function m:f", {"a", "b", "c", "d"}),
        ("condition m:is_due", {"b"}),
        ("until m:is_over", {"c"}),
        ("task a", {"a"}),
    ],
)
def test_only_what_needs_it_is_held(
    monkeypatch: pytest.MonkeyPatch, scope: str, failed: set[str]
) -> None:
    """Those with the same function, condition or until; or the one task whose arguments cannot be
    read.
    """
    first = {min(failed): 9}
    tasks = (
        played("a", priority=first.get("a", 0)),
        played("b", condition="m:is_due", priority=first.get("b", 0)),
        played("c", loop=Loop("m:is_over", 3), priority=first.get("c", 0)),
        played("d"),
    )
    led = Leading(*tasks)
    led.begin()
    refuse(led, led.worker(), min(failed), scope)
    led.go_on(65)
    statuses = led.store.read_statuses(["a", "b", "c", "d"])
    found = {name for name, status in zip("abcd", statuses, strict=True) if status is not None}
    assert found == failed


def test_a_tolerated_failure_lets_the_rest_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """continue_on_error holds for it as for any failure."""
    led = Leading(
        played("a", continue_on_error=True),
        played("b", depends_on=("a",), queue="other"),
        settings=CoordinatorSettings(misfit_seconds=0.0),
    )
    led.begin()
    refuse(led, led.worker(), "a")
    assert led.go_on(1) is None
    assert led.store.read_troubles(5).tolerated == ["a"]
    led.take(led.worker(), "b").finish("b")
    assert led.step() == RunStatus.SUCCESS


def test_a_cancelled_run_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held is cancelled at once."""
    led = Leading(played("a"))
    led.begin()
    refuse(led, led.worker(), "a")
    led.transport.queued.clear()
    led.cancel.set()
    assert led.go_on(2) == RunStatus.CANCELLED


def refuse_hook(led: Leading, worker: PlayedWorker) -> None:
    """Let a worker take the question about a task, whose hook it cannot import."""
    (batch,) = [batch for batch in led.transport.queued.values() if batch.verify]
    del led.transport.queued[batch.id]
    worker.begin(batch)
    scope = scope_of("verify", "m:was_done")
    refused = Refused("a", "", scope, "m:was_done", WORDS)
    by = WorkerFacts(worker.name, worker.born, "host", 7, "/srv")
    led.store.advance(batch.epoch, batch.id, refused=[refused], by=by, ending=True, unstarted=["a"])
    assert led.step() is None


def test_a_hook_that_cannot_be_imported_is_asked_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often that is: a round in which no hook was called does not count. In the end a
    person decides.
    """
    led = Leading(played("a", "at_most_once", verify="m:was_done"), played("b"))
    led.begin()
    lost = led.at_work("a")
    lost.die()
    assert led.go_on(5) is None
    assert led.info.counts["unknown"] == 1
    misfit, good = led.worker("misfit"), led.worker("good")
    for _time in range(6):
        refuse_hook(led, misfit)
    assert led.go_on(70) is None
    refuse_hook(led, good)
    assert led.go_on(70) is None
    (asked,) = [entry for entry in led.store.read_history("a") if entry.kind == "asked"]
    assert asked.note.startswith(f"no worker can ask its verify hook: {WORDS} (worker ")
    assert {"worker misfit", "worker good"} <= set(re.findall(r"worker \w+", asked.note))


def test_a_job_that_no_worker_can_read_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its serializer, or its release: the run waits, however long, and says for whom. When the
    worker could run something after all, it is named no more.
    """
    led = Leading(played("a"))
    led.begin()
    worker = led.worker("w1")
    for _time in range(3):
        (batch_id,) = list(led.transport.queued)
        led.transport.queued.clear()
        led.transport.failures[batch_id] = "worker w1: UntrustedBytes: refused"
        led.transport.blame = "w1"
        for _second in range(80):
            assert led.go_on(1.0) is None
            if led.transport.queued:
                break
    assert led.info.counts["failure"] == 0
    (refusal,) = led.store.read_refusals()
    assert (refusal.scope, refusal.worker) == ("", "w1")
    assert "UntrustedBytes" in refusal.words
    led.take(worker, "a").finish("a")
    assert led.step() == RunStatus.SUCCESS
