"""What a signal does to a command: it leaves the run as it is, or hands it over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from distflow.events.notice import Interrupt


@contextmanager
def interruptible(*, hands_over: bool = False) -> Iterator[Interrupt]:
    """An interrupt that the first Ctrl-C, SIGTERM or hang-up sets; the second ends the command.

    For the main thread, which must not wait on it: signal handlers run there, and would wait for a
    lock that their own thread holds.

    Args:
        hands_over: whether SIGTERM hands the run over: it asks this process to stop, not the run.
    """
    interrupt = Interrupt()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if interrupt.is_set():
            raise KeyboardInterrupt
        interrupt.hands_over = hands_over and number == signal.SIGTERM
        interrupt.set()

    # A process started with a signal ignored must outlive it: a hang-up under nohup, and in the
    # background of a script the Ctrl-C at its terminal, which is meant for the script.
    for_others = [
        number
        for number in (signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(number) == signal.SIG_IGN
    ]
    before = {
        number: signal.signal(number, on_signal)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if number not in for_others
    }
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
