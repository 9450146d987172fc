"""What a coordinator lets follow from what happened, step by step: no processes."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.model import Effects, TaskResult
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from tests.support.leading import Leading, played
from tests.support.stores import (
    again,
    final,
    outcome,
    resolve,
)
from tests.unit.conftest import Lead

#: Seconds that little work is held back.
LINGER = 0.011


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


def test_a_task_that_was_claimed_in_a_group_is_told_as_begun(lead: Lead) -> None:
    """No event tells of such a claim: its end does, or the beat of its batch, if that is sooner."""
    led = lead(played("a"))
    worker = led.worker()
    (batch,) = led.transport.queued.values()
    led.transport.queued.clear()
    worker.begin(batch)
    worker.claim("a", quiet=True)
    led.step()
    assert [notice for notice in led.told if notice.kind == "task_start"] == []
    led.go_on(2.0)
    assert [notice.task for notice in led.told if notice.kind == "task_start"] == ["a"]
    assert list(led.running) == ["a"]
    worker.finish("a")
    led.step()
    assert [notice.kind for notice in led.told if notice.task == "a"] == ["task_start", "task_end"]


def test_a_task_that_ended_before_anybody_looked_is_told_as_begun(lead: Lead) -> None:
    """Its claim was told by nobody, and it was too short for a beat: both are told at its end."""
    led = lead(played("a"))
    (batch,) = led.transport.queued.values()
    worker = led.worker()
    worker.begin(batch)
    worker.claim("a", quiet=True)
    worker.finish("a")
    assert led.step() == RunStatus.SUCCESS
    assert [notice.kind for notice in led.told if notice.task == "a"] == ["task_start", "task_end"]


def test_a_late_outcome_is_no_second_begin(lead: Lead) -> None:
    """The worker of an unknown task tells how it really ended."""
    led = lead(played("a", "at_most_once"), played("b"))
    led.at_work("b", "other")
    worker = led.at_work("a")
    worker.die()
    led.go_on(6.0)
    assert worker.finish("a") == Code.RECORDED
    led.go_on(1.0)
    kinds = [notice.kind for notice in led.told if notice.task == "a"]
    assert kinds == ["task_start", "task_unknown", "task_end"]


def starts(led: Leading) -> list[str]:
    """The tasks of which was told that they started."""
    return [notice.task for notice in led.told if notice.kind == "task_start"]


def test_a_start_is_told_when_the_function_is_called(lead: Lead) -> None:
    """Of a task with a condition, or that runs at most once, not when it is claimed; of one that
    its condition left out, never.
    """
    led = lead(played("a", condition="m:c"), played("b", "at_most_once"))
    workers = {name: led.take(led.worker(name), name, start=False) for name in "ab"}
    led.step()
    assert starts(led) == []
    workers["b"].start("b")
    led.step()
    assert starts(led) == ["b"]
    workers["a"].tell(final("a", workers["a"].held["a"][0], "skipped")._replace(duration=0.0))
    workers["b"].finish("b")
    led.step()
    assert starts(led) == ["b"]


def test_a_start_that_nobody_told_of_is_told_at_the_end(lead: Lead) -> None:
    """Of a short task that is claimed quietly, and by a worker of 0.1; also where it is tried
    again, each time once.
    """
    led = lead(played("a", condition="m:c"))
    worker = led.take(led.worker(), "a")
    worker.tell(again("a", worker.held["a"][0])._replace(duration=0.25))
    led.step(1.0)
    assert starts(led) == ["a"]
    led.take(led.worker("w2"), "a").finish("a")
    led.step()
    assert starts(led) == ["a", "a"]


def test_who_takes_over_tells_of_no_start_twice(lead: Lead) -> None:
    """What had started was told of by its predecessor; what had not, it tells of."""
    led = lead(played("a", "at_most_once"), played("b"))
    worker = led.take(led.worker("w1"), "a", start=False)
    other = led.take(led.worker("w2"), "b")
    led.step()
    led.take_over()
    told = len(led.told)
    worker.start("a")
    other.finish("b")
    worker.finish("a")
    led.step()
    kinds = [(notice.kind, notice.task) for notice in led.told[told:] if notice.task]
    assert kinds == [("task_start", "a"), ("task_end", "b"), ("task_end", "a")]


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


def test_what_a_decision_says_is_told(lead: Lead) -> None:
    """By whom, and with which words."""
    led = lead(played("a", "at_most_once"), played("b"))
    led.at_work("b", "other")
    led.at_work("a").die()
    led.go_on(6.0)
    resolve(led.store, "p", "a", "done", outcome("success"), "anna", "seen on the statement")
    led.step()
    assert led.said("task_resolved") == ["by anna: seen on the statement"]
    assert isinstance(led.result("a"), TaskResult)
