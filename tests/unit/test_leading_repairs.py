"""What a coordinator finds missing, takes over and loses, step by step: no processes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.model import TaskResult
from distflow.core.run import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import LeaseHeld, RedisUnavailable, RunGone, StaleEpoch
from distflow.store.memory import MemoryRunStore
from tests.support.leading import Leading, played
from tests.support.stores import outcome
from tests.unit.conftest import Lead

# It takes a run over


def take_over(led: Leading, **options: Any) -> None:
    """The leader was killed, and another comes."""
    led.executor.abandon()
    led.executor = led.make_executor()
    led.executor.begin(force=True, **options)
    assert led.step() is None


def test_a_successor_takes_what_its_predecessor_had_queued(lead: Lead) -> None:
    """Off the queues: workers would begin it in vain. It is sent anew, and runs once."""
    led = lead(played("a"), played("b"))
    worker = led.at_work("a")
    (old,) = led.transport.queued
    take_over(led)
    assert old not in led.transport.queued
    assert (led.sent_with("a"), led.sent_with("b")) == (1, 2)
    # What a worker had begun goes on.
    assert worker.finish("a") == Code.RECORDED
    led.take(led.worker("second"), "b").finish("b")
    assert led.go_on(2.0) == RunStatus.SUCCESS


def test_the_first_leader_of_a_run_need_not_look(lead: Lead) -> None:
    """Nothing of the run can be in any queue: whoever starts a thousand runs reads no queue."""
    led = lead(played("a"))
    assert led.transport.withdrawals == 0


def test_a_run_that_was_never_listed_is_listed_by_its_successor(lead: Lead) -> None:
    """The list of runs that somebody should lead lies in another slot: a crash, or a purge of that
    key, may have left the run out.
    """
    led = lead(played("a"))
    led.server.active.clear()
    take_over(led)
    assert sorted(led.server.active) == ["run-1"]


def test_a_successor_sees_what_happens_while_it_reads(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task ends between the reads of a take-over: it is not sent again."""
    led = lead(played("a"), played("b", depends_on=("a",)))
    worker = led.at_work("a")
    read = led.store.read_standing

    def reads(names: Any) -> Any:
        standing = read(names)
        monkeypatch.undo()
        led.clock.rule(monkeypatch)
        worker.finish("a")
        return standing

    monkeypatch.setattr(led.store, "read_standing", reads)
    led.executor.abandon()
    led.executor = led.make_executor()
    led.executor.begin(force=True)
    # Before any event was read: the first batch goes out right after this.
    assert [batch.tasks[0].name for batch in led.executor.take_batches()] == ["b"]


@pytest.mark.parametrize("status", [RunStatus.INTERRUPTED, RunStatus.BLOCKED, RunStatus.SUCCESS])
def test_a_run_that_does_not_go_on_is_left_as_it_is(lead: Lead, status: RunStatus) -> None:
    """Whoever leads one that was interrupted, is blocked or has ended, without reopening it, is
    told so, and nothing is sent.
    """
    led = lead(played("a"))
    led.executor.end()
    led.store.set_status(status, {RunStatus.RUNNING})
    led.executor = led.make_executor()
    led.executor.begin()
    sent = len(led.transport.sent)
    assert led.step() == status
    assert led.executor.take_batches() == []
    assert not led.executor.hungry
    assert len(led.transport.sent) == sent
    assert led.info.status == status


# It loses the run


def test_a_leader_that_was_replaced_says_so(lead: Lead) -> None:
    """Another took the run over: the next write finds it out, and the error says why."""
    led = lead(played("a"), played("b"))
    worker = led.at_work("a")
    other = led.make_executor()
    other.begin(force=True)
    worker.finish("a")
    with pytest.raises(StaleEpoch, match="another coordinator has taken it over"):
        led.go_on(5.0)
    other.end()


def test_a_leader_whose_lease_was_lost_stops_at_once(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its renewal was refused: it does nothing more, whether anything was to be written or not."""
    led = lead(played("a"))
    led.at_work("a")
    gone = RunGone("run run-1 was deleted")
    monkeypatch.setattr(led.executor._keeper, "lost", lambda _run: gone)
    with pytest.raises(RunGone):
        led.step()


def older(led: Leading, *, leader: str = "", lease_seconds: float = 10.0) -> None:
    """Redis comes back with data from before the coordinator led the run: with the lease of whoever
    did then. The coordinator is to write something.
    """
    run = led.server.runs["run-1"]
    run.lease = None
    if leader:
        led.store.acquire_lease(leader, lease_seconds)
    run.epoch = led.executor.epoch - 1000
    led.transport.workers["w"].fail("a", delay_ms=1000)


def test_a_redis_that_has_forgotten_who_led_is_led_anew(lead: Lead) -> None:
    """By the same coordinator, under a new epoch; it says what was lost."""
    led = lead(played("a"), played("b"))
    worker = led.at_work("a")
    epoch = led.executor.epoch
    older(led)
    led.go_on(2.0)
    assert led.executor.epoch > epoch
    assert led.info.epoch == led.executor.epoch
    (said,) = led.said("repair")
    assert "led anew" in said
    for name in ("a", "b"):
        led.take(worker, name).finish(name)
    assert led.go_on(2.0) == RunStatus.SUCCESS


def test_a_lease_that_came_back_as_well_is_waited_for(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data are so old that another held the lease: it leads no more, and its lease lapses."""
    led = lead(played("a"))
    led.at_work("a")
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        led.clock.sleep(seconds)
        return False

    monkeypatch.setattr(led.interrupt, "wait", wait)
    older(led, leader="berta")
    led.go_on(2.0)
    assert sum(waited) == pytest.approx(led.settings.lease_seconds, abs=1.5)
    assert led.info.epoch == led.executor.epoch


def test_a_lease_that_is_kept_alive_is_not_waited_for_long(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody does lead the run: this coordinator gives it up after two leases."""
    led = lead(played("a"))
    led.at_work("a")
    monkeypatch.setattr(led.interrupt, "wait", led.clock.sleep)
    older(led, leader="berta", lease_seconds=10_000.0)
    began = led.clock.seconds
    with pytest.raises(LeaseHeld):
        led.go_on(2.0)
    assert led.clock.seconds - began < 2 * led.settings.lease_seconds + 3


def test_who_is_interrupted_waits_for_no_lease(lead: Lead) -> None:
    """Ctrl-C while it waits for one to lapse."""
    led = lead(played("a"))
    led.at_work("a")
    older(led, leader="berta", lease_seconds=10_000.0)
    led.interrupt.set()
    began = led.clock.seconds
    with pytest.raises(LeaseHeld):
        led.go_on(2.0)
    assert led.clock.seconds - began < 3


class _Away:
    """A store whose Redis is away for whoever has no patience."""

    def __init__(self, store: MemoryRunStore) -> None:
        self.run_id = store.run_id
        self.asked = 0

    def release_lease(self, owner: str, epoch: int, *, is_over: bool = False) -> None:
        self.asked += 1
        raise RedisUnavailable("Redis cannot be reached")


@pytest.mark.parametrize("over", [True, False])
def test_a_run_that_is_over_is_taken_off_the_list_with_patience(lead: Lead, over: bool) -> None:
    """Nobody else would do it. A lease that is only given up lapses by itself, so that an ending
    coordinator does not wait for Redis.
    """
    led = lead(played("a"))
    away: Any = _Away(led.store)
    led.executor._lease_store = away
    if over:
        led.at_work("a").finish("a")
        assert led.step() == RunStatus.SUCCESS
    led.executor.end()
    assert away.asked == (0 if over else 1)
    assert sorted(led.server.active) == ([] if over else ["run-1"])


def test_who_never_led_gives_nothing_up(lead: Lead) -> None:
    """The lease is another's: the end of one that was refused leaves it alone."""
    led = lead(played("a"))
    other = led.make_executor()
    away: Any = _Away(led.store)
    other._lease_store = away
    with pytest.raises(LeaseHeld):
        other.begin()
    other.end()
    assert led.info.coordinator == led.executor.owner
    # Nor does it ask a Redis that may be away.
    assert away.asked == 0


def test_a_run_that_is_led_again_is_not_over(lead: Lead) -> None:
    """The same coordinator had ended it before, and leaves it at work now: it stays listed."""
    led = lead(played("a"))
    led.at_work("a").finish("a", "failure")
    assert led.step() == RunStatus.FAILURE
    led.executor.end()
    led.executor.begin(reopen=True)
    led.step()
    led.executor.end()
    assert sorted(led.server.active) == ["run-1"]


def test_who_leads_no_more_leaves_nothing_behind(lead: Lead) -> None:
    """No renewal, no thread, and no silent worker that counts towards a silence of the network."""
    led = lead(played("a"))
    led.at_work("a")
    keeper, surroundings = led.executor._keeper, led.executor._surroundings
    assert surroundings.network._watched == 1
    led.executor.abandon()
    assert (surroundings.network._watched, surroundings.out.total()) == (0, 0)
    run = led.server.runs["run-1"]
    before = run.lease
    led.clock.sleep(1.0)
    keeper._renew_all()
    assert run.lease == before
    led.executor.end()
    thread = keeper._thread
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()


# What is missing


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
    assert led.said("repair") == [f"batch {lost.id} had vanished from its queue: it is sent again"]
    led.go_on(3600.0)
    assert kept.id in led.transport.queued
    assert led.info.repairs == {"entry_lost": 1}


def test_a_batch_that_ended_meanwhile_has_not_vanished(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes it, does it and ends it between the last read of events and the look: what
    tells of that is read before anything is said.
    """
    led = lead(played("a"))
    (batch,) = led.transport.sent
    led.go_on(4.0)
    find = led.transport.find_queued

    def taken(run_id: str, queues: Any) -> set[str]:
        if batch.id in led.transport.queued:
            led.take(led.worker(), "a").finish("a")
        return find(run_id, queues)

    monkeypatch.setattr(led.transport, "find_queued", taken)
    assert led.go_on(30.0) == RunStatus.SUCCESS
    assert led.said("repair") == []
    assert led.sent_with("a") == 1


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
    """The worker was mended: the next batch that ends well sets the wait back to none."""
    led = lead(*[played(f"t{number}") for number in range(4)])
    for _ in range(8):
        for batch_id in list(led.transport.queued):
            del led.transport.queued[batch_id]
            led.transport.failures[batch_id] = "worker w: no"
        led.go_on(20.0)
    led.transport.failures.clear()
    wait = led.go_on(70.0)
    assert wait is None
    worker = led.worker()
    for number in range(4):
        name = next(batch.tasks[0].name for batch in led.transport.queued.values())
        led.take(worker, name).finish(name)
        ended = led.go_on(1.0)
        assert (ended == RunStatus.SUCCESS) is (number == 3)


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
    led.store.resolve_task("person", "a", "done", outcome("success"), "p", "")
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
    assert set(led.said("repair")) == {"the run was missing in an index: it is listed again"}


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


# What follows


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
    led = lead(played("a"), played("b", depends_on=("a",)))
    worker = led.at_work("a")
    run = led.server.runs["run-1"]
    run.results["b"] = outcome("success", data=1)
    worker.finish("a", "failure")
    led.go_on(2.0)
    result = led.result("b")
    assert result is not None
    assert result.status == TaskStatus.SUCCESS
    assert led.go_on(1.0) == RunStatus.FAILURE
    assert [notice for notice in led.told if notice.kind == "task_skipped"] == []


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


def test_what_waits_behind_a_long_task_goes_to_a_worker_that_idles(lead: Lead) -> None:
    """A second after the task began, and not before: it may have been short."""
    led = lead(played("a"), played("b"), options=RunOptions())
    led.take(led.worker(), "a")
    led.worker("idle")
    led.go_on(0.5)
    assert led.sent_with("b") == 1
    led.go_on(3.0)
    assert led.sent_with("b") == 2


def test_a_little_work_is_held_back_for_a_moment(lead: Lead) -> None:
    """While batches are out their tasks may bring more: for 10 ms, at whose end the coordinator
    wakes up.
    """
    led = lead(played("a"), played("b"))
    led.executor._surroundings.estimates.learn("m:f", 0.0001)
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
    assert list(led.executor.running) == ["a"]
    worker.finish("a")
    led.step()
    assert [notice.kind for notice in led.told if notice.task == "a"] == ["task_start", "task_end"]


def test_concurrency_counts_what_was_begun_before(lead: Lead) -> None:
    """A successor does not send more batches than the run's concurrency leaves room for."""
    led = lead(
        *[played(f"t{number}") for number in range(4)],
        options=RunOptions(concurrency=2, batch=False),
    )
    worker = led.at_work("t0")
    assert len(led.transport.sent) == 2
    led.worker("other")
    take_over(led)
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
    led.store.resolve_task("p", "a", "done", outcome("success"), "anna", "seen on the statement")
    led.step()
    assert led.said("task_resolved") == ["by anna: seen on the statement"]
    assert isinstance(led.result("a"), TaskResult)
