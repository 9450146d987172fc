"""What a coordinator does about workers that are lost, second by second: no processes."""

from __future__ import annotations

import pytest

from distflow.core.claim import Code
from distflow.core.model import Effects
from distflow.core.readings import ServerInfo
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus
from tests.support.leading import Leading, played
from tests.unit.conftest import Lead


@pytest.mark.parametrize("slept", [4.0, 60.0, 3600.0])
def test_a_coordinator_that_slept_trusts_no_old_beat(lead: Lead, slept: float) -> None:
    """This host was suspended, or the process stopped: its workers may have worked on for all that
    time, and look lost only because nobody was looking.
    """
    led = lead(played("a", "idempotent"))
    worker = led.at_work("a")
    # Its one process was connected, and is not at the moment of the look: it connects again.
    worker.connected = False
    led.step(slept)
    assert led.said("repair") == []
    assert led.store.read_claims().keys() == {"a"}
    worker.connected = True
    led.go_on(10.0)
    assert worker.finish("a") == Code.RECORDED
    assert led.step() == RunStatus.SUCCESS
    assert led.sent_with("a") == 1


def test_a_worker_that_stays_away_is_lost_after_a_sleep_as_well(lead: Lead) -> None:
    """The evidence is gathered anew, and is good again: within 5 s."""
    led = lead(played("a", "idempotent"))
    led.at_work("a").die()
    led.step(60.0)
    assert led.said("repair") == []
    led.go_on(4.0)
    (told,) = led.said("repair")
    assert told.startswith("a: waiting; worker w was lost: no heartbeat since ")
    assert told.endswith(", and none of its processes is connected")
    assert led.sent_with("a") == 2


def test_a_claim_without_a_beat_is_given_up(lead: Lead) -> None:
    """Redis came back without the beat of a batch whose worker died with it: nobody works on what
    it claimed.
    """
    led = lead(played("a", "idempotent"))
    led.at_work("a").die()
    led.server.runs["run-1"].beats.clear()
    led.go_on(5.0)
    assert led.said("repair") == ["a: waiting; worker ? was lost: its claims have no heartbeat"]
    assert led.sent_with("a") == 2


def test_what_has_lost_its_worker_travels_alone(lead: Lead) -> None:
    """Any of the tasks that the worker held may be what kills workers: each must not use up the
    losses of the others.
    """
    led = lead(*[played(name, "idempotent") for name in ("a", "b", "c")], options=RunOptions())
    worker = led.take(led.worker(), "a")
    assert worker.claim("b") == Code.GRANTED
    led.go_on(1.0)
    worker.die()
    led.go_on(5.0)
    led.take(led.worker("second"), "c").finish("c")
    led.go_on(2.0)
    first, *others = [[each.name for each in batch.tasks] for batch in led.transport.sent]
    assert first == ["a", "b", "c"]
    assert sorted(others) == [["a"], ["b"], ["c"]]


def test_a_redis_that_takes_no_writes_shows_no_beat(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers who reads, and holds back whatever writes: beats, and heartbeats of workers as
    well. Nobody is judged before a write of the coordinator's own has gone through, and what came
    with it was read.
    """
    led = lead(played("a", "idempotent"))
    worker = led.at_work("a")
    worker.freeze()
    take_writes = led.store.trim_events

    def all_writes(epoch: int, first_kept: str) -> None:
        worker.thaw()
        worker.beat()
        worker.freeze()
        take_writes(epoch, first_kept)

    monkeypatch.setattr(led.store, "trim_events", all_writes)
    led.go_on(30.0)
    assert led.said("repair") == []
    assert worker.held.keys() == led.store.read_claims().keys() == {"a"}


@pytest.mark.parametrize("effects", ["idempotent", "normal", "at_most_once"])
@pytest.mark.parametrize("drop_seconds", [0.0, None])
def test_a_redis_that_refuses_writes_shows_no_beat(
    lead: Lead, monkeypatch: pytest.MonkeyPatch, effects: Effects, drop_seconds: float | None
) -> None:
    """For half a minute it refuses what writes (NOREPLICAS, say), and answers who reads. The
    coordinator's own write goes through a moment before the next beat of anybody: nobody is judged
    by what was refused.
    """
    led = lead(played("a", effects))
    worker = led.at_work("a")
    worker.drop_seconds = drop_seconds
    worker.freeze()
    refused_until = led.clock.seconds + 30.0
    take_writes = led.store.trim_events

    def wait_and_take(epoch: int, first_kept: str) -> None:
        led.clock.seconds = max(led.clock.seconds, refused_until)
        take_writes(epoch, first_kept)

    monkeypatch.setattr(led.store, "trim_events", wait_and_take)
    while led.clock.seconds < refused_until:
        led.go_on(1.0)
    worker.thaw()
    led.go_on(10.0)
    assert led.said("repair") == []
    assert led.info.held == ()
    assert worker.finish("a") == Code.RECORDED
    assert led.step() == RunStatus.SUCCESS


def refuse_writes(led: Leading, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """From now on Redis refuses what writes, for so long: the coordinator's write goes through when
    that is over.
    """
    until = led.clock.seconds + seconds
    take_writes = led.store.trim_events

    def trim_events(epoch: int, first_kept: str) -> None:
        led.clock.sleep(max(0.0, until - led.clock.seconds))
        take_writes(epoch, first_kept)

    monkeypatch.setattr(led.store, "trim_events", trim_events)


@pytest.mark.parametrize("seconds", [4.0, 6.0, 15.0, 30.0])
def test_who_could_not_beat_is_not_judged_by_that(
    lead: Lead, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """A replica, a full disk: Redis refuses beats and heartbeats, and shows the old ones. Workers
    are heard again a second after that is over, and that is soon enough.
    """
    led = lead(played("a", "idempotent"), played("b"))
    workers = [led.at_work("a"), led.at_work("b", "other")]
    refuse_writes(led, monkeypatch, seconds)
    until = led.clock.seconds + seconds
    for worker in workers:
        worker.freeze()
    while led.clock.seconds < until:
        led.step(0.5)
    led.step(0.5)
    for worker in workers:
        worker.thaw()
    led.go_on(10.0)
    assert led.said("repair") == led.said("warning") == []
    assert [worker.finish(task) for worker, task in zip(workers, "ab", strict=True)] == [
        Code.RECORDED,
        Code.RECORDED,
    ]
    assert led.step() == RunStatus.SUCCESS


def test_a_redis_that_is_slow_hides_no_loss(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write takes half a second, since its disk does: none of them was refused."""
    led = lead(played("a", "idempotent"))
    led.at_work("a").die()
    take_writes = led.store.trim_events

    def trim_events(epoch: int, first_kept: str) -> None:
        led.clock.sleep(0.5)
        take_writes(epoch, first_kept)

    monkeypatch.setattr(led.store, "trim_events", trim_events)
    led.go_on(20.0)
    (told,) = led.said("repair")
    assert told.startswith("a: waiting; worker w was lost: ")


def test_who_could_not_begin_has_not_vanished(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker took a batch off its queue at the moment in which Redis began to refuse."""
    led = lead(played("a"))
    led.go_on(1.0)
    ((name, batch),) = led.transport.queued.items()
    del led.transport.queued[name]
    refuse_writes(led, monkeypatch, 20.0)
    until = led.clock.seconds + 20.0
    while led.clock.seconds < until:
        led.step(0.5)
    worker = led.worker()
    assert worker.begin(batch) == Code.OK
    assert worker.claim("a") == Code.GRANTED
    led.go_on(10.0)
    assert led.said("repair") == []
    assert len(led.transport.sent) == 1


def test_a_server_that_takes_over_knows_nobody_at_first(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover or a restart: a worker inside a task that holds the interpreter lock sends
    no beat, and is not connected yet. It is given the time to find the new server; one that does
    not come is lost.
    """
    led = lead(played("a", "normal"), played("b", "normal"))
    slow, gone = led.at_work("a", "slow"), led.at_work("b", "gone")
    for worker in (slow, gone):
        worker.connected = False
    another = ServerInfo(led.clock.unix(), "another")
    monkeypatch.setattr(led.store, "read_server", lambda: another)
    led.go_on(8.0)
    slow.connected = True
    led.go_on(10.0)
    (restarted, told) = led.said("repair")
    assert restarted.startswith("Redis restarted")
    assert told.startswith("b: failure; worker gone was lost")
    assert slow.finish("a") == Code.RECORDED


@pytest.mark.parametrize(("effects", "runs"), [("idempotent", True), ("normal", False)])
def test_a_claim_whose_batch_has_ended_is_lost(effects: Effects, runs: bool, lead: Lead) -> None:
    """A copy of its process had ended the batch, or whatever else that should not be. No event told
    of the claim: others are given the task, and refused, until nobody is waited for any more.
    """
    led = lead(*[played(name, effects) for name in ("a", "b")], options=RunOptions())
    worker = led.take(led.worker(), "a")
    assert worker.claim("b", quiet=True) == Code.GRANTED
    worker.finish("a")
    worker.die()
    other = led.worker("other")
    for _ in range(40):
        ended = led.step(0.2)
        if ended is not None:
            break
        for batch in list(led.transport.queued.values()):
            del led.transport.queued[batch.id]
            other.begin(batch)
            if other.claim("b") == Code.GRANTED:
                other.finish("b")
            else:
                other.end()
    assert led.said("repair") != []
    assert ended == (RunStatus.SUCCESS if runs else RunStatus.FAILURE)
