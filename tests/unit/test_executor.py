"""A coordinator of one run from its begin to its end, on a clock that a test moves."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.model import Retry
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus
from distflow.errors import LeaseHeld, RunForgotten
from tests.support.leading import Leading, PlayedWorker, played


def lead(led: Leading, monkeypatch: pytest.MonkeyPatch) -> tuple[RunStatus, set[float]]:
    """Let it lead, and return how the run ended, and for how long it slept each time. Where it
    waits for events, workers do what is in the queues, and time passes.
    """
    read, sleep = led.store.read_events, led.clock.sleep
    slept: set[float] = set()

    def work(after: str, *, block_ms: int | None = None) -> Any:
        found = read(after)
        if block_ms is None or found:
            return found
        for name, batch in list(led.transport.queued.items()):
            del led.transport.queued[name]
            worker = PlayedWorker(led.store, led.clock, f"w-{name}")
            worker.begin(batch)
            for task in batch.tasks:
                worker.claim(task.name)
                tried = sum(
                    task.name in {each.name for each in b.tasks} for b in led.transport.sent
                )
                if task.retry is not None and tried == 1:
                    worker.fail(task.name, delay_ms=30_000)
                else:
                    worker.finish(task.name, ending=False)
            if worker.batch is not None:
                worker.end()
        sleep(block_ms / 1000)
        return read(after)

    def note(seconds: float, /) -> None:
        slept.add(seconds)
        sleep(seconds)

    monkeypatch.setattr(led.store, "read_events", work)
    monkeypatch.setattr(led.clock, "sleep", note)
    return led.executor.lead(), slept


def test_it_leads_a_run_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever waits: a task that is tried again after half a minute, which takes no time here."""
    led = Leading(played("a", retry=Retry(1, delay=30.0)), played("b", depends_on=("a",)))
    began = led.clock.seconds
    assert lead(led, monkeypatch) == (RunStatus.SUCCESS, set())
    assert 30.0 <= led.clock.seconds - began < 40.0
    assert (led.sent_with("a"), led.sent_with("b")) == (2, 1)
    assert (led.info.coordinator, sorted(led.server.active)) == (None, [])
    kinds = [notice.kind for notice in led.told]
    assert (kinds[0], kinds[-1]) == ("workflow_start", "workflow_end")


def test_it_lets_the_events_of_many_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    """For two milliseconds, where nothing is to be sent meanwhile."""
    tasks = [played(f"t{number}") for number in range(400)]
    led = Leading(*tasks, options=RunOptions(batch=False))
    for number in range(20):
        led.worker(f"w{number}")
    one_by_one = led.transport.dispatch

    def dispatch(batches: Any) -> None:
        one_by_one(batches)
        # One of them is done at once, and the others are on their way.
        batch = led.transport.queued.pop(batches[0].id)
        worker = PlayedWorker(led.store, led.clock, f"now-{batch.id}")
        worker.begin(batch)
        worker.claim(batch.tasks[0].name)
        worker.finish(batch.tasks[0].name)

    monkeypatch.setattr(led.transport, "dispatch", dispatch)
    assert lead(led, monkeypatch) == (RunStatus.SUCCESS, {0.002})


def test_a_fresh_coordinator_answers_everything() -> None:
    """Nothing is half-built: one that leads nothing yet has nothing to do."""
    executor = Leading(played("a")).executor
    assert executor.wake_at == float("inf")
    assert (executor.last_event, executor.epoch, executor.run_id) == ("0-0", 0, "run-1")
    assert (executor.is_busy, executor.at_work, executor.hungry) == (False, False, False)
    assert executor.take_batches() == []
    with pytest.raises(RuntimeError, match="begin"):
        executor.step(())
    executor.end()


def test_a_run_that_another_leads_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read, and nothing told."""
    led = Leading(played("a"))
    led.store.acquire_lease("other", 10.0)
    with pytest.raises(LeaseHeld):
        lead(led, monkeypatch)
    assert led.told == []


def test_a_redis_without_any_data_is_named() -> None:
    """Another process of it answers: the run was not deleted by anybody."""
    led = Leading(played("a"))
    led.begin()
    led.go_on(2.0)
    led.server.runs.clear()
    server = led.store.read_server()._replace(server_id="another")
    led.store.read_server = lambda: server  # type: ignore[method-assign]
    with pytest.raises(RunForgotten, match="has no data of it"):
        led.go_on(10.0)
    led.executor.end()
