"""Redis's clock is set forwards or backwards while a run is led, and while nobody leads it."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.model import Loop, Retry, Task
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus
from tests.support.leading import Leading, played
from tests.unit.conftest import Lead

HOUR = 3600.0

either_way = pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["back", "forward"])
whoever = pytest.mark.parametrize("taken_over", [False, True], ids=["the_same", "another"])


def set_clock(led: Leading, by: float, *, taken_over: bool = False) -> None:
    """Set the clock, and let the coordinator, or one that takes the run over, see it."""
    led.clock.set_by += by
    if taken_over:
        led.executor.end()
        led.executor = led.make_executor()
        led.executor.begin()
    led.go_on(2.0)


def waiting(lead: Lead, seconds: float, **fields: Any) -> Leading:
    """A run whose task waits for its next try."""
    led = lead(played("a", **fields))
    worker = led.at_work("a")
    worker.fail("a", delay_ms=int(seconds * 1000))
    led.step()
    return led


@whoever
@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"retry": Retry(3, delay=4.0)}, 4.0),
        ({"retry": Retry(3, delay=1.0, backoff="exponential", jitter=0.5)}, 1.5),
        ({"loop": Loop("m:f", 3, interval=4.0)}, 4.0),
        ({"retry": Retry(3)}, 6.0),
    ],
    ids=["fixed", "backoff", "loop", "retry_after"],
)
def test_a_wait_is_never_longer_than_asked_for(
    lead: Lead, fields: dict[str, Any], seconds: float, *, taken_over: bool
) -> None:
    """Back by an hour: the task runs again when it was to, and a worker is given it."""
    led = waiting(lead, seconds, **fields)
    set_clock(led, -HOUR, taken_over=taken_over)
    led.go_on(seconds + 1.0)
    assert led.sent_with("a") == 2
    led.take(led.worker("w2"), "a")


@pytest.mark.parametrize("by", [0.0, HOUR])
def test_a_wait_is_never_shorter_than_asked_for(lead: Lead, by: float) -> None:
    """Forward by an hour: the wait goes on, also under one who takes the run over, and whoever had
    asked for it: the task's policy, or the task itself.
    """
    led = waiting(lead, 60.0, retry=Retry(3, delay=1.0))
    set_clock(led, by)
    led.go_on(30.0)
    set_clock(led, 0.0, taken_over=True)
    led.go_on(20.0)
    assert led.sent_with("a") == 1
    led.go_on(10.0)
    assert led.sent_with("a") == 2


def test_a_clock_that_goes_a_little_fast_is_not_set(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is moved for what is no more than the usual."""
    led = waiting(lead, 60.0, retry=Retry(3, delay=60.0))
    monkeypatch.setattr(led.store, "set_times", None)
    for _ in range(20):
        led.clock.set_by += 0.02
        led.go_on(1.0)
    assert led.sent_with("a") == 1


@either_way
@whoever
def test_a_run_times_out_when_it_is_to(lead: Lead, by: float, *, taken_over: bool) -> None:
    """Neither an hour early nor an hour late, and whoever takes it over later agrees."""
    led = lead(played("a"), options=RunOptions(timeout=60.0))
    led.at_work("a")
    set_clock(led, by)
    if taken_over:
        set_clock(led, 0.0, taken_over=True)
    led.go_on(40.0)
    assert led.info.reason is None
    led.go_on(20.0)
    assert led.info.status == RunStatus.CANCELLING


def test_a_run_that_began_in_the_future_times_out(lead: Lead) -> None:
    """The clock was set back while nobody led it: its time begins anew, not an hour later."""
    led = lead(played("a"), options=RunOptions(timeout=60.0))
    led.at_work("a")
    set_clock(led, -HOUR, taken_over=True)
    led.go_on(62.0)
    assert led.info.status == RunStatus.CANCELLING


@either_way
@whoever
def test_a_grace_is_what_was_asked_for(lead: Lead, by: float, *, taken_over: bool) -> None:
    """What runs is stopped then, neither at once nor an hour later."""
    led = lead(played("a"))
    led.at_work("a")
    led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=30.0)
    led.go_on(3.0)
    set_clock(led, by)
    if taken_over:
        set_clock(led, 0.0, taken_over=True)
    led.go_on(10.0)
    assert led.transport.stopped == []
    led.go_on(30.0)
    assert led.transport.stopped


def test_another_cancellation_still_shortens_a_grace(lead: Lead) -> None:
    """Whatever the clock shows."""
    led = lead(played("a"))
    led.at_work("a")
    led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=300.0)
    led.go_on(3.0)
    set_clock(led, -HOUR)
    led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=5.0)
    led.go_on(8.0)
    assert led.transport.stopped


def test_a_task_within_its_timeout_is_not_stopped(lead: Lead) -> None:
    """Forward by an hour, while its worker lives and does not beat: it holds the interpreter."""
    led = lead(played("a", timeout=600.0))
    worker = led.at_work("a")
    task: Task = played("a", timeout=600.0)
    assert task.timeout == 600.0
    beat = worker.beat
    worker.beat = lambda: None  # type: ignore[method-assign]
    led.go_on(10.0)
    set_clock(led, HOUR)
    led.go_on(60.0)
    assert (led.transport.stopped, led.result("a")) == ([], None)
    worker.beat = beat  # type: ignore[method-assign]
    assert worker.finish("a") == Code.RECORDED


@either_way
def test_a_worker_that_lives_is_not_lost(lead: Lead, by: float) -> None:
    """It beats, and goes on."""
    led = lead(played("a", "at_most_once"))
    worker = led.at_work("a")
    set_clock(led, by)
    led.go_on(60.0)
    assert led.result("a") is None
    assert worker.finish("a") == Code.RECORDED


@either_way
def test_a_frozen_worker_is_found(lead: Lead, by: float) -> None:
    """What may run twice is given to another: not within seconds, since it was not known yet how
    often its worker sends heartbeats, nor an hour later.
    """
    led = lead(played("a", "idempotent"))
    led.at_work("a").freeze()
    set_clock(led, by)
    led.go_on(90.0)
    assert led.sent_with("a") == 2


@either_way
def test_a_silent_worker_that_redis_has_forgotten_is_not_lost(lead: Lead, by: float) -> None:
    """Its task holds the interpreter, and its registration has run out as the clock went on."""
    led = lead(played("a", "at_most_once"))
    worker = led.at_work("a")
    led.go_on(3.0)
    probe = worker.probe
    worker.beat = lambda: None  # type: ignore[method-assign]
    worker.probe = (  # type: ignore[method-assign]
        lambda now: probe(now)._replace(jobs=[], heard_at=0.0, overdue=None)
    )
    set_clock(led, by)
    led.go_on(60.0)
    assert led.result("a") is None
    assert worker.finish("a") == Code.RECORDED
