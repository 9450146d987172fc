"""The clock of this host: how long things take, and how waiting is done."""

from __future__ import annotations

import time
from typing import Protocol


class Flag(Protocol):
    """What a wait may be ended by, such as ``threading.Event``."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for so many seconds at most; returns whether it is."""


class Clock(Protocol):
    """Measures lengths, and lets time pass. It is never set, unlike the time of day."""

    def monotonic(self) -> float:
        """Seconds since some moment that never changes."""

    def sleep(self, seconds: float, /) -> None:
        """Do nothing for so long."""

    def wait(self, flag: Flag, seconds: float) -> bool:
        """Wait until a flag is set, for so many seconds at most; returns whether it is."""


class SystemClock:
    """The real one."""

    def __init__(self) -> None:
        # Bound once: a coordinator asks it thousands of times each second.
        self.monotonic = time.monotonic
        self.sleep = time.sleep

    def wait(self, flag: Flag, seconds: float) -> bool:
        """See :meth:`Clock.wait`."""
        return flag.wait(seconds)


SYSTEM_CLOCK = SystemClock()
