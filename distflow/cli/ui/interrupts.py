"""What a signal means to a command: leave the run as it is, or hand it over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from distflow.events.notice import Interrupt


@contextmanager
def interruptible(*, hands_over: bool = False) -> Iterator[Interrupt]:
    """What the first Ctrl-C, SIGTERM or hang-up sets; the second ends the command.

    For the main thread, which must not wait on it: a signal's handler runs there, and would wait
    for a lock that its own thread holds.

    Args:
        hands_over: whether SIGTERM hands the run over: this process is to stop, and nobody has said
            that the run is.
    """
    interrupt = Interrupt()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if interrupt.is_set():
            raise KeyboardInterrupt
        interrupt.hands_over = hands_over and number == signal.SIGTERM
        interrupt.set()

    # What was started with them ignored is to outlive them: under nohup a hang-up, and in the
    # background of a script the Ctrl-C at its terminal, which is for the script.
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
