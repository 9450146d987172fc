"""Signals in the process of a task: the alarm of its timeout, and those that stop its worker."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from redis.exceptions import RedisError

from distflow.logs import get_logger

_log = get_logger("distflow.worker")

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


#: The signals that tell a worker to stop.
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """In its block, what Redis answers to a signal handler is not raised.

    RQ's handler notes that the worker should stop, and then writes that to Redis. In a worker that
    runs jobs in its own process, it interrupts the thread of the task: its error would be raised in
    the middle of the user's function, and an ``at_most_once`` task would be a failure that stays.

    It replaces handlers in the main thread alone, where Python runs them; anything but an error of
    Redis, such as the SystemExit of a cold shutdown, is raised as before.
    """

    def __init__(self) -> None:
        self._replaced: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> Self:
        """Replace the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._replaced[number] = handler
                    signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the handlers back, except for those that were replaced meanwhile."""
        for number, handler in self._replaced.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        try:
            self._replaced[number](number, frame)
        except RedisError as error:
            _log.warning(
                "signal %d: the worker stops after this task; Redis was not told: %s", number, error
            )
