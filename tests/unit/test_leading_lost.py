"""What a coordinator does about workers that are lost or frozen, second by second: no processes."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.model import Effects
from distflow.core.run import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from distflow.ports import ServerInfo
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
    assert told.startswith("worker w was lost: not heard of since ")
    assert told.endswith(", and no process of it is connected; a: waiting")
    assert led.sent_with("a") == 2


def test_a_claim_without_a_beat_is_given_up(lead: Lead) -> None:
    """Redis came back without the beat of a batch whose worker died with it: nobody works on what
    it claimed.
    """
    led = lead(played("a", "idempotent"))
    led.at_work("a").die()
    led.server.runs["run-1"].beats.clear()
    led.go_on(5.0)
    assert led.said("repair") == [
        "worker ? was lost: nothing beats for what it claimed; a: waiting"
    ]
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
    assert told.startswith("worker w was lost: ")


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
    assert told.startswith("worker gone was lost")
    assert slow.finish("a") == Code.RECORDED


# Frozen workers


def test_what_a_frozen_worker_has_not_started_goes_to_another(lead: Lead) -> None:
    """Claimed and not started: nothing happened, so that it is given away, and the batch ends. The
    worker, awake again, may not start it any more.
    """
    led = lead(played("a", "at_most_once"))
    frozen = led.at_work("a", "frozen", start=False)
    token, _attempt = frozen.held["a"]
    frozen.freeze()
    led.go_on(10.0)
    (told,) = led.said("repair")
    assert told.startswith("worker frozen is frozen: connected, and not heard of since ")
    assert told.endswith("; a: waiting")
    assert led.store.read_beats() == {}
    another = led.take(led.worker("another"), "a", start=False)
    frozen.thaw()
    assert led.store.start_task("a", token) == Code.REFUSED
    # Its batch was given up as well: nothing of it is watched any more.
    assert frozen.claim("a") == Code.STOPPED
    assert led.store.start_task("a", another.held["a"][0]) == Code.GRANTED
    assert another.finish("a") == Code.RECORDED
    assert led.step() == RunStatus.SUCCESS


@pytest.mark.parametrize("effects", ["normal", "at_most_once"])
def test_a_frozen_worker_keeps_what_it_has_started(lead: Lead, effects: Effects) -> None:
    """Nobody knows whether it goes on a moment later: the task is held, however long that takes,
    and the run names it. What travels behind it in its batch goes to others.
    """
    led = lead(played("a", effects), played("b", effects), options=RunOptions())
    assert [each.name for each in led.transport.sent[0].tasks] == ["a", "b"]
    frozen = led.at_work("a")
    frozen.freeze()
    led.go_on(120.0)
    assert (led.sent_with("a"), led.sent_with("b")) == (1, 2)
    assert led.said("repair") == []
    assert led.said("warning") == [
        "worker w is frozen inside a, which may not run twice: wake it or kill it"
    ]
    (held,) = led.info.held
    assert (held.task, held.worker) == ("a", "w")
    assert led.info.as_of - held.since == pytest.approx(120.0, abs=1.0)
    frozen.thaw()
    led.go_on(2.0)
    assert led.info.held == ()
    led.take(led.worker("second"), "b").finish("b")
    assert frozen.finish("a") == Code.RECORDED
    assert led.go_on(2.0) == RunStatus.SUCCESS


def test_what_is_held_is_told_once(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis's clock runs a little faster than this host's: that is no other moment, to be written
    each second. A person is warned once.
    """
    led = lead(played("a"))
    frozen = led.at_work("a")
    written: list[Any] = []
    hold = led.store.hold_tasks

    def note(epoch: int, held: Any) -> None:
        written.append(held)
        hold(epoch, held)

    monkeypatch.setattr(led.store, "hold_tasks", note)
    monkeypatch.setattr(led.server, "clock", lambda: led.clock.unix() + led.clock.seconds / 1000)
    frozen.freeze()
    led.go_on(60.0)
    assert len(written) == len(led.said("warning")) == 1


def test_what_is_held_is_given_up_with_its_worker(lead: Lead) -> None:
    """A frozen worker that is then killed is lost: its task fails, and is held no more."""
    led = lead(played("a"), played("b"))
    frozen = led.at_work("a")
    led.at_work("b", "other")
    frozen.freeze()
    led.go_on(10.0)
    assert [held.task for held in led.info.held] == ["a"]
    frozen.die()
    led.go_on(5.0)
    (told,) = led.said("repair")
    assert told.startswith("worker w was lost: ")
    assert told.endswith("; a: failure")
    assert led.info.held == ()
    assert led.store.read_beats().keys() == {led.transport.workers["other"].job}


def test_a_task_that_ended_is_held_no_more(lead: Lead) -> None:
    """The worker that held it woke up and told its outcome between two looks: the run waits for a
    time now, and not for a worker. What a coordinator told is not left behind.
    """
    led = lead(played("a"))
    frozen = led.at_work("a")
    frozen.freeze()
    led.go_on(10.0)
    assert [held.task for held in led.info.held] == ["a"]
    frozen.thaw()
    frozen.fail("a", delay_ms=600_000)
    led.go_on(60.0)
    assert led.server.runs["run-1"].held == ()


def test_what_a_predecessor_said_is_held_is_looked_at_anew(lead: Lead) -> None:
    """The coordinator that told of a frozen worker was killed: the next one clears it."""
    led = lead(played("a"))
    frozen = led.at_work("a")
    frozen.freeze()
    led.go_on(10.0)
    assert [held.task for held in led.info.held] == ["a"]
    frozen.thaw()
    led.executor.abandon()
    led.executor = led.make_executor()
    led.executor.begin(force=True)
    led.go_on(3.0)
    assert led.server.runs["run-1"].held == ()
    assert led.info.held == ()


# Hosts that are gone


@pytest.mark.parametrize(
    ("effects", "outcome"), [("normal", "failure"), ("at_most_once", "unknown")]
)
def test_a_host_that_is_gone_is_told_by_its_silence(
    lead: Lead, effects: Effects, outcome: str
) -> None:
    """Redis does not know of it for minutes. Its task is held at first, since its worker may be
    frozen, and given up after 20 s; one that may run once is never started again.
    """
    led = lead(played("a", effects))
    led.at_work("a", "gone").lose_power()
    led.go_on(15.0)
    assert [each.task for each in led.info.held] == ["a"]
    assert led.result("a") is None
    led.go_on(9.0)
    result = led.result("a")
    assert result is not None
    assert result.status == outcome
    assert led.info.held == ()
    assert led.sent_with("a") == 1
    (told,) = led.said("repair")
    assert "Redis has its connection, and its own heartbeat is 2" in told


def test_a_host_that_was_only_cut_off_tells_after_all(lead: Lead) -> None:
    """It was taken for gone, and was not: what its worker did is believed, as of any worker that
    was lost inside a task that may run once.
    """
    led = lead(played("a", "at_most_once"))
    worker = led.at_work("a", "cut-off")
    worker.lose_power()
    led.go_on(25.0)
    assert led.store.read_statuses(["a"]) == [TaskStatus.UNKNOWN]
    worker.thaw()
    assert worker.finish("a", ending=False) == Code.RECORDED
    led.step()
    assert led.store.read_statuses(["a"]) == [TaskStatus.SUCCESS]
    assert led.sent_with("a") == 1


def test_a_frozen_worker_on_a_host_that_lives_is_held(lead: Lead) -> None:
    """Redis would have dropped its connection, had its host been gone."""
    led = lead(played("a", "at_most_once"))
    worker = led.at_work("a", "frozen")
    worker.drop_seconds = 20.0
    worker.freeze()
    led.go_on(55.0)
    assert [each.task for each in led.info.held] == ["a"]
    worker.thaw()
    assert worker.finish("a") == Code.RECORDED
    assert led.step() == RunStatus.SUCCESS
