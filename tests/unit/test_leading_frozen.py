"""What a coordinator does about workers that are frozen, second by second: no processes."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.model import Effects
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from tests.support.leading import played
from tests.unit.conftest import Lead


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
    words = "worker frozen is frozen: connected, but no heartbeat since "
    assert told.startswith(f"a: waiting; {words}")
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


def test_each_frozen_worker_is_told_of_once(lead: Lead) -> None:
    """Another that freezes later is no reason to warn of the first again."""
    led = lead(played("a"), played("b"))
    first, second = led.at_work("a"), led.at_work("b", "other")
    first.freeze()
    led.go_on(10.0)
    second.freeze()
    led.go_on(20.0)
    warned = [message.split(",")[0] for message in led.said("warning")]
    assert warned == ["worker w is frozen inside a", "worker other is frozen inside b"]
    assert [held.task for held in led.info.held] == ["a", "b"]


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
    assert told.startswith("a: failure; worker w was lost: ")
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
    assert "Redis still has its connection, but the worker's own heartbeat is 2" in told


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
