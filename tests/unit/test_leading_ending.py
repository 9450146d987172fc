"""How a coordinator lets a run end, stop or stand still, step by step: no processes."""

from __future__ import annotations

import pytest

from distflow.core.model import Task
from distflow.core.resolution import Resolution
from distflow.core.status import RunStatus
from tests.support.leading import Leading, just_before, move, played
from tests.support.stores import (
    final,
    outcome,
    resolve,
)
from tests.unit.conftest import Lead


def decide(led: Leading, task: str, *, done: bool = True) -> None:
    """A person decides an unknown task."""
    resolve(led.store, "person", task, "done" if done else "retry", outcome("success"), "p", "")


# It ends


@pytest.mark.parametrize(
    ("task", "status", "ends"),
    [
        (played("a"), "success", RunStatus.SUCCESS),
        (played("a", "at_most_once"), "failure", RunStatus.FAILURE),
    ],
)
def test_a_resume_that_changes_nothing(
    lead: Lead, task: Task, status: str, ends: RunStatus
) -> None:
    """The run keeps its end, and is nobody's, as before."""
    led = lead(task, played("b", depends_on=("a",)))
    worker = led.at_work("a")
    token, attempt = worker.held.pop("a")
    worker.tell(final("a", token, status, attempt=attempt, started=True), ending=True)
    ended = led.step()
    if ended is None:
        led.at_work("b", "second").finish("b")
        ended = led.step()
    assert ended == ends
    led.executor.end()
    before = led.info
    led.clock.sleep(100.0)
    led.executor = led.make_executor()
    led.executor.begin(reopen=True)
    assert {item.action for item in led.executor._leadership.led.plan} == {"keep"}
    assert led.step() == ends
    led.executor.end()
    after = led.info
    assert (after.ended_at, after.generation) == (before.ended_at, before.generation)
    assert after.run_seconds == before.run_seconds
    assert sorted(led.server.active) == []
    assert led.sent_with("a") == 1


def test_a_decision_counts_at_the_next_resume(lead: Lead) -> None:
    """What failed at most once was done after all: nothing is left to run, and all is well."""
    led = lead(played("a", "at_most_once"))
    worker = led.at_work("a")
    token, attempt = worker.held.pop("a")
    worker.tell(final("a", token, "failure", attempt=attempt, started=True), ending=True)
    assert led.step() == RunStatus.FAILURE
    led.executor.end()
    (seen,) = led.store.read_results(["a"])
    assert seen is not None
    decided = Resolution("a", outcome("success"), seen)
    led.store.resolve_tasks("person", "done", [decided], "p", "")
    led.executor = led.make_executor()
    led.executor.begin(reopen=True)
    assert led.step() == RunStatus.SUCCESS


def test_time_at_rest_is_no_run_time(lead: Lead) -> None:
    """It ran for some seconds, stood still for an hour, and ran for some seconds more."""
    led = lead(played("a"), played("b", depends_on=("a",)))
    led.at_work("a").finish("a", "failure")
    assert led.step() == RunStatus.FAILURE
    led.executor.end()
    first = led.info.run_seconds
    assert first is not None
    assert 2.0 <= first < 5.0
    led.clock.sleep(3600.0)
    assert led.info.run_seconds == first
    led.executor = led.make_executor()
    led.begin(reopen=True)
    led.at_work("a", "second").finish("a")
    led.step()
    led.at_work("b", "third").finish("b")
    assert led.step() == RunStatus.SUCCESS
    ran = led.info.run_seconds
    assert ran is not None
    assert first + 4.0 <= ran < first + 10.0


@pytest.mark.parametrize(
    ("status", "ends"), [("success", RunStatus.SUCCESS), ("failure", RunStatus.FAILURE)]
)
def test_a_run_that_ended_is_nobodys(lead: Lead, status: str, ends: RunStatus) -> None:
    """It is off the list of those that somebody should lead, and its lease is free."""
    led = lead(played("a"))
    led.at_work("a").finish("a", status)
    assert led.step() == ends
    led.executor.end()
    assert sorted(led.server.active) == []
    assert (led.info.coordinator, led.info.status) == (None, ends)


def test_whoever_wakes_up_after_its_end_unlists_nothing(lead: Lead) -> None:
    """It was frozen before it let go, and somebody has resumed the run since."""
    led = lead(played("a"))
    led.at_work("a").finish("a", "failure")
    assert led.step() == RunStatus.FAILURE
    frozen, led.executor = led.executor, led.make_executor()
    led.begin(force=True, reopen=True)
    frozen.end()
    assert sorted(led.server.active) == ["run-1"]
    led.at_work("a", "second").finish("a")
    assert led.step() == RunStatus.SUCCESS
    led.executor.end()
    assert sorted(led.server.active) == []


def test_a_run_that_is_blocked_stays_listed(lead: Lead) -> None:
    """Whoever comes next, a service for one, is to lead it when it was decided."""
    led = lead(played("a", "at_most_once"), played("b", depends_on=("a",)))
    led.at_work("a").die()
    assert led.go_on(10.0) == RunStatus.BLOCKED
    led.executor.end()
    assert sorted(led.server.active) == ["run-1"]
    assert (led.info.coordinator, led.info.status) == (None, RunStatus.BLOCKED)


@pytest.mark.parametrize("done", [True, False])
def test_a_decision_at_the_moment_of_blocking_counts(
    lead: Lead, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """The decision finds the run running, and so wakes nobody: who leads it goes on at once."""
    led = lead(played("a", "at_most_once"), played("b", depends_on=("a",)))
    worker = led.at_work("a")
    just_before(monkeypatch, led, RunStatus.BLOCKED, lambda: decide(led, "a", done=done))
    worker.die()
    assert led.go_on(10.0) is None
    assert led.info.status == RunStatus.RUNNING
    assert led.executor.wake_at <= led.clock.monotonic() + led.settings.watch_seconds
    if not done:
        assert led.sent_with("a") == 2
        led.take(led.worker("second"), "a").finish("a")
        led.step()
    led.take(led.worker("third"), "b").finish("b")
    assert led.step() == RunStatus.SUCCESS


def test_a_decision_on_one_of_two_counts(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rests on the other waits for a person; the one that was decided runs meanwhile."""
    led = lead(played("a", "at_most_once"), played("b", "at_most_once"))
    workers = [led.at_work("a"), led.at_work("b", "other")]
    just_before(monkeypatch, led, RunStatus.BLOCKED, lambda: decide(led, "a", done=False))
    for worker in workers:
        worker.die()
    assert led.go_on(10.0) is None
    led.take(led.worker("second"), "a").finish("a")
    assert led.go_on(2.0) == RunStatus.BLOCKED


def test_who_leads_a_blocked_run_ends_it(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last task is decided at the moment of blocking: no worker has anything to do, and the run
    is a success at once.
    """
    led = lead(played("a", "at_most_once"))
    worker = led.at_work("a")
    just_before(monkeypatch, led, RunStatus.BLOCKED, lambda: decide(led, "a"))
    worker.die()
    assert led.go_on(10.0) == RunStatus.SUCCESS


@pytest.mark.parametrize(
    ("to", "ends"),
    [(RunStatus.PAUSED, RunStatus.PAUSED), (RunStatus.CANCELLING, RunStatus.BLOCKED)],
)
def test_a_person_who_is_just_before_the_end_is_heard(
    lead: Lead, monkeypatch: pytest.MonkeyPatch, to: RunStatus, ends: RunStatus
) -> None:
    """Pause or cancel, at the moment at which the run would block: no error, and it is obeyed."""
    led = lead(played("a", "at_most_once"))
    worker = led.at_work("a")
    just_before(monkeypatch, led, RunStatus.BLOCKED, move(led, to))
    worker.die()
    assert led.go_on(10.0) == ends


def test_a_cancellation_overtakes_the_decision(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task is decided at the moment of blocking, and the run cancelled before its coordinator
    goes on: it is cancelled.
    """
    led = lead(played("a", "at_most_once"), played("b", depends_on=("a",)))
    worker = led.at_work("a")
    just_before(monkeypatch, led, RunStatus.BLOCKED, lambda: decide(led, "a"))
    just_before(monkeypatch, led, RunStatus.RUNNING, move(led, RunStatus.CANCELLING))
    worker.die()
    assert led.go_on(10.0) == RunStatus.CANCELLED
    assert led.result("b") is not None
    assert led.sent_with("b") == 0


def test_a_paused_run_is_led_until_its_tasks_have_ended(lead: Lead) -> None:
    """What runs may end; nothing more is sent; and then the lease is free."""
    led = lead(played("a"), played("b", depends_on=("a",)))
    worker = led.at_work("a")
    led.store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    assert led.go_on(5.0) is None
    worker.finish("a")
    assert led.step() == RunStatus.PAUSED
    assert led.sent_with("b") == 0


def test_a_resume_at_the_moment_of_pausing_counts(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person resumes while the coordinator that saw the pause is about to leave: it stays."""
    led = lead(played("a"))
    led.store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    read_status = led.store.read_status

    def resumed() -> RunStatus:
        led.store.set_status(RunStatus.RUNNING, {RunStatus.PAUSED})
        monkeypatch.undo()
        return read_status()

    monkeypatch.setattr(led.store, "read_status", resumed)
    assert led.step() is None
    assert led.step() is None
    led.take(led.worker(), "a").finish("a")
    assert led.step() == RunStatus.SUCCESS
