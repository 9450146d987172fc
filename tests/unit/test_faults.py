"""Faults: what is armed by the environment strikes where and when it was asked for, and no more.

What would end the process of the test is caught before it does.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distflow import faults
from distflow.faults import FAULT_VARIABLE, LOG_VARIABLE, InjectedFault, commit, reach

Arm = Callable[..., None]


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Arm:
    """``arm(fault, log)``: as a process is that has these variables."""

    def arm(fault: str = "", log: Path | None = None) -> None:
        monkeypatch.setenv(FAULT_VARIABLE, fault)
        monkeypatch.setenv(LOG_VARIABLE, "" if log is None else str(log))
        monkeypatch.setattr(faults, "_armed", faults._arm())

    return arm


def test_nothing_is_armed_without_the_variables(arm: Arm) -> None:
    """Production pays for one look, and a commit is guarded by nothing."""
    arm()
    reach("a point")
    assert commit("one") is commit("other")


def test_points_are_logged(arm: Arm, tmp_path: Path) -> None:
    """Both sides of a commit, the second where it returned alone."""
    log = tmp_path / "log"
    arm(log=log)
    with commit("claim"):
        reach("between")
    with pytest.raises(ZeroDivisionError), commit("finish"):
        _ = 1 / 0
    assert log.read_text().split() == ["claim:before", "between", "claim:after", "finish:before"]


def test_it_strikes_at_the_nth_time(arm: Arm, tmp_path: Path) -> None:
    """Once, over all processes that count in the file: whoever comes later goes on."""
    fault = f"claim:before#2=raise@{tmp_path / 'count'}"
    arm(fault)
    with commit("claim"):
        pass
    # Another process.
    arm(fault)
    reach("claim:after")
    with pytest.raises(InjectedFault, match="claim:before"), commit("claim"):
        pytest.fail("the call was made")
    with commit("claim"):
        pass
    assert (tmp_path / "count").read_text() == "..."


@pytest.mark.parametrize(("kind", "number"), [("kill", signal.SIGKILL), ("freeze", signal.SIGSTOP)])
def test_a_process_is_killed_or_frozen(
    arm: Arm, kind: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is this one; who shall wake a frozen one finds it by its file."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *words: sent.append(words))
    file = tmp_path / "count"
    arm(f"p#1={kind}@{file}")
    reach("p")
    assert sent == [(os.getpid(), number)]
    frozen = Path(f"{file}{faults.FROZEN_SUFFIX}")
    assert frozen.exists() == (kind == "freeze")
    if kind == "freeze":
        assert frozen.read_text() == str(os.getpid())


@pytest.mark.parametrize(
    "text",
    [
        "p",
        "p#1",
        "p#1=raise",
        "p#one=raise@file",
        "p#0=raise@file",
        "p#1=explode@file",
        "p#1=raise@",
    ],
)
def test_a_fault_that_is_none_is_refused(arm: Arm, text: str) -> None:
    """A test that arms nothing by a slip would show nothing."""
    with pytest.raises(SystemExit, match="POINT#N=KIND@FILE"):
        arm(text)


# Cut connections


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of the one connection that this process has, as far as faults can see."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as mine,
    ):
        theirs, _address = server.accept()
        theirs.settimeout(5.0)
        mine.settimeout(5.0)

        class OnlyMine:
            """The folder of what this process has open."""

            def __init__(self, _folder: str) -> None:
                """Whatever it is."""

            def iterdir(self) -> list[Path]:
                """The end of the test's, one that listens, a file and one that is closed."""
                numbers = mine.fileno(), server.fileno(), gone
                return [Path(str(number)) for number in (*numbers, own)]

        gone = os.dup(mine.fileno())
        os.close(gone)
        own = os.open(os.devnull, os.O_RDONLY)
        monkeypatch.setattr(faults, "Path", OnlyMine)
        monkeypatch.setattr(socket.socket, "sendall", socket.socket.sendall)
        yield mine, theirs
        os.close(own)
        theirs.close()


def test_connections_are_cut_after_a_commit(
    arm: Arm, line: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    """Both ends see that; what had come and was not read is lost."""
    mine, theirs = line
    theirs.sendall(b"a reply")
    arm(f"claim:after#1=cut@{tmp_path / 'count'}")
    with commit("claim"):
        mine.sendall(b"a command")
    assert theirs.recv(100) == b"a command"
    assert theirs.recv(100) == b""
    assert mine.recv(100) == b""


def test_a_reply_is_lost_before_a_commit(
    arm: Arm, line: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    """The command has gone out, once; nobody hears what came of it. The next connection is fine."""
    mine, theirs = line
    arm(f"claim:before#1=cut@{tmp_path / 'count'}")
    send = socket.socket.sendall
    with commit("claim"):
        mine.sendall(b"a command")
    assert theirs.recv(100) == b"a command"
    assert mine.recv(100) == b""
    assert socket.socket.sendall is send
