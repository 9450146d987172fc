"""How a coordinator shares work out among those that idle, and what it measures, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from distflow.core.model import Effects
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from tests.support.leading import Leading, played
from tests.unit.conftest import Lead

#: Seconds that little work is held back.
LINGER = 0.011


def idle(led: Leading) -> None:
    """A worker comes that has nothing to do, and is counted."""
    led.worker("idle")
    led.fleet.count_workers()


def believe(led: Leading, seconds: float) -> None:
    """Tasks are thought to take so long, whatever they say."""
    estimates: Any = led.fleet.estimates
    estimates.learn("m:f", seconds)
    estimates.learn = lambda *_measured: None


def test_what_waits_behind_a_long_task_goes_to_a_worker_that_idles(lead: Lead) -> None:
    """A tenth of a second after the task began, and not before: it may be short. When its batch was
    sent does not matter, and the coordinator wakes up for it.
    """
    led = lead(played("a"), played("b"), options=RunOptions())
    led.go_on(10.0)
    led.take(led.worker(), "a")
    led.worker("idle")
    led.step(1.0)
    led.step(0.09)
    assert led.sent_with("b") == 1
    assert led.executor.wake_at == pytest.approx(led.clock.seconds + 0.01)
    led.step(0.01)
    led.step(LINGER)
    assert led.sent_with("b") == 2
    assert led.executor.wake_at > led.clock.seconds + 0.1


@pytest.mark.parametrize("why", ["full", "concurrency", "resting", "paused", "gone"])
def test_what_is_held_back_and_cannot_be_sent_wakes_nobody(why: str, lead: Lead) -> None:
    """Room has gone in the meantime, say: its coordinator would turn without a rest until there is
    some. Then it goes at once, since it has waited.
    """
    led = lead(played("a"), played("b"), options=RunOptions())
    led.go_on(10.0)
    led.take(led.worker(), "a")
    idle(led)
    led.step(1.0)
    led.step(0.1)
    outbox = led.executor._leadership.led.mirror.outbox
    assert led.executor.wake_at == pytest.approx(led.clock.seconds + 0.01)
    if why == "full":
        led.fleet.out["default"] += 100
    elif why == "concurrency":
        outbox._info = replace(outbox._info, options=RunOptions(concurrency=1))
    elif why == "resting":
        outbox._rests.note_failed("default", led.clock.seconds)
    elif why == "paused":
        led.store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    else:
        led.state.cancel_open()
    led.step(LINGER)
    assert led.sent_with("b") == 1
    assert led.executor.wake_at > led.clock.seconds + 0.1
    if why == "full":
        led.fleet.out["default"] -= 100
        led.step()
        assert led.sent_with("b") == 2


def test_what_waits_goes_as_soon_as_a_worker_idles(lead: Lead) -> None:
    """The other worker was busy; its batch ends long after the task began."""
    led = lead(*[played(name) for name in ("a", "b", "c")], options=RunOptions())
    led.take(led.worker(), "a")
    led.worker("other")
    led.fleet.out["default"] += 1
    led.go_on(5.05)
    assert queued(led) == 2
    led.fleet.out["default"] -= 1
    assert led.executor.wake_at <= led.clock.seconds + 0.1
    led.step(0.1)
    led.step(LINGER)
    assert led.sent_with("b") == led.sent_with("c") == 2


def test_what_rests_on_the_task_at_work_stays_behind_it(lead: Lead) -> None:
    """Nobody else could run it yet; what does not rest on it goes."""
    led = lead(played("a"), played("c"), played("b", depends_on=("a",)), options=RunOptions())
    assert [each.name for each in led.transport.sent[0].tasks] == ["a", "c", "b"]
    led.take(led.worker(), "a")
    idle(led)
    led.go_on(5.0)
    assert (led.sent_with("b"), led.sent_with("c")) == (1, 2)


@pytest.mark.parametrize(("effects", "seconds"), [("normal", 0.1), ("idempotent", 0.2)])
def test_a_short_task_that_is_long_holds_nobody_up(
    effects: Effects, seconds: float, lead: Lead
) -> None:
    """No event tells of its claim: it is known by the silence of its batch, once that was heard of.
    Tasks that are claimed in a group come back from their worker, which is given time for that.
    """
    led = lead(*[played(name, effects) for name in ("a", "b", "c")], options=RunOptions())
    believe(led, 0.001)
    worker = led.take(led.worker(), "a")
    worker.claim("b", quiet=True)
    idle(led)
    worker.finish("a", ending=False)
    led.step(0.01)
    led.step(seconds - 0.01)
    assert led.sent_with("c") == 1
    led.step(0.011)
    led.step(LINGER)
    assert (led.sent_with("b"), led.sent_with("c")) == (1, 2)


def test_an_import_is_no_call_that_takes_long(lead: Lead) -> None:
    """What the first task of a batch pays before its call is known: nobody else would be sooner."""
    led = lead(played("a"), played("b"), options=RunOptions())
    led.fleet.estimates.learn_setup("m:f", 500.0)
    led.take(led.worker(), "a")
    idle(led)
    led.step(0.01)
    led.step(0.59)
    assert led.sent_with("b") == 1
    led.step(0.02)
    led.step(LINGER)
    assert led.sent_with("b") == 2


def test_what_a_batch_pays_before_its_first_call_is_measured(lead: Lead) -> None:
    """From the claim of its first task to the end, less the call; of the others nothing is."""
    led = lead(played("a"), played("b"), options=RunOptions())
    estimates = led.fleet.estimates
    worker = led.take(led.worker(), "a")
    led.step(0.7)
    worker.finish("a", ending=False)
    led.step(0.01)
    assert estimates.setup_ms("m:f") == pytest.approx(700 - 1000 * estimates_of("a", led), abs=2)
    known = estimates.setup_ms("m:f")
    worker.claim("b")
    led.step(2.0)
    worker.finish("b")
    led.step(0.01)
    assert estimates.setup_ms("m:f") == known


def estimates_of(task: str, led: Leading) -> float:
    """How long a task says that it took, in seconds."""
    (event,) = [e for e in led.store.read_events("0-0") if (e.kind, e.task) == ("finished", task)]
    return event.duration


def test_what_tasks_cost_beyond_their_calls_is_measured(lead: Lead) -> None:
    """From what was told of a batch first to what was told last, its setup left out."""
    names = [f"t{number}" for number in range(20)]
    parents = [(), *[(name,) for name in names]]
    chain = [played(name, depends_on=parents[place]) for place, name in enumerate(names)]
    led = lead(*chain, options=RunOptions())
    estimates = led.fleet.estimates
    batch = led.transport.sent[0]
    assert len(batch.tasks) == 20
    worker = led.worker()
    worker.begin(batch)
    for name in names:
        worker.claim(name)
        led.step(0.266)
        worker.finish(name, ending=name == names[-1])
    led.step(0.0)
    # They say that they took a quarter of a second.
    real_ms = estimates.real_ms(batch.tasks[0])
    assert real_ms == pytest.approx(250 + (19 * 266 - 16) / 20 - 250, abs=0.2)


def test_what_a_batch_gives_back_after_its_time_goes_on_at_once(lead: Lead) -> None:
    """Again and again: it has worked, and was not refused. What comes back from batches that could
    claim nothing waits for a second from the second time on.
    """
    names = ("a", "b", "c", "d")
    led = lead(*[played(name) for name in names], options=RunOptions())
    believe(led, 0.001)
    worker = led.worker()
    for name in names[:3]:
        led.take(worker, name)
        worker.finish(name)
        led.step(0.02)
        led.step(LINGER)
    assert led.sent_with("d") == 4
    for seconds, times in ((0.0, 5), (0.0, 5), (1.0, 6)):
        led.step(seconds)
        for batch in list(led.transport.queued.values()):
            del led.transport.queued[batch.id]
            worker.begin(batch)
            worker.end()
        led.step(0.02)
        led.step(LINGER)
        assert led.sent_with("d") == times


def queued(led: Leading) -> int:
    """The tasks that travel in a batch which nobody has claimed them from."""
    return led.state.counts[TaskStatus.QUEUED]


def test_nothing_is_taken_from_a_batch_for_which_nobody_idles(lead: Lead) -> None:
    """All workers have enough to do, or the run may not do more at once: it stays where it is."""
    busy = lead(*[played(name) for name in ("a", "b", "c")], options=RunOptions())
    busy.take(busy.worker(), "a")
    busy.fleet.out["default"] += 10
    busy.go_on(5.0)
    assert queued(busy) == 2


def test_nothing_is_taken_from_a_batch_where_others_wait(lead: Lead) -> None:
    """The run may do one thing at a time: what is ready comes before what travels already."""
    led = lead(
        *[played(name) for name in ("a", "b")],
        played("c", batch=False),
        options=RunOptions(concurrency=1),
    )
    assert [each.name for each in led.transport.sent[0].tasks] == ["a", "b"]
    led.take(led.worker(), "a")
    led.worker("idle")
    led.go_on(5.0)
    assert (queued(led), led.sent_with("c")) == (1, 0)


def test_a_question_is_no_work_that_concurrency_counts(lead: Lead) -> None:
    """While a hook is asked, as many tasks run as may."""
    led = lead(
        played("b"),
        played("a", "at_most_once", verify="m:hook"),
        options=RunOptions(concurrency=1, batch=False),
    )
    led.at_work("b").fail("b", delay_ms=15_000)
    led.go_on(1.0)
    led.at_work("a").die()
    led.go_on(8.0)
    (asking,) = led.transport.queued.values()
    assert asking.verify
    assert led.sent_with("b") == 1
    led.go_on(8.0)
    assert led.sent_with("b") == 2


def test_a_little_work_is_held_back_for_a_moment(lead: Lead) -> None:
    """While batches are out their tasks may bring more: for 10 ms, at whose end the coordinator
    wakes up.
    """
    led = lead(played("a"), played("b"))
    led.fleet.estimates.learn("m:f", 0.0001)
    led.take(led.worker(), "a").fail("a", delay_ms=0)
    led.step()
    assert led.sent_with("a") == 1
    assert led.executor.wake_at == pytest.approx(led.clock.seconds + 0.01)
    led.step(0.011)
    assert led.sent_with("a") == 2
