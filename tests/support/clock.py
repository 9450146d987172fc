"""A clock that a test moves, and chance that is none."""

from __future__ import annotations

import itertools
import threading

from distflow.clock import Flag

#: Where the clocks begin: any number, so that 0 is never a moment.
_BEGIN_SECONDS = 5000.0
_UNIX_SECONDS = 1_800_000_000.0


class Clock:
    """Seconds pass when the thread that made it says so, or waits; for another one that waits no
    time passes, until what it waits for is set.
    """

    def __init__(self) -> None:
        self._thread = threading.current_thread()
        self.seconds = _BEGIN_SECONDS
        #: By how much Redis's clock was set forward.
        self.set_by = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float, /) -> None:
        self.seconds += seconds

    def wait(self, flag: Flag, seconds: float) -> bool:
        if threading.current_thread() is not self._thread:
            return flag.wait()
        is_set = flag.wait(0)
        if not is_set:
            self.sleep(seconds)
        return is_set

    def unix(self) -> float:
        """Redis's clock, and that of every host."""
        return _UNIX_SECONDS + self.seconds + self.set_by


class Chance:
    """Tokens in a row, and the middle of all that is drawn."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new_token(self) -> str:
        return f"{next(self._numbers):06x}0000000000"

    def roll(self) -> float:
        return 0.5
