"""A task's timeout, from inside its process: SIGALRM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

#: Seconds between two alarms, for a task that swallowed the first.
_REPEAT_SECONDS = 1.0


_Handler = Callable[[int, FrameType | None], Any] | int | None


class DeadlinePassed(BaseException):
    """Raised in a task that ran too long; no ``except Exception`` of the task's swallows it."""


class Deadline:
    """Raises :class:`DeadlinePassed` in the block after some seconds.

    It works in the main thread only, where RQ runs jobs; elsewhere, and for None, it does nothing.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._armed = False
        self._over = False
        #: Who rang before, while this is armed.
        self._replaced: _Handler = None

    def __enter__(self) -> Self:
        """Set the alarm."""
        if self._seconds is not None and threading.current_thread() is threading.main_thread():
            self._replaced = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self._seconds, _REPEAT_SECONDS)
            self._armed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the alarm away."""
        # First: a ring that comes before the timer is off must hit nobody.
        self._over = True
        if self._armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._replaced)

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        if not self._over:
            raise DeadlinePassed
