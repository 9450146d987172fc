"""How a coordinator stops a run: interrupted, handed over, cancelled, out of time; step by step."""

from __future__ import annotations

import pytest

from distflow.core.claim import Code
from distflow.core.model import Retry
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus
from distflow.errors import WrongState
from tests.support.leading import just_before, move, played
from tests.unit.conftest import Lead


def test_an_interrupted_run_leaves_nothing_in_the_queues(lead: Lead) -> None:
    """Ctrl-C: a worker that idles takes nothing of it up; what runs ends by itself."""
    led = lead(played("a"), played("b"))
    worker = led.at_work("a")
    assert led.transport.queued
    led.interrupt.set()
    assert led.step() == RunStatus.INTERRUPTED
    assert led.transport.queued == {}
    assert led.info.reason == "interrupted"
    assert worker.finish("a") == Code.RECORDED


def test_a_run_that_is_handed_over_goes_on(lead: Lead) -> None:
    """Its lease is free at once, so that another goes on; until then workers take what was sent."""
    led = lead(played("a"), played("b"), played("c", depends_on=("a",)))
    first = led.at_work("a")
    led.interrupt.hands_over = True
    led.interrupt.set()
    assert led.step() == RunStatus.RUNNING
    led.executor.end()
    assert (led.info.status, led.info.coordinator) == (RunStatus.RUNNING, None)
    assert led.transport.withdrawals == 0
    led.take(led.worker("w2"), "b").finish("b")
    first.finish("a")
    led.interrupt.clear()
    led.executor = led.make_executor()
    led.begin()
    assert led.sent_with("c") == 1


def test_a_cancellation_is_handed_over_too(lead: Lead) -> None:
    """Whoever leads next carries it out."""
    led = lead(played("a"))
    led.at_work("a")
    led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=60.0)
    led.interrupt.hands_over = True
    led.interrupt.set()
    assert led.step() == RunStatus.CANCELLING
    assert led.info.status == RunStatus.CANCELLING


def test_an_interruption_leaves_a_cancellation_alone(lead: Lead) -> None:
    """Whoever leads next carries it out."""
    led = lead(played("a"))
    led.at_work("a")
    led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=60.0)
    led.step()
    led.interrupt.set()
    assert led.step() == RunStatus.CANCELLING
    assert led.info.status == RunStatus.CANCELLING


def test_a_cancelled_run_leaves_nothing_in_the_queues(lead: Lead) -> None:
    """What waits is cancelled at once, with the reason; what runs has its grace, and is killed
    then: again and again, since a batch may begin at this very moment.
    """
    led = lead(played("a"), played("b"))
    led.at_work("a")
    led.cancel.set()
    assert led.step() is None
    assert led.transport.queued == {}
    cancelled = led.result("b")
    assert cancelled is not None
    assert (cancelled.status, cancelled.message) == ("cancelled", "cancelled by a signal")
    led.go_on(led.settings.grace_seconds - 1)
    assert led.transport.stopped == []
    led.go_on(2.5)
    assert len(led.transport.stopped) >= 2
    assert len(led.transport.stopped) <= 3


def test_a_shorter_grace_counts(lead: Lead) -> None:
    """A second cancellation says that there is no time: what runs is killed at the next look."""
    led = lead(played("a"))
    led.at_work("a")
    led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=600.0)
    led.go_on(60.0)
    assert led.transport.stopped == []
    led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=0.0)
    led.go_on(1.0)
    assert led.transport.stopped


def test_a_cancellation_that_says_no_grace_has_the_usual_one(lead: Lead) -> None:
    """By the coordinator's own settings, from the moment at which it saw the cancellation."""
    led = lead(played("a"))
    led.at_work("a")
    led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING})
    led.go_on(led.settings.grace_seconds - 1)
    assert led.transport.stopped == []
    led.go_on(3.0)
    assert led.transport.stopped


def test_a_run_that_takes_too_long_is_cancelled(lead: Lead) -> None:
    """Its coordinator wakes up for that, though nothing else is due; the reason says why."""
    led = lead(played("a"), options=RunOptions(timeout=20.0))
    worker = led.at_work("a")
    led.clock.seconds += 17.0
    assert led.executor.wake_at <= led.clock.seconds + 1.1
    led.go_on(2.0)
    assert led.info.status == RunStatus.CANCELLING
    assert led.info.reason == "timed out after 20 s"
    worker.finish("a", "cancelled")
    assert led.step() == RunStatus.CANCELLED


def test_a_timeout_wakes_a_coordinator_of_which_nothing_is_due(lead: Lead) -> None:
    """A run whose only task waits for ten minutes is looked at again when its time is over."""
    led = lead(played("a", retry=Retry(1, delay=600.0)), options=RunOptions(timeout=20.0))
    worker = led.at_work("a")
    worker.fail("a", delay_ms=600_000)
    led.step()
    led.go_on(2.0)
    began = led.info.clock_at
    assert began is not None
    assert led.executor.wake_at == pytest.approx(
        began + 20.0 - led.clock.unix() + led.clock.seconds
    )


def test_a_retry_wakes_a_coordinator_of_which_nothing_is_due(lead: Lead) -> None:
    """The task is sent again at its time, and not at the next look."""
    led = lead(played("a", retry=Retry(1, delay=3.0)))
    led.at_work("a").fail("a", delay_ms=3_000)
    led.step()
    assert led.executor.wake_at == pytest.approx(led.clock.seconds + 3.0, abs=0.01)
    led.step(2.9)
    assert led.sent_with("a") == 1
    led.step(0.2)
    assert led.sent_with("a") == 2


def test_a_pause_at_the_moment_of_a_timeout_counts(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error: the event of the pause says how the run stands."""
    led = lead(played("a"), options=RunOptions(timeout=20.0))
    led.at_work("a")
    just_before(monkeypatch, led, RunStatus.CANCELLING, move(led, RunStatus.PAUSED))
    led.go_on(60.0)
    assert led.info.status == RunStatus.PAUSED
    with pytest.raises(WrongState):
        led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING})
