"""The processes that run a task are ended: the leader, and what it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from distflow.procfs import iter_processes
from distflow_worker import process_group
from distflow_worker.process_group import ProcessGroup
from tests.support.wait import wait_for

#: A leader that starts a child, says who both are, and waits; ``deaf`` ones heed no SIGTERM.
_LEADER = """
import signal, subprocess, sys, time
deaf = sys.argv[1] == "deaf"
if deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
child.wait()
time.sleep(600)
"""

Start = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(deaf=…, leads=…)``: a process and the pid of its child; gone when the test ends."""
    begun: list[tuple[subprocess.Popen[str], int]] = []

    def begin(*, deaf: bool = False, leads: bool = True) -> tuple[subprocess.Popen[str], int]:
        word = "deaf" if deaf else "heeds"
        leader = subprocess.Popen(
            [sys.executable, "-c", _LEADER, word],
            stdout=subprocess.PIPE,
            text=True,
            process_group=0 if leads else None,
        )
        assert leader.stdout is not None
        begun.append((leader, int(leader.stdout.readline())))
        return begun[-1]

    yield begin
    for leader, child in begun:
        for pid in (leader.pid, child):
            if is_there(pid):
                os.kill(pid, signal.SIGKILL)
        leader.wait()
        assert leader.stdout is not None
        leader.stdout.close()


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    return any(process.pid == pid for process in iter_processes())


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What heeds no SIGTERM is killed soon."""
    monkeypatch.setattr(process_group, "TERM_SECONDS", 0.1)


@pytest.mark.parametrize("deaf", [False, True])
def test_a_group_ends_with_its_leader(start: Start, *, deaf: bool) -> None:
    """What a task has started goes as well, whether it heeds SIGTERM or not."""
    leader, child = start(deaf=deaf)
    ProcessGroup(leader.pid, leads=True).end()
    assert not is_there(leader.pid)
    assert not is_there(child)
    assert leader.wait() == -(signal.SIGKILL if deaf else signal.SIGTERM)


def test_one_that_leads_no_group_ends_alone(start: Start) -> None:
    """Its group is that of its worker: nobody else in it is touched."""
    leader, child = start(leads=False)
    ProcessGroup(leader.pid, leads=False).end()
    assert not is_there(leader.pid)
    assert is_there(child)


def test_one_is_spared(start: Start) -> None:
    """A process goes on after a task was interrupted: what the task left behind is ended."""
    leader, child = start()
    ProcessGroup(leader.pid, leads=True).end(spare=leader.pid)
    assert not is_there(child)
    assert is_there(leader.pid)


@pytest.mark.parametrize("leads", [False, True])
def test_a_host_that_lists_no_processes(
    start: Start, monkeypatch: pytest.MonkeyPatch, *, leads: bool
) -> None:
    """Elsewhere than on Linux the group is signalled as a whole, or the process alone."""
    leader, child = start(leads=leads)
    gone = partial(leader.poll)
    monkeypatch.setattr(process_group, "iter_processes", lambda: iter(()))
    monkeypatch.setattr(
        process_group, "_exists", lambda _pid: gone() is None
    )  # A child of this process stays a zombie until it is waited for.
    ProcessGroup(leader.pid, leads=leads).end()
    assert leader.poll() is not None
    if leads:
        wait_for(lambda: not is_there(child), 5, "the group to end")
    else:
        assert is_there(child)


def test_what_is_gone_already_is_no_error(start: Start) -> None:
    """It may have ended by itself at this very moment."""
    leader, child = start()
    for pid in (child, leader.pid):
        os.kill(pid, signal.SIGKILL)
    leader.wait()
    ProcessGroup(leader.pid, leads=True).end()
    assert process_group._exists(os.getpid())
    assert not process_group._exists(leader.pid)
    assert not Path(f"/proc/{leader.pid}").exists()
