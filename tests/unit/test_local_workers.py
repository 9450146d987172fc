"""Who starts workers sees to them: started again, told to stop, killed. Shells play the workers."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from distflow.errors import DistflowError, InvalidInput
from distflow.local import launch
from distflow.local import workers as module
from distflow.local.launch import PID, bound_to_this_process
from distflow.local.processes import session_members
from distflow.local.workers import LocalWorkers
from tests.support.wait import wait_for

#: Say that it listens, and end when told to.
MEEK = "echo ready; exec sleep 600"
#: The same, with a horse; neither heeds SIGTERM.
STUBBORN = "trap '' TERM; sleep 600 & echo ready; while :; do wait; done"


class Played:
    """Workers that do what a script says; the commands in whose place it is."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.script = MEEK
        self.commands: list[Sequence[str]] = []
        self.workers = LocalWorkers(
            "redis://h:1/0", count=2, data_dir=folder, queues=("fast", "slow"), cwd=folder
        )

        def play(command: Sequence[str]) -> list[str]:
            self.commands.append(command)
            return ["/bin/sh", "-c", self.script]

        patch.setattr(module, "bound_to_this_process", play)

    def start(self, script: str) -> list[int]:
        """Start them, and wait until both listen."""
        self.script = script
        self.workers.start()
        self.wait_ready(2)
        return self.workers.pids

    def wait_ready(self, count: int) -> None:
        """Wait until so many starts have said that they listen."""
        logs = [self.workers.log_path(number) for number in (1, 2)]
        wait_for(
            lambda: sum(log.read_text().count("ready") for log in logs) == count, what="to listen"
        )


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    """Two workers, none of which lives on."""
    made = Played(tmp_path, monkeypatch)
    yield made
    made.workers.stop(1.0)


def test_each_is_a_worker_of_rq(played: Played) -> None:
    """Of these queues, in this order, with a name of its own and a log that nobody else reads."""
    assert len(set(played.start(MEEK))) == 2
    for command in played.commands:
        words = " ".join(command)
        assert "-m rq.cli worker --url redis://h:1/0" in words
        assert command[-2:] == ["fast", "slow"]
        assert PID in command[command.index("--name") + 1]
    log = played.workers.log_path(2)
    assert (log.name, log.stat().st_mode & 0o077) == ("worker-2.log", 0)
    played.workers.stop()
    assert played.workers.pids == []


def test_a_user_has_modules_in_the_working_directory(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before those of PYTHONPATH, which are there still."""
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    played.start('echo "$PWD $PYTHONPATH"; ' + MEEK)
    said = played.workers.log_path(1).read_text().split("\n")[0]
    assert said == f"{played.folder} {played.folder}:/elsewhere"


def test_the_dead_are_started_again(played: Played) -> None:
    """And no others."""
    killed, other = played.start(MEEK)
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: played.workers.pids == [other], what="it to be gone")
    assert played.workers.ensure() == 1
    assert other in played.workers.pids
    assert len(played.workers.pids) == 2
    assert played.workers.ensure() == 0


def test_who_ends_at_once_again_and_again_is_given_up(played: Played) -> None:
    """The line says what it said last, and where to read more."""
    played.script = "echo the port is taken; echo; exit 3"
    played.workers.start()

    def ensure() -> bool:
        played.workers.ensure()
        return False

    with pytest.raises(DistflowError, match=r"the port is taken .*worker-\d\.log"):
        wait_for(ensure, 20)


def test_who_does_not_stop_is_killed_with_what_it_has_started(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told twice, and then not asked any more."""
    monkeypatch.setattr(module, "_COLD_STOP_SECONDS", 0.05)
    pids = played.start(STUBBORN)
    wait_for(lambda: all(len(session_members(pid)) == 2 for pid in pids), what="their horses")
    played.workers.stop(0.05)
    wait_for(lambda: not any(map(session_members, pids)), what="all to be gone")
    assert played.workers.pids == []


def test_a_block_leaves_no_worker(played: Played) -> None:
    """However it ends."""
    with suppress(ZeroDivisionError), played.workers:
        assert len(played.workers.pids) == 2
        _ = 1 / 0
    assert played.workers.pids == []


def test_no_workers_can_do_nothing(tmp_path: Path) -> None:
    """A count of 0 is refused."""
    with pytest.raises(InvalidInput, match="1 or more"):
        LocalWorkers("redis://h", count=0, data_dir=tmp_path)


# What becomes of a command that is bound to this process


class Executed(Exception):
    """The process would be another program now: these are its words."""


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked of the kernel by a launcher that runs in this process."""
    asked: list[Any] = []

    class Kernel:
        def __init__(self, *_words: Any, **_options: Any) -> None:
            """The C library."""

        def prctl(self, *words: int) -> None:
            asked.append(words)

    def execute(_path: str, words: list[str]) -> None:
        raise Executed(*words)

    monkeypatch.setattr(ctypes, "CDLL", Kernel)
    monkeypatch.setattr(os, "execv", execute)
    command = bound_to_this_process(["/bin/worker", "--name", f"w-{PID}"])
    script = command.index(launch.__file__)
    assert command[script + 1] == str(os.getpid())
    monkeypatch.setattr(sys, "argv", command[script:])
    return asked


def test_a_launched_command_ends_with_its_parent(
    launched: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel is to send SIGTERM; the command knows its own process id."""
    monkeypatch.setattr(os, "getppid", os.getpid)
    with pytest.raises(Executed) as became:
        launch.main()
    assert became.value.args == ("/bin/worker", "--name", f"w-{os.getpid()}")
    if sys.platform == "linux":
        assert launched == [(1, signal.SIGTERM, 0, 0, 0)]


def test_nothing_is_launched_for_a_parent_that_is_gone(
    launched: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died before the kernel was asked: nobody would ever end the command."""
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(SystemExit, match=f"{os.getpid()}.* is gone"):
        launch.main()
