"""Outcomes that Redis does not take: how long they are told, and when they are on disk."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distflow import config
from distflow.core.claim import Advance, Code, Finish
from distflow.errors import InvalidInput, RedisRefuses, RedisUnavailable
from distflow.store.redis.connection import open_redis
from distflow_worker import outcomes as outcomes_module
from distflow_worker.finish_buffer import FinishBuffer
from distflow_worker.outcomes import Home, OutcomeKeeper
from distflow_worker.redis_client import name_of, open_like
from distflow_worker.spool import Spool

HOME = Home("localhost:6379/0", "distflow", "run-1", "origin", 1, 7, "run-1-7-1")
FINISHES = [
    Finish("a", "t1", 1, "final", "success", b"x", "w"),
    Finish("b", "t2", 1, "final", "failure", b"y", "w"),
]

#: Seconds that one try takes.
PIECE = 1.0


class Clock:
    """Stands for the module ``time``."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Redis:
    """Takes outcomes from a moment on; until then each try takes a second."""

    def __init__(self, clock: Clock, back_after: float) -> None:
        self._clock = clock
        self._back_at = clock.seconds + back_after
        self.tries = 0
        #: Called at each try.
        self.look: Callable[[], object] = lambda: None

    def __call__(self) -> str:
        self.look()
        self.tries += 1
        if self._clock.seconds >= self._back_at:
            return "answer"
        self._clock.seconds += PIECE
        raise RedisRefuses("Redis refuses with OOM")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What moves at each try that fails."""
    clock = Clock()
    monkeypatch.setattr(outcomes_module, "time", clock)
    return clock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the spool."""
    return tmp_path / "spool"


def keeper(folder: Path | None, seconds: float = 3600.0) -> OutcomeKeeper:
    """For one batch."""
    return OutcomeKeeper(HOME, str(folder) if folder else None, seconds)


def files(folder: Path) -> int:
    """How many outcomes are on disk."""
    return len(list(folder.glob("*.outcome")))


def deliverable(folder: Path) -> list[Finish]:
    """Those that another process may deliver now."""
    found = []
    for outcome in Spool(str(folder)).find(HOME.redis, HOME.prefix):
        with outcome:
            found.append(outcome.finish)
    return found


def test_a_redis_that_takes_them_leaves_nothing_on_disk(clock: Clock, folder: Path) -> None:
    """Nothing is written that nobody needs."""
    assert keeper(folder).tell(FINISHES, Redis(clock, 0.0)) == "answer"
    assert not folder.exists()


def test_they_are_on_disk_while_they_are_told(
    clock: Clock, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first try that fails, so that they outlive whatever ends the process; nobody else
    delivers them, and they are gone when Redis has taken them. Told once, and that it is over.
    """
    redis = Redis(clock, 3000.0)
    on_disk: list[int] = []

    def look() -> None:
        on_disk.append(files(folder))
        assert deliverable(folder) == []

    redis.look = look
    assert keeper(folder).tell(FINISHES, redis) == "answer"
    assert on_disk[0] == 0
    assert set(on_disk[1:]) == {2}
    assert files(folder) == 0
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("batch run-1-7-1: the outcomes of a, b are not recorded: Redis ref")
    assert str(folder) in said[0]
    assert said[1] == "batch run-1-7-1: Redis has taken its outcomes"
    # Once a second in the first minute, then half as often.
    assert 1400 < redis.tries < 1700


def test_an_hour_is_the_default(clock: Clock, folder: Path) -> None:
    """Then the next batch on this host delivers them."""
    began = clock.seconds
    outcomes = keeper(folder, config.outcome_seconds())
    with pytest.raises(RedisUnavailable):
        outcomes.tell(FINISHES, Redis(clock, 1e9))
    assert 3600 <= clock.seconds - began < 3610
    assert deliverable(folder) == []
    outcomes.let_go()
    assert deliverable(folder) == FINISHES


def test_a_call_without_outcomes_is_tried_for_a_minute(clock: Clock, folder: Path) -> None:
    """A claim is no outcome: nobody loses it."""
    began = clock.seconds
    with pytest.raises(RedisUnavailable):
        keeper(folder).tell([], Redis(clock, 1e9))
    assert 60 <= clock.seconds - began < 63
    assert not folder.exists()


def test_a_try_that_another_repeats_keeps_them(clock: Clock, folder: Path) -> None:
    """The thread that records outcomes behind a long task does not wait."""
    outcomes = keeper(folder)
    with pytest.raises(RedisUnavailable):
        outcomes.tell(FINISHES, Redis(clock, 1e9), once=True)
    assert files(folder) == 2
    assert outcomes.tell(FINISHES, Redis(clock, 0.0)) == "answer"
    assert files(folder) == 0


def test_what_ends_the_process_leaves_them_to_others(clock: Clock, folder: Path) -> None:
    """An error that no patience mends; a worker that is told to end at once."""
    for number, error in enumerate((ValueError("NOPERM"), KeyboardInterrupt(), SystemExit(1))):

        def call(error: BaseException = error) -> None:
            raise error

        finish = FINISHES[0]._replace(token=f"t{number}")
        with pytest.raises(type(error)):
            keeper(folder).settle([finish], call)
        assert finish in deliverable(folder)


# A disk that does not take them


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Whether the disk has some."""
    room = {"left": False}
    keep = Spool.keep

    def keep_if_room(self: Spool, home: Home, finish: Finish) -> Any:
        if not room["left"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return keep(self, home, finish)

    monkeypatch.setattr(Spool, "keep", keep_if_room)
    return room


def test_a_full_disk_is_one_line_and_tried_again(
    clock: Clock, folder: Path, room: dict[str, bool], caplog: pytest.LogCaptureFixture
) -> None:
    """While neither takes them they are told on, for longer than the hour; as soon as the disk has
    room they are there.
    """
    redis = Redis(clock, 1e9)
    began = clock.seconds

    def look() -> None:
        room["left"] = clock.seconds - began > 9000

    redis.look = look
    outcomes = keeper(folder)
    with pytest.raises(RedisUnavailable):
        outcomes.tell(FINISHES, redis)
    assert 9000 < clock.seconds - began < 9010
    outcomes.let_go()
    assert deliverable(folder) == FINISHES
    warnings = [record.getMessage() for record in caplog.records]
    assert len([said for said in warnings if "No space left" in said]) == 1
    assert len(warnings) == 2


def test_a_full_disk_does_not_hold_up_a_redis_that_is_back(
    clock: Clock, folder: Path, room: dict[str, bool]
) -> None:
    """It is told all the while."""
    assert keeper(folder, 10.0).tell(FINISHES, Redis(clock, 500.0)) == "answer"
    assert not room["left"]
    assert not folder.exists()


def test_without_a_spool_they_end_with_their_time(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """``DISTFLOW_SPOOL=``: nothing is on disk, and a line says so."""
    began = clock.seconds
    with pytest.raises(RedisUnavailable):
        keeper(None, 20.0).tell(FINISHES, Redis(clock, 1e9))
    assert 20 <= clock.seconds - began < 23
    (record,) = caplog.records
    assert "kept in memory alone" in record.getMessage()


# The buffer


class Store:
    """Fails until it is told not to."""

    def __init__(self) -> None:
        self.error: BaseException | None = RedisUnavailable("away")
        self.got: list[list[str]] = []

    def advance(self, _epoch: int, _batch: str, finishes: Any, requests: Any, **_: Any) -> Advance:
        if self.error is not None:
            raise self.error
        self.got.append([finish.task for finish in finishes])
        return Advance(tuple(Code.RECORDED for _ in finishes), ())


def test_a_batch_that_ends_by_an_error_keeps_all_it_has_done(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A group of short tasks has several outcomes that wait for each other."""
    caplog.set_level(logging.ERROR)
    store: Any = Store()
    buffer = FinishBuffer(store, 7, "run-1-7-1", lambda: keeper(folder, 0.0))
    for finish in FINISHES:
        buffer.add(finish)
    buffer.save(ValueError("something else"))
    assert deliverable(folder) == FINISHES


def test_a_buffer_tells_what_it_has_kept(folder: Path) -> None:
    """And then nothing is left."""
    store: Any = Store()
    buffer = FinishBuffer(store, 7, "run-1-7-1", lambda: keeper(folder, 0.0))
    for finish in FINISHES:
        buffer.add(finish)
    with pytest.raises(RedisUnavailable):
        buffer.end([])
    assert files(folder) == 2
    store.error = None
    buffer.end([])
    assert store.got == [["a", "b"]]
    assert files(folder) == 0


# Where they belong


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://user:secret@host:6380/2", "host:6380/2"),
        ("rediss://:secret@host/", "host:6379/0"),
        ("redis://localhost", "localhost:6379/0"),
        ("redis://127.0.0.1:6379/0", "localhost:6379/0"),
        ("redis://[::1]:6379", "localhost:6379/0"),
        ("unix://user:secret@/run/redis.sock?db=3", "/run/redis.sock/3"),
        ("redis+sentinel://user:secret@one:1,two:2/main/4", "sentinel main/4"),
    ],
)
def test_a_redis_has_one_name_without_its_login(url: str, name: str) -> None:
    """For all workers of a host, however they write its address; and it stands on their disk."""
    with open_redis(url) as client:
        assert name_of(client) == name
        # As a batch connects, with timeouts of its own.
        with open_like(client) as like:
            assert name_of(like) == name


# The settings


def test_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is set; and what cannot be used is one line."""
    monkeypatch.delenv("DISTFLOW_SPOOL")
    assert (config.spool_folder() or "").startswith("/var/tmp/distflow-")
    monkeypatch.setenv("DISTFLOW_SPOOL", "")
    assert config.spool_folder() is None
    monkeypatch.setenv("DISTFLOW_SPOOL", "/somewhere")
    assert config.spool_folder() == "/somewhere"
    monkeypatch.setenv("DISTFLOW_OUTCOME_SECONDS", "0.5")
    assert config.outcome_seconds() == 0.5
    for text in ("", "-1", "an hour", "nan", "inf"):
        monkeypatch.setenv("DISTFLOW_OUTCOME_SECONDS", text)
        with pytest.raises(InvalidInput, match="DISTFLOW_OUTCOME_SECONDS"):
            config.outcome_seconds()
