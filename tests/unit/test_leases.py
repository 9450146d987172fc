"""LeaseKeeper: leases are renewed while a coordinator works, and not a moment longer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest

from distflow.clock import SYSTEM_CLOCK
from distflow.coordinator.leases import LeaseKeeper, renew_with
from distflow.errors import DistflowError, RedisDenied, RedisUnavailable, StaleEpoch
from distflow.ports.service import Renewal
from distflow.store.memory.store import MemoryRunStore
from tests.support.stores import open_run
from tests.support.wait import wait_for

#: So short that a renewal is due every 10 ms.
LEASE_SECONDS = 0.03


class Redis:
    """Takes renewals, as the test says."""

    def __init__(self) -> None:
        self.renewed: list[Renewal] = []
        #: By run and epoch.
        self.refused: dict[tuple[str, int], DistflowError] = {}
        #: What each renewal raises; None where Redis is there.
        self.trouble: DistflowError | None = None
        #: While it is not set, a renewal takes its time.
        self.quick = threading.Event()
        self.quick.set()
        self.under_way = threading.Event()

    def renew(self, renewals: Sequence[Renewal]) -> list[DistflowError | None]:
        self.under_way.set()
        self.quick.wait(10)
        if self.trouble is not None:
            raise self.trouble
        self.renewed += renewals
        return [self.refused.get((each.run_id, each.epoch)) for each in renewals]

    def count(self, run_id: str) -> int:
        """How often the lease of a run was renewed."""
        return sum(renewal.run_id == run_id for renewal in self.renewed)


@pytest.fixture
def redis() -> Redis:
    """One that takes every renewal."""
    return Redis()


@pytest.fixture
def keeper(redis: Redis) -> Iterator[LeaseKeeper]:
    """One that renews at once."""
    keeper = LeaseKeeper(redis.renew, "anna", LEASE_SECONDS, SYSTEM_CLOCK)
    yield keeper
    redis.quick.set()
    keeper.close()


def renewed(redis: Redis, run_id: str, times: int = 3) -> None:
    """Wait until the lease of a run was renewed so often more."""
    before = redis.count(run_id)
    wait_for(lambda: redis.count(run_id) >= before + times, what=f"renewals of {run_id}")


def test_it_renews_and_tells_the_load(keeper: LeaseKeeper, redis: Redis) -> None:
    """Each with its own epoch, and with how many tasks are queued and waiting."""
    keeper.add("r", 7, lambda: (3, 4))
    keeper.add("s", 8, lambda: (0, 0))
    for run_id in ("r", "s"):
        renewed(redis, run_id)
    assert set(redis.renewed) == {
        Renewal("r", "anna", 7, LEASE_SECONDS, 3, 4),
        Renewal("s", "anna", 8, LEASE_SECONDS, 0, 0),
    }


def test_what_was_dropped_is_not_renewed(keeper: LeaseKeeper, redis: Redis) -> None:
    """The others are."""
    for run_id in ("r", "s"):
        keeper.add(run_id, 7, lambda: (0, 0))
    renewed(redis, "r")
    keeper.drop("r")
    keeper.settle()
    before = redis.count("r")
    renewed(redis, "s")
    assert redis.count("r") == before


def test_a_lease_that_was_lost_is_told_and_renewed_no_more(
    keeper: LeaseKeeper, redis: Redis
) -> None:
    """Another has taken the run over; one that is acquired anew is kept again."""
    for run_id in ("r", "s"):
        keeper.add(run_id, 7, lambda: (0, 0))
    assert (keeper.lost("r"), keeper.lost_runs()) == (None, [])
    redis.refused["r", 7] = StaleEpoch("another coordinator has taken it over")
    wait_for(lambda: keeper.lost("r"), what="the loss")
    assert keeper.lost_runs() == ["r"]
    assert keeper.lost("s") is None
    before = redis.count("r")
    renewed(redis, "s")
    assert redis.count("r") == before
    keeper.add("r", 9, lambda: (0, 0))
    assert keeper.lost("r") is None
    renewed(redis, "r")


def test_a_loss_that_was_told_is_forgotten(keeper: LeaseKeeper, redis: Redis) -> None:
    """Whoever heard of it drops the run."""
    redis.refused["r", 7] = StaleEpoch("another coordinator has taken it over")
    keeper.add("r", 7, lambda: (0, 0))
    wait_for(lambda: keeper.lost("r"), what="the loss")
    keeper.drop("r")
    assert (keeper.lost("r"), keeper.lost_runs()) == (None, [])


def test_the_refusal_of_an_older_lease_loses_no_newer_one(
    keeper: LeaseKeeper, redis: Redis
) -> None:
    """The run was led anew while a renewal was under way: that is answered about the old epoch."""
    redis.quick.clear()
    keeper.add("r", 7, lambda: (0, 0))
    assert redis.under_way.wait(10)
    keeper.drop("r")
    keeper.add("r", 8, lambda: (0, 0))
    redis.refused["r", 7] = StaleEpoch("old")
    redis.quick.set()
    wait_for(lambda: redis.count("r"), what="the answer")
    renewed(redis, "r")
    assert keeper.lost("r") is None


@pytest.mark.parametrize(
    "trouble",
    [RedisUnavailable("Redis cannot be reached"), RedisDenied("Redis refuses with NOPERM")],
    ids=["away", "denied"],
)
def test_it_outlasts_a_redis_that_renews_nothing(
    keeper: LeaseKeeper,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
    trouble: DistflowError,
) -> None:
    """It goes on, and says so once for each time."""
    keeper.add("r", 7, lambda: (0, 0))
    renewed(redis, "r")
    with caplog.at_level(logging.DEBUG, "distflow.coordinator"):
        for number in (1, 2):
            redis.trouble = trouble
            said = len(caplog.records)
            wait_for(lambda: len(caplog.records) >= said + 3, what="some tries")  # noqa: B023
            redis.trouble = None
            renewed(redis, "r")
            warnings = [record for record in caplog.records if record.levelname == "WARNING"]
            assert len(warnings) == number


def test_no_renewal_follows_a_release(keeper: LeaseKeeper, redis: Redis) -> None:
    """Whoever gives a lease up waits for a renewal that is under way first, and for no other."""
    redis.quick.clear()
    keeper.add("r", 7, lambda: (0, 0))
    assert redis.under_way.wait(10)
    keeper.drop("r")
    patient = LeaseKeeper(redis.renew, "anna", 60.0, SYSTEM_CLOCK)
    patient._renewing = keeper._renewing
    waiting = threading.Thread(target=patient.settle)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    redis.quick.set()
    waiting.join(10)
    assert redis.count("r") == 1
    keeper.settle()


def test_one_that_is_closed_renews_nothing(keeper: LeaseKeeper, redis: Redis) -> None:
    """Its thread ends."""
    keeper.add("r", 7, lambda: (0, 0))
    renewed(redis, "r")
    thread = keeper._thread
    assert thread is not None
    keeper.close()
    before = len(redis.renewed)
    thread.join(10)
    assert not thread.is_alive()
    assert len(redis.renewed) == before


def test_a_run_renews_through_its_own_store() -> None:
    """None where it was renewed; else why it is lost. A Redis that is away has lost nothing."""
    store = MemoryRunStore("run-1")
    epoch = open_run(store)
    renew = renew_with(store)
    ours = Renewal("run-1", "anna", epoch, 60.0, 1, 1)
    (kept, lost) = renew([ours, ours._replace(epoch=epoch - 1)])
    assert kept is None
    assert isinstance(lost, StaleEpoch)
    assert store.read_info().counts["queued"] == 1


def test_a_redis_that_is_away_has_lost_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no answer about a lease."""
    store = MemoryRunStore("run-1")
    epoch = open_run(store)

    def away(*_args: object, **_options: object) -> None:
        raise RedisUnavailable("Redis cannot be reached")

    monkeypatch.setattr(store, "renew_lease", away)
    with pytest.raises(RedisUnavailable):
        renew_with(store)([Renewal("run-1", "anna", epoch, 60.0, 0, 0)])
