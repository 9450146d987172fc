"""What a coordinator lets follow from what happened, step by step: no processes."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from tests.support.leading import played
from tests.support.stores import (
    outcome,
)
from tests.unit.conftest import Lead


def test_what_rests_on_a_failure_is_skipped(lead: Lead) -> None:
    """In the store, with the reason; and the run ends."""
    led = lead(played("a"), played("b", depends_on=("a",)), played("c", depends_on=("b",)))
    led.at_work("a").finish("a", "failure")
    assert led.step() == RunStatus.FAILURE
    for name in ("b", "c"):
        skipped = led.result(name)
        assert skipped is not None
        assert (skipped.status, skipped.message) == (
            "skipped",
            "not run: 'a' ended as failure",
        )
    assert [notice.task for notice in led.told if notice.kind == "task_skipped"] == ["b", "c"]


def test_a_skip_that_was_overtaken_is_no_error(lead: Lead) -> None:
    """The store has an outcome of the task already: that stands, and all is read again."""
    led = lead(played("a"), played("b", depends_on=("a",)), played("c", depends_on=("b",)))
    worker = led.at_work("a")
    run = led.server.runs["run-1"]
    run.results["b"] = outcome("success", data=1)
    run.results["c"] = outcome("success", data=2)
    worker.finish("a", "failure")
    assert led.go_on(2.0) == RunStatus.FAILURE
    for name in ("b", "c"):
        result = led.result(name)
        assert result is not None
        assert result.status == TaskStatus.SUCCESS
    assert [notice for notice in led.told if notice.kind == "task_skipped"] == []
    assert led.state.counts[TaskStatus.SUCCESS] == 2


def test_the_attempts_of_what_is_cancelled_count_on(lead: Lead) -> None:
    """A task had failed twice and was cancelled while it waited: a resume counts from there."""
    led = lead(played("a"))
    led.at_work("a").fail("a", delay_ms=1000)
    led.go_on(2.0)
    led.take(led.worker("second"), "a").fail("a", delay_ms=600_000)
    led.step()
    led.cancel.set()
    led.go_on(2.0)
    cancelled = led.result("a")
    assert cancelled is not None
    assert (cancelled.status, cancelled.attempt) == ("cancelled", 2)


def test_nothing_is_due_again_and_again(lead: Lead) -> None:
    """A run that is cancelled after its timeout is looked at as any other: its coordinator would
    turn without a rest otherwise.
    """
    led = lead(played("a"), options=RunOptions(timeout=20.0))
    led.at_work("a")
    led.go_on(25.0)
    assert led.info.status == RunStatus.CANCELLING
    assert led.info.stop_at is not None
    assert led.executor.wake_at > led.clock.seconds


def test_a_cancellation_is_written_once(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal stays set: that is no second cancellation, whose grace would count."""
    led = lead(played("a"))
    led.at_work("a")
    written: list[RunStatus] = []
    set_status = led.store.set_status

    def note(new: RunStatus, *args: Any, **options: Any) -> RunStatus:
        written.append(new)
        return set_status(new, *args, **options)

    monkeypatch.setattr(led.store, "set_status", note)
    led.cancel.set()
    led.go_on(5.0)
    assert written == [RunStatus.CANCELLING]


def test_a_hook_that_never_answers_is_told_of(lead: Lead) -> None:
    """Each worker that asks it is killed by it: after four a person decides, and the history says
    why.
    """
    led = lead(played("a", "at_most_once", verify="m:hook"))
    led.at_work("a").die()
    ended = None
    for number in range(6):
        ended = led.go_on(6.0)
        if ended is not None:
            break
        (batch,) = led.transport.queued.values()
        assert batch.verify
        worker = led.worker(f"w{number}")
        del led.transport.queued[batch.id]
        assert worker.begin(batch) == Code.OK
        led.go_on(1.5)
        worker.die()
    assert ended == RunStatus.BLOCKED
    assert [entry.kind for entry in led.store.read_history()].count("asked") == 1
    assert sum(batch.verify for batch in led.transport.sent) == 4


def test_what_never_ran_teaches_nothing(lead: Lead) -> None:
    """A task that was lost before its start took no time: that is no measure of its function."""
    led = lead(played("a", "at_most_once"))
    worker = led.take(led.worker(), "a", start=False)
    for number in range(5):
        led.go_on(2.0)
        worker.die()
        led.go_on(6.0)
        if not led.transport.queued:
            break
        worker = led.take(led.worker(f"w{number}"), "a", start=False)
    result = led.result("a")
    assert result is not None
    assert result.status == TaskStatus.FAILURE
    assert led.fleet.estimates.run_ms("m:f") is None


def test_what_is_given_back_is_sent_again(lead: Lead) -> None:
    """A worker had claimed it ahead, and did not begin it."""
    led = lead(played("a"))
    worker = led.at_work("a")
    worker.release("a")
    worker.end()
    led.go_on(1.0)
    assert led.sent_with("a") == 2
    assert dict(led.running) == {}
    led.take(led.worker("second"), "a").finish("a")
    assert led.step() == RunStatus.SUCCESS


def test_a_decision_overtakes_the_end_of_asking(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person decides at the moment at which the hook is given up: that is no error."""
    led = lead(played("a", "at_most_once", verify="m:hook"))
    led.at_work("a").die()
    asks = led.store.resolve_task

    def overtaken(operation: str, decision: Any, asked: Any, *more: Any) -> Any:
        seen = asked._replace(packed=outcome("success"))
        asks("person", "done", seen, "p", "")
        return asks(operation, decision, asked, *more)

    ended = None
    for number in range(5):
        led.go_on(6.0)
        if number == 3:
            monkeypatch.setattr(led.store, "resolve_task", overtaken)
        worker = led.worker(f"w{number}")
        (batch,) = led.transport.queued.values()
        del led.transport.queued[batch.id]
        worker.begin(batch)
        led.go_on(1.5)
        worker.die()
        if number == 3:
            ended = led.go_on(8.0)
            break
    assert ended == RunStatus.SUCCESS


def test_a_task_that_overruns_is_stopped(lead: Lead) -> None:
    """Its worker says that its time is up, and nobody ends it: the coordinator does, 5 s later."""
    led = lead(played("a", timeout=10.0))
    worker = led.at_work("a")
    worker.overdue = True
    led.go_on(5.0)
    assert led.transport.stopped == []
    led.go_on(2.0)
    assert set(led.transport.stopped) == {worker.job}


def test_who_tells_just_in_time_is_not_settled(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker that is given up tells its outcome just before its claim is ended: that stands,
    and is not told as lost.
    """
    led = lead(played("a", "idempotent"))
    worker = led.at_work("a")
    settle = led.store.settle_claim

    def overtaken(epoch: int, batch: str, lost: Any) -> Code:
        worker.finish("a")
        return settle(epoch, batch, lost)

    monkeypatch.setattr(led.store, "settle_claim", overtaken)
    worker.die()
    assert led.go_on(6.0) == RunStatus.SUCCESS
    (said,) = led.said("repair")
    assert said.endswith("; it had claimed nothing")
    assert led.sent_with("a") == 1


def test_a_busy_coordinator_looks_no_more_often(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many events come each second: beats are read once, and the stream is trimmed where there is
    something to trim.
    """
    led = lead(played("a"))
    led.at_work("a")
    asked: list[str] = []
    for name in ("read_beats", "trim_events"):
        call = getattr(led.store, name)

        def note(*args: Any, name: str = name, call: Any = call) -> Any:
            asked.append(name)
            return call(*args)

        monkeypatch.setattr(led.store, name, note)
    for _ in range(100):
        for worker in led.transport.workers.values():
            worker.beat()
        led.step(0.05)
    assert 4 <= asked.count("read_beats") <= 6
    assert asked.count("trim_events") == 0


def test_concurrency_counts_what_was_begun_before(lead: Lead) -> None:
    """A successor does not send more batches than the run's concurrency leaves room for."""
    led = lead(
        *[played(f"t{number}") for number in range(4)],
        options=RunOptions(concurrency=2, batch=False),
    )
    worker = led.at_work("t0")
    assert len(led.transport.sent) == 2
    led.worker("other")
    led.take_over()
    assert len(led.transport.queued) == 1
    worker.finish("t0")
    led.go_on(1.0)
    assert len(led.transport.queued) == 2
