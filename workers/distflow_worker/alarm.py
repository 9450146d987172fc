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
    """Raised in a task that runs too long; an ``except Exception`` in the task does not catch
    it.
    """


class Deadline:
    """Raises :class:`DeadlinePassed` in its block after some seconds.

    Works only in the main thread, where RQ runs jobs; elsewhere, and for None, it does nothing.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._armed = False
        self._over = False
        #: The previous signal handler, while this one is armed.
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
        """Clear the alarm."""
        # First, since an alarm that comes before the timer is off must interrupt nothing.
        self._over = True
        if self._armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._replaced)

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        if not self._over:
            raise DeadlinePassed
