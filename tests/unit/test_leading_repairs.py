"""What a coordinator finds missing, and mends, step by step: no processes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.readings import ServerInfo
from distflow.core.status import RunStatus
from tests.support.leading import Leading, played
from tests.support.stores import (
    outcome,
    resolve,
)
from tests.unit.conftest import Lead


def test_a_batch_that_vanished_is_sent_again(lead: Lead) -> None:
    """It is in no queue, and nobody began it: after 5 s. One that waits in its queue for an hour is
    left there.
    """
    led = lead(played("a"), played("b"))
    lost, kept = led.transport.sent
    del led.transport.queued[lost.id]
    led.go_on(4.0)
    assert led.said("repair") == []
    led.go_on(2.5)
    assert led.said("repair") == [f"batch {lost.id} vanished from its queue, and is sent again"]
    led.go_on(3600.0)
    assert kept.id in led.transport.queued
    assert led.info.repairs == {"entry_lost": 1}


@pytest.mark.parametrize("ends", [True, False])
def test_a_batch_that_was_taken_meanwhile_has_not_vanished(
    lead: Lead, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """A worker was slow to begin it: it was in no queue at the first look. It begins it just before
    the second, or does it and ends it: what tells of that is read before anything is said.
    """
    led = lead(played("a"))
    (batch,) = led.transport.queued.values()
    led.transport.queued.clear()
    worker = led.worker()
    looked: list[float] = []
    find = led.transport.find_queued

    def taken(run_id: str, queues: Any) -> set[str]:
        looked.append(led.clock.seconds)
        if len(looked) == 2:
            worker.begin(batch)
            worker.claim("a")
            if ends:
                worker.finish("a")
        return find(run_id, queues)

    monkeypatch.setattr(led.transport, "find_queued", taken)
    ended = led.go_on(20.0)
    assert len(looked) >= 2
    assert led.said("repair") == []
    assert led.sent_with("a") == 1
    assert ended == (RunStatus.SUCCESS if ends else None)


def restart(led: Leading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of Redis answers."""
    now = lambda: ServerInfo(led.clock.unix(), "another")  # noqa: E731 - in the place of a method
    monkeypatch.setattr(led.store, "read_server", now)


def test_after_a_restart_all_is_read_and_sent_again(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was queued is taken off the queues first, and no id is used twice: an old entry would be
    taken for a new one. What is at work goes on.
    """
    led = lead(played("a"), played("b"))
    worker = led.at_work("a")
    old = set(led.transport.queued)
    restart(led, monkeypatch)
    led.go_on(2.0)
    assert led.info.repairs == {"redis_restarted": 1}
    assert not old & led.transport.queued.keys()
    assert (led.sent_with("a"), led.sent_with("b")) == (1, 2)
    ids = [batch.id for batch in led.transport.sent]
    assert len(set(ids)) == len(ids)
    assert worker.finish("a") == Code.RECORDED
    led.take(led.worker("second"), "b").finish("b")
    assert led.go_on(2.0) == RunStatus.SUCCESS


@pytest.mark.parametrize("phase", range(6))
def test_a_claim_that_redis_has_lost_is_found(lead: Lead, phase: int) -> None:
    """It came back with data from before the claim: no event will tell how the task ended. Within
    6 s, whenever it was looked last.
    """
    led = lead(played("a"), played("b"))
    led.at_work("b", "other")
    led.at_work("a")
    led.go_on(float(phase))
    run = led.server.runs["run-1"]
    del run.claims["a"], run.beats[led.transport.workers["w"].job]
    led.go_on(5.5)
    assert led.info.repairs == {"events_lost": 1}
    assert led.sent_with("a") == 2


def test_what_no_worker_can_read_is_sent_less_and_less_often(lead: Lead) -> None:
    """After 1 s, 2 s, ... up to a minute: the worker takes each at once. The line says which
    worker, and what to do.
    """
    led = lead(played("a"))
    sent_at: list[float] = []
    for _ in range(1200):
        for batch_id in list(led.transport.queued):
            sent_at.append(led.clock.seconds)
            del led.transport.queued[batch_id]
            led.transport.failures[batch_id] = "worker w: ModuleNotFoundError: distflow_worker"
        led.step(0.5)
    gaps = [round(after - before) for before, after in pairwise(sent_at)]
    assert gaps == sorted(gaps)
    assert gaps[0] < 10
    assert 55 <= gaps[-1] <= 70
    assert "install the same distflow where that worker runs" in led.said("repair")[0]
    assert led.info.repairs.keys() == {"entry_refused"}


def test_one_that_reads_again_ends_the_rest_of_its_queue(lead: Lead) -> None:
    """The worker was mended, and a batch ended well: should one fail again, it waits a second."""
    led = lead(*[played(f"t{number}") for number in range(3)])

    def refuse() -> None:
        for batch_id in list(led.transport.queued):
            del led.transport.queued[batch_id]
            led.transport.failures[batch_id] = "worker w: no"

    for _ in range(8):
        refuse()
        led.go_on(20.0)
    led.go_on(70.0)
    assert led.transport.queued
    name = next(batch.tasks[0].name for batch in led.transport.queued.values())
    led.take(led.worker(), name).finish(name)
    led.go_on(1.0)
    refuse()
    led.go_on(10.0)
    assert led.transport.queued


def drop_events(led: Leading) -> None:
    """Somebody deletes the stream; the next event has a later id, as on Redis."""
    led.server.runs["run-1"].events.clear()


def test_an_outcome_of_which_no_event_tells_is_found(lead: Lead) -> None:
    """The stream was deleted: within 10 s while something is at work, 35 s where nothing is."""
    led = lead(played("a"), played("b"), played("c", depends_on=("a",)))
    worker = led.at_work("a")
    led.at_work("b", "other")
    worker.finish("a")
    drop_events(led)
    led.go_on(10.0)
    assert led.sent_with("c") == 1
    assert led.info.repairs == {"events_lost": 1}


def test_it_is_found_where_nothing_is_at_work_as_well(lead: Lead) -> None:
    """The only task that ran has ended, and nobody was told."""
    led = lead(played("a"))
    worker = led.at_work("a")
    worker.fail("a", delay_ms=86_400_000)
    led.step()
    run = led.server.runs["run-1"]
    run.progress.clear()
    run.results["a"] = outcome("success")
    ended = led.go_on(35.0)
    assert ended == RunStatus.SUCCESS


def test_a_decision_of_which_no_event_tells_is_found(lead: Lead) -> None:
    """A person decides, and the stream is deleted: the run waits for a decision no more, also where
    nothing of it is at work.
    """
    led = lead(played("a", "at_most_once"), played("b", depends_on=("a",)), played("c"))
    led.at_work("c", "other").fail("c", delay_ms=600_000)
    led.at_work("a").die()
    led.go_on(10.0)
    resolve(led.store, "person", "a", "done", outcome("success"), "p", "")
    drop_events(led)
    led.go_on(35.0)
    assert led.sent_with("b") == 1
    assert led.info.repairs == {"worker_lost": 1, "events_lost": 1}


@pytest.mark.parametrize("at_work", [True, False])
def test_an_index_that_has_lost_the_run_is_mended(lead: Lead, at_work: bool) -> None:
    """Within 5 minutes, also where it was lost just after a look, and told."""
    led = lead(played("a"))
    worker = led.at_work("a")
    if not at_work:
        worker.fail("a", delay_ms=86_400_000)
    for number in range(1, 4):
        led.server.active.clear()
        lost_at = led.clock.seconds
        while not led.server.active:
            led.go_on(0.5)
            assert led.clock.seconds - lost_at <= 300.0
        assert led.info.repairs == {"index_lost": number}
    assert led.clock.seconds - lost_at > 200.0
    assert set(led.said("repair")) == {"the run was missing from an index, and is listed again"}


def test_a_paused_run_is_listed_by_nobody(lead: Lead) -> None:
    """Nobody should lead it, so that it belongs on no list."""
    led = lead(played("a"))
    led.at_work("a")
    led.store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    led.server.active.clear()
    led.go_on(320.0)
    assert not led.server.active


@pytest.mark.parametrize("phase", range(0, 12, 2))
def test_lost_events_are_found_whenever_they_are_lost(lead: Lead, phase: int) -> None:
    """Within 10 s of it, whenever the coordinator has looked last."""
    led = lead(played("a"), played("b"), played("c", depends_on=("a",)))
    worker = led.at_work("a")
    led.at_work("b", "other")
    led.go_on(phase / 2)
    worker.finish("a")
    drop_events(led)
    lost_at = led.clock.seconds
    while led.sent_with("c") == 0:
        led.go_on(0.5)
        assert led.clock.seconds - lost_at <= 10.0


def test_events_that_were_applied_are_dropped(lead: Lead) -> None:
    """The stream of a run that goes on for days stays short; nothing is dropped twice."""
    led = lead(*[played(f"t{number}") for number in range(20)])
    worker = led.worker()
    for number in range(19):
        led.take(worker, f"t{number}").finish(f"t{number}")
        led.go_on(1.5)
    assert len(led.server.runs["run-1"].events) <= 3
