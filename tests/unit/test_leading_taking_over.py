"""How a coordinator takes a run over, loses it and gives it up, step by step: no processes."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.status import RunStatus
from distflow.errors import LeaseHeld, RedisUnavailable, RunGone, StaleEpoch
from distflow.store.memory.store import MemoryRunStore
from tests.support.leading import Leading, played
from tests.unit.conftest import Lead

# It takes a run over


def test_a_successor_takes_what_its_predecessor_had_queued(lead: Lead) -> None:
    """Off the queues: workers would begin it in vain. It is sent anew, and runs once."""
    led = lead(played("a"), played("b"))
    worker = led.at_work("a")
    (old,) = led.transport.queued
    led.take_over()
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
    led.take_over()
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
    monkeypatch.setattr(led.keeper, "lost", lambda _run: gone)
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
    assert "the run is led anew" in said
    for name in ("a", "b"):
        led.take(worker, name).finish(name)
    assert led.go_on(2.0) == RunStatus.SUCCESS


def test_a_lease_that_came_back_as_well_is_waited_for(lead: Lead) -> None:
    """The data are so old that another held the lease: it leads no more, and its lease lapses."""
    led = lead(played("a"))
    led.at_work("a")
    older(led, leader="berta")
    began = led.clock.seconds
    led.go_on(2.0)
    waited = led.clock.seconds - began
    assert waited == pytest.approx(led.settings.lease_seconds, abs=1.5)
    assert led.info.epoch == led.executor.epoch


def test_a_lease_that_is_kept_alive_is_not_waited_for_long(lead: Lead) -> None:
    """Somebody does lead the run: this coordinator gives it up after two leases."""
    led = lead(played("a"))
    led.at_work("a")
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
    led.executor._leadership.lease._impatient = away
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
    other._leadership.lease._impatient = away
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
    keeper, fleet = led.keeper, led.fleet
    thread = keeper._thread
    assert thread is not None
    assert fleet.network._watched == 1
    led.executor.abandon()
    assert (fleet.network._watched, fleet.out.total()) == (0, 0)
    run = led.server.runs["run-1"]
    before = run.lease
    led.clock.sleep(1.0)
    keeper.renew()
    assert run.lease == before
    led.executor.end()
    thread.join(10)
    assert not thread.is_alive()
