"""A process that runs tasks has a guardian, tells it of calls, and does without a lost one."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from distflow.procfs import count_descriptors, iter_processes
from distflow.wire.batch_payload import BatchPayload
from distflow_worker import guard as guard_module
from distflow_worker.alarm import DeadlinePassed
from distflow_worker.guard import Guard
from distflow_worker.guardian import DISARMED, Guarded
from tests.support.wait import wait_for

pytestmark = [
    # Python says of each fork of a process with threads that it may hang: the child here runs
    # nothing that a thread may hold.
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
    # The usual guard against a test that hangs takes the alarm that is tested here.
    pytest.mark.timeout(method="thread"),
]

_UNUSED: Any = None

#: A batch that nobody looks into.
GUARDED = Guarded(
    _UNUSED, BatchPayload(1, "", "run-1", 1, "b1", (), {}), "w1", "job", 1, lambda: _UNUSED
)


class Named:
    """A task at work, as a verification has it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.task = self


def answer(channel: socket.socket, *_rest: object) -> None:
    """A guardian that only answers, until its process is gone."""
    messages = msgpack.Unpacker()
    while sent := channel.recv(1 << 16):
        messages.feed(sent)
        for message in messages:
            if message is None:
                channel.send(DISARMED)
    os._exit(0)


def vanish(*_rest: object) -> None:
    """One that is killed at once."""
    os._exit(9)


Enter = Callable[..., Guard]


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Enter]:
    """``enter(guardian)``: a guard with this guardian, whose block runs until the test ends."""
    made: list[Guard] = []

    def make(guardian: Callable[..., None] = answer) -> Guard:
        monkeypatch.setattr(guard_module, "guard", guardian)
        made.append(Guard(GUARDED, leads=False).__enter__())
        made[-1].on_attempt(Named("a"))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for guard in made:
        guard.__exit__(None, None, None)


def overrun(guard: Guard) -> None:
    """A call that takes longer than it may, and heeds the alarm."""
    with guard.deadline(0.02):
        while True:
            time.sleep(0.01)


def is_there(pid: int) -> bool:
    """Whether a process runs."""
    return any(process.pid == pid for process in iter_processes())


def test_a_call_is_guarded_while_it_runs(enter: Enter) -> None:
    """And is overdue once its time is over; then it is guarded no more."""
    guard = enter()
    with guard.deadline(600.0):
        assert not guard.is_overdue()
    with pytest.raises(DeadlinePassed):
        overrun(guard)
    assert guard.overran
    assert not guard.is_overdue()
    assert is_there(guard._guardian)


def test_any_time_needs_no_guarding(enter: Enter) -> None:
    """A task without a timeout is not announced."""
    guard = enter(vanish)
    with guard.deadline(None):
        assert not guard.is_overdue()
    assert guard._channel is not None


def test_a_lost_guardian_is_done_without(enter: Enter, caplog: pytest.LogCaptureFixture) -> None:
    """The alarm inside the process has to do: said once."""
    guard = enter(vanish)
    wait_for(lambda: not is_there(guard._guardian))
    for _call in range(2):
        with pytest.raises(DeadlinePassed):
            overrun(guard)
    assert caplog.text.count("its guardian is lost") == 1


def test_no_process_can_be_forked(
    enter: Enter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The host has no more of them: the batch runs all the same."""

    def refuse() -> int:
        raise OSError("no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    files = count_descriptors()
    guard = enter()
    with guard.deadline(600.0):
        pass
    assert count_descriptors() == files
    assert "has no guardian: no more processes" in caplog.text


def test_a_guardian_goes_with_its_block(enter: Enter) -> None:
    """It is killed and waited for: no zombie is left behind."""
    guard = enter()
    pid = guard._guardian
    guard.__exit__(None, None, None)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def test_what_an_interrupted_task_left_is_ended(
    enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes go, and the one that runs tasks stays; without an interruption nobody looks."""
    spared: list[int | None] = []
    guard = enter()
    monkeypatch.setattr(guard._group, "leads", True)
    monkeypatch.setattr(guard._group, "end", lambda *, spare: spared.append(spare))
    guard.__exit__(None, None, None)
    assert spared == []
    guard.overran = True
    guard.__exit__(None, None, None)
    assert spared == [os.getpid()]
    guard.overran = False
