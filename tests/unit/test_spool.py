"""Outcomes on the disk of a worker's host: whole or not at all, for its user, its Redis, a week."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from distflow.core.claim import Finish, Growth, Progress
from distflow_worker import spool as spool_module
from distflow_worker.outcomes import Home
from distflow_worker.spool import Spool

HOME = Home("localhost:6379/0", "distflow", "run-1", "origin", 1, 7, "run-1-7-1")
FINISH = Finish("a", "t1", 1, "final", "success", b"\x81\xa6status\xa7success", "w", 0.5)
AGAIN = Finish("b", "t2", 2, "wait", "failure", b"x", "w", 0.5, 900, Progress(3, token="t0"))
#: The success of a node that has expanded.
GROWN = FINISH._replace(
    token="t3", grows=True, growth=Growth(2, 5000, ("default", "slow")), tolerated=True
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where nothing is yet."""
    return tmp_path / "state" / "spool"


@pytest.fixture
def spool(folder: Path) -> Spool:
    """In that folder."""
    return Spool(str(folder))


def leave(spool: Spool, *finishes: Finish, home: Home = HOME) -> list[Path]:
    """Keep outcomes as a process does that has ended since."""
    kept = [spool.keep(home, finish) for finish in finishes]
    for each in kept:
        each.let_go()
    return [each.path for each in kept]


def found(spool: Spool, home: Home = HOME) -> list[Finish]:
    """What is to be delivered now; it stays there."""
    finishes = []
    for outcome in spool.find(home.redis, home.prefix):
        with outcome:
            assert outcome.home == home
            finishes.append(outcome.finish)
    return finishes


def test_what_is_kept_is_found(spool: Spool, folder: Path) -> None:
    """Every field, in the order in which it came; for the user alone, and nothing else is there."""
    paths = leave(spool, FINISH, AGAIN, GROWN)
    assert found(spool) == [FINISH, AGAIN, GROWN]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert sorted(folder.iterdir()) == sorted(paths)
    assert all("run-1" in path.name for path in paths)


def test_what_is_held_is_for_its_holder(spool: Spool) -> None:
    """While a process tells an outcome nobody else does; what it drops is gone."""
    kept, other = spool.keep(HOME, FINISH), spool.keep(HOME, AGAIN)
    assert found(spool) == []
    kept.let_go()
    assert found(spool) == [FINISH]
    other.drop()
    assert found(spool) == [FINISH]
    (outcome,) = spool.find(HOME.redis, HOME.prefix)
    with outcome:
        assert found(spool) == []
        outcome.drop()
    assert found(spool) == []


@pytest.mark.parametrize("elsewhere", [HOME._replace(redis="a"), HOME._replace(prefix="a")])
def test_another_redis_has_outcomes_of_its_own(spool: Spool, elsewhere: Home) -> None:
    """The same folder serves workers of several; a run of the same id may be on each."""
    leave(spool, FINISH)
    leave(spool, AGAIN, home=elsewhere)
    assert found(spool) == [FINISH]
    assert found(spool, elsewhere) == [AGAIN]


def test_a_week_is_the_longest(spool: Spool) -> None:
    """What nobody took by then is deleted, for whatever Redis it was; what is newer stays."""
    week = 7 * 24 * 3600
    (old,) = leave(spool, FINISH, home=HOME._replace(redis="another"))
    (young,) = leave(spool, AGAIN)
    os.utime(old, (time.time() - week - 5,) * 2)
    os.utime(young, (time.time() - week + 60,) * 2)
    assert found(spool) == [AGAIN]
    assert not old.exists()


def test_each_is_given_to_one(spool: Spool) -> None:
    """Many that deliver at once: nobody gets what another has, or has dropped."""
    leave(spool, *(FINISH._replace(token=f"t{number}") for number in range(40)))
    taken: list[str] = []
    start = threading.Barrier(4)

    def deliver() -> None:
        start.wait()
        for outcome in spool.find(HOME.redis, HOME.prefix):
            with outcome:
                taken.append(outcome.finish.token)
                outcome.drop()

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"t{number}" for number in range(40))


# What is no outcome


def hurt(path: Path, how: str) -> None:
    """Make something else of an outcome's file."""
    data = path.read_bytes()
    record = msgpack.unpackb(data)
    if how == "torn":
        path.write_bytes(data[:-3])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "longer":
        path.write_bytes(data + b"\xc0")
    elif how == "another format":
        path.write_bytes(msgpack.packb({**record, "format": 2}))
    elif how == "another type":
        record["finish"]["packed"] = "text"
        path.write_bytes(msgpack.packb(record))
    elif how == "another field":
        record["home"]["more"] = 1
        path.write_bytes(msgpack.packb(record))
    elif how == "a list":
        path.write_bytes(msgpack.packb([1, 2]))
    else:
        path.write_bytes(b"\x91" * 5000)


@pytest.mark.parametrize(
    "how",
    [
        "torn",
        "empty",
        "longer",
        "another format",
        "another type",
        "another field",
        "a list",
        "deep",
    ],
)
def test_what_cannot_be_read_is_set_aside(
    spool: Spool, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once, and kept for a person; the others are delivered."""
    damaged, _sound = leave(spool, FINISH, AGAIN)
    hurt(damaged, how)
    assert found(spool) == [AGAIN]
    assert found(spool) == [AGAIN]
    assert damaged.with_suffix(".damaged").exists()
    assert [record.getMessage() for record in caplog.records if "set aside" in record.getMessage()]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("how", ["link", "pipe"])
def test_what_is_no_file_is_passed_over(spool: Spool, how: str, tmp_path: Path) -> None:
    """Nothing is read through a link, and no pipe holds a worker up."""
    path, _other = leave(spool, FINISH, AGAIN)
    path.rename(tmp_path / "elsewhere")
    if how == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)
    assert found(spool) == [AGAIN]
    assert path.is_symlink() or path.is_fifo()


def test_a_huge_file_is_passed_over(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not fill the memory."""
    path, _other = leave(spool, FINISH._replace(packed=b"x" * 1000), AGAIN)
    monkeypatch.setattr(spool_module, "_MOST_BYTES", 1000)
    assert found(spool) == [AGAIN]
    assert path.exists()


def test_a_file_of_another_user_is_passed_over(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write into the folder may put one there."""
    (path,) = leave(spool, FINISH)
    real = os.fstat

    def of_another(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        return os.stat_result((*status[:4], status.st_uid + 1, *status[5:]))

    monkeypatch.setattr(os, "fstat", of_another)
    assert found(spool) == []
    assert path.exists()


def test_a_folder_of_another_user_is_not_used(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In /var/tmp anybody may be the first to make it."""
    leave(spool, FINISH)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="is no folder of user"):
        spool.keep(HOME, AGAIN)
    assert found(spool) == []


def test_a_link_is_no_folder(spool: Spool, folder: Path, tmp_path: Path) -> None:
    """Whoever made it chose where it leads."""
    folder.parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        spool.keep(HOME, FINISH)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_open_folder_is_closed(spool: Spool, folder: Path) -> None:
    """One that an administrator has made with the usual rights."""
    folder.mkdir(parents=True, mode=0o755)
    leave(spool, FINISH)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# A disk that does not take it


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The disk is full until this is undone."""
    with monkeypatch.context() as patch:

        def refuse(_descriptor: int, _data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "write", refuse)
        yield patch


def test_nothing_of_a_file_stays_that_was_not_written(
    spool: Spool, folder: Path, full: pytest.MonkeyPatch
) -> None:
    """A full disk is not filled further; once there is room, the outcome is kept."""
    with pytest.raises(OSError, match="No space left"):
        spool.keep(HOME, FINISH)
    assert list(folder.iterdir()) == []
    full.undo()
    leave(spool, FINISH)
    assert found(spool) == [FINISH]


def test_a_file_is_whole_and_held_from_its_first_moment(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written, synced and locked before it has its name: whoever dies in between leaves nothing
    that is delivered.
    """
    steps = []
    write, sync, rename = os.write, os.fsync, Path.rename

    def noting(name: str, call: Any) -> Any:
        def noted(*args: Any) -> Any:
            steps.append(name)
            assert found(spool) == []
            return call(*args)

        return noted

    monkeypatch.setattr(Path, "rename", noting("rename", rename))
    monkeypatch.setattr(os, "write", noting("write", write))
    monkeypatch.setattr(os, "fsync", noting("sync", sync))
    kept = spool.keep(HOME, FINISH)
    assert steps == ["write", "sync", "rename", "sync"]
    assert found(spool) == []
    kept.let_go()
    assert found(spool) == [FINISH]
