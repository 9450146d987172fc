"""A timeout from inside a process: raised in the task, and again where that was swallowed."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress

import pytest

from distflow_worker import alarm as deadline_module
from distflow_worker.alarm import Deadline, DeadlinePassed

# The usual guard against a test that hangs takes the alarm that is tested here.
pytestmark = pytest.mark.timeout(method="thread")

#: Longer than any test takes.
_LONG_SECONDS = 60.0


def wait_long() -> None:
    """Wait to be interrupted; a test that is not fails."""
    for _ in range(int(_LONG_SECONDS * 100)):
        time.sleep(0.01)
    raise AssertionError("nothing has interrupted it")


def test_it_is_raised_in_the_block() -> None:
    """No ``except Exception`` of the task's catches it."""
    handler = signal.getsignal(signal.SIGALRM)

    def task() -> None:
        with Deadline(0.02), suppress(Exception):
            wait_long()

    with pytest.raises(DeadlinePassed):
        task()
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_it_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task may swallow the first one, even so."""
    monkeypatch.setattr(deadline_module, "_REPEAT_SECONDS", 0.02)
    ends: list[str] = []

    def task() -> None:
        with Deadline(0.02):
            with suppress(DeadlinePassed):
                wait_long()
            ends.append("the first")
            wait_long()

    with pytest.raises(DeadlinePassed):
        task()
    assert ends == ["the first"]


@pytest.mark.parametrize("seconds", [None, _LONG_SECONDS])
def test_one_that_is_in_time_meets_none(seconds: float | None) -> None:
    """The alarm is taken away at the end of the block, and what it was before is put back."""
    handler = signal.getsignal(signal.SIGALRM)
    with Deadline(seconds):
        armed = signal.getitimer(signal.ITIMER_REAL)[0]
    assert (armed > 0) == (seconds is not None)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_late_ring_hits_nobody() -> None:
    """One that was on its way when the block ended."""
    deadline = Deadline(_LONG_SECONDS)
    with deadline:
        pass
    deadline._ring(signal.SIGALRM, None)


def test_another_thread_has_none() -> None:
    """Signals reach the main thread alone: elsewhere the guardian has to do."""
    armed: list[float] = []

    def run() -> None:
        with Deadline(_LONG_SECONDS):
            armed.append(signal.getitimer(signal.ITIMER_REAL)[0])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert armed == [0.0]
