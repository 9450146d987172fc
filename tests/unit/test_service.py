"""A coordinator of many runs, turn by turn: which it leads, and how one run leaves others alone."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from distflow.coordinator import mirror as mirror_module
from distflow.core.status import RunStatus
from distflow.errors import DamagedRun, RedisUnavailable
from tests.support.leading import PlayedWorker, played, played_node
from tests.support.serving import Serving

LEASE_SECONDS = 10.0


@pytest.fixture
def serving() -> Serving:
    """One that leads nothing yet."""
    return Serving()


def test_it_leads_what_is_left_to_it(serving: Serving) -> None:
    """All of it to the end, each run by its own order; then the runs are nobody's."""
    for run_id in ("r1", "r2"):
        serving.create(run_id, played("a"), played("b", depends_on=("a",)))
    serving.turn()
    assert serving.said == [f"leading run r{n}, which was running" for n in (1, 2)]
    assert serving.work() == 2
    serving.turn(0.1)
    assert serving.work() == 2
    serving.turn(0.1)
    assert serving.said[2:] == ["run r1 is success", "run r2 is success"]
    assert (serving.service.counts.adopted, serving.service.counts.ended) == (2, 2)
    assert (serving.service.led, serving.server.active) == ({}, set())
    assert [notice.kind for notice in serving.told if notice.run_id == "r1"][-1] == "workflow_end"


def test_a_run_whose_maker_leads_it_is_left_to_that_one(serving: Serving) -> None:
    """It was made a moment ago. Where nobody has led it for as long as a lease, its maker died."""
    serving.create("r1", played("a"), detached=False)
    serving.turn(LEASE_SECONDS - 1)
    assert serving.service.led == {}
    serving.turn(3.0)
    assert list(serving.service.led) == ["r1"]


def test_a_run_that_stands_still_is_nobodys(serving: Serving) -> None:
    """A blocked one stays listed, and waits for a person."""
    store = serving.create("r1", played("a"))
    store.set_status(RunStatus.BLOCKED, {RunStatus.RUNNING})
    serving.turn(2.0)
    assert (serving.service.led, sorted(serving.server.active)) == ({}, ["r1"])


def test_it_says_that_it_is_there(serving: Serving) -> None:
    """As long as it turns, and for a while after that."""
    serving.turn(20.0)
    assert serving.store.list_coordinators() == [serving.service.owner]
    serving.clock.sleep(6.0)
    assert serving.store.list_coordinators() == []


def test_another_takes_over_from_one_that_died(serving: Serving) -> None:
    """When its lease has lapsed; what had been sent is sent anew. Who wakes up too late is told."""
    serving.create("r1", played("a"))
    dead = serving.service
    serving.turn()
    serving.service = serving.make_service()
    serving.turn(LEASE_SECONDS - 1)
    assert serving.service.led == {}
    serving.turn(3.0)
    assert list(serving.service.led) == ["r1"]
    assert len(serving.transport.sent) == 2
    dead._keeper.renew()
    serving.service, other = dead, serving.service
    serving.turn()
    assert (dead.led, dead.counts.lost) == ({}, 1)
    assert "another coordinator has taken it over" in serving.said[-1]
    serving.service = other
    serving.work()
    serving.turn(0.1)
    assert serving.info("r1").status == RunStatus.SUCCESS


def test_who_is_slower_leaves_the_run_to_the_faster(serving: Serving) -> None:
    """Both have found it unled."""
    store = serving.create("r1", played("a"))
    serving.service._discover()
    store.acquire_lease("faster", LEASE_SECONDS)
    serving.turn()
    assert (serving.service.led, serving.service.counts.adopted) == ({}, 0)
    assert serving.said == []


def test_a_run_that_is_deleted_is_no_concern_of_the_others(serving: Serving) -> None:
    """It is left, and said."""
    serving.create("r1", played("a"))
    serving.create("r2", played("a"))
    serving.turn()
    serving.open_run("r1").delete_run(force=True)
    serving.service._keeper.renew()
    serving.turn()
    assert list(serving.service.led) == ["r2"]
    assert serving.service.counts.lost == 1


def test_damaged_events_leave_one_run_aside(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    """The others go on; it is tried again a minute later, and its lease is free until then."""
    for run_id in ("r1", "r2"):
        serving.create(run_id, played("a"))
    serving.turn()
    serving.store.errors.append(DamagedRun("r1", "an event cannot be read"))
    serving.turn()
    assert list(serving.service.led) == ["r2"]
    assert serving.info("r1").coordinator is None
    assert "run r1 is set aside, trying again in 60 s" in caplog.text
    serving.work()
    serving.turn(50.0)
    assert (serving.service.counts.failed, serving.service.counts.ended) == (1, 1)
    serving.turn(15.0)
    assert list(serving.service.led) == ["r1"] or serving.info("r1").status == RunStatus.SUCCESS


def test_damage_of_a_run_that_is_not_led_is_an_error(serving: Serving) -> None:
    """There is nobody to be set aside."""
    serving.create("r1", played("a"))
    serving.turn()
    serving.store.errors.append(DamagedRun("r9", "an event cannot be read"))
    with pytest.raises(DamagedRun):
        serving.turn()


def test_what_goes_wrong_with_one_run_is_logged(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Damaged bytes may raise anything: that is an error with its place, and no end of all."""
    for run_id in ("r1", "r2"):
        serving.create(run_id, played("a"))
    serving.turn()

    def broken(_events: Any) -> None:
        raise ValueError("bytes")

    monkeypatch.setattr(serving.service.led["r1"], "step", broken)
    serving.work()
    serving.turn(0.1)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert serving.info("r2").status == RunStatus.SUCCESS
    assert serving.service.led == {}


def test_redis_comes_back(serving: Serving) -> None:
    """All is read again; what Redis has lost is said, and what it still has goes on."""
    for run_id in ("r1", "r2"):
        serving.create(run_id, played("a"))
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            del serving.server.runs["r1"]
            serving.server.active.discard("r1")
            raise RedisUnavailable("Redis cannot be reached")
        if turns == 5:
            serving.work()
        if turns == 30:
            serving.stop.set()
        type(serving.service).turn(serving.service)

    serving.service.turn = turn  # type: ignore[method-assign]
    serving.service.run()
    assert serving.said[2:] == [
        "Redis cannot be reached: waiting for it",
        "run r1 was deleted",
        "leading run r2, which was running",
        "run r2 is success",
    ]
    assert serving.info("r2").status == RunStatus.SUCCESS
    assert serving.service.counts.adopted == 3


def test_who_is_told_to_stop_hands_its_runs_over(serving: Serving) -> None:
    """Their leases are free at once, and it is not listed any more."""
    serving.create("r1", played("a"))
    serving.turn()
    serving.stop.set()
    serving.service.run()
    assert serving.said[-1] == "1 run handed over to the next coordinator"
    assert serving.info("r1").coordinator is None
    assert serving.store.list_coordinators() == []


def test_redis_may_be_away_at_the_end(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """The leases lapse by themselves."""
    serving.create("r1", played("a"))
    serving.turn()
    serving.impatient.error = RedisUnavailable("Redis cannot be reached")
    serving.stop.set()
    serving.service.run()
    assert "were not released" in caplog.text


def test_a_full_redis_takes_work_later(serving: Serving) -> None:
    """What there was no room for is sent a second later; nobody waits meanwhile."""
    serving.create("r1", played("a"))
    serving.transport.full = True
    serving.turn()
    assert serving.transport.refused
    assert serving.transport.sent == []
    serving.transport.full = False
    serving.turn(2.0)
    assert serving.work() == 1


def test_runs_of_which_nothing_is_at_work_are_read_less_often(serving: Serving) -> None:
    """A tenth of a second apart, while others are busy; all are read where none is."""
    serving.create("busy", *[played(f"t{number}") for number in range(50)])
    idle = serving.create("idle", played("a"))
    serving.turn()
    idle.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    serving.transport.queued.clear()
    serving.turn(1.0)
    serving.store.asked.clear()
    serving.turn(1.0)
    assert {frozenset(asked) for asked in serving.store.asked} <= {
        frozenset({"busy"}),
        frozenset({"busy", "idle"}),
    }


def test_many_short_tasks_are_read_together(serving: Serving) -> None:
    """While many are on their way, it lets their events gather for a moment."""
    serving.create("r1", *[played(f"t{number}") for number in range(200)], batch=True)
    serving.transport.workers = {f"w{n}": None for n in range(9)}  # type: ignore[misc]
    serving.turn()
    done = 0
    for _ in range(200):
        done += serving.work()
        serving.turn()
        if "r1" not in serving.service.led:
            break
    assert (done, serving.info("r1").status) == (200, RunStatus.SUCCESS)


def test_a_run_that_grows_much_delays_no_other(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes in one chunk per turn, and the others do what they have to do in each."""
    monkeypatch.setattr(mirror_module, "CHUNK_TASKS", 1)
    store = serving.create("r1", played_node("n"))
    for name in "abcdefgh":
        serving.transport.workers[name] = PlayedWorker(store, serving.clock, name)
    serving.create("r2", *[played(f"a{n}", depends_on=(f"a{n - 1}",) * (n > 0)) for n in range(5)])
    serving.turn()
    worker = serving.begin("r1", "n")
    worker.expand("n", *[[played(f"n[{number}]")] for number in range(6)])
    for turn in range(5):
        serving.begin("r2", f"a{turn}").finish(f"a{turn}")
        serving.turn()
        grown = len(serving.service.led["r1"]._leadership.led.mirror.graph)
        assert grown == 2 + turn
    assert serving.info("r2").status == RunStatus.SUCCESS
    assert serving.service.led["r1"].wake_at <= serving.clock.seconds
