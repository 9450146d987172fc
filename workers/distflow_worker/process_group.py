"""ProcessGroup: the process that runs tasks, with everything they started in its process group."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from distflow.procfs import iter_processes

#: Seconds between SIGTERM and SIGKILL.
TERM_SECONDS = 2.0

#: Seconds for a process to disappear after SIGKILL: it may be inside the kernel.
_KILL_SECONDS = 5.0

_POLL_SECONDS = 0.02


class ProcessGroup:
    """A process that runs tasks.

    Args:
        pid: of the process.
        leads: whether it leads a process group that contains only what its tasks started. Otherwise
            only the process itself is ended.
    """

    def __init__(self, pid: int, *, leads: bool) -> None:
        self.pid = pid
        self.leads = leads

    def end(self, *, spare: int | None = None) -> None:
        """SIGTERM, then SIGKILL, to the process and its group; returns when they are gone.

        Args:
            spare: the one process to leave alone; if the members of a group cannot be told apart,
                it ends with them.
        """
        self._signal(signal.SIGTERM, spare)
        if not _wait_until(lambda: not self._alive(spare), TERM_SECONDS):
            self._signal(signal.SIGKILL, spare)
            _wait_until(lambda: not self._alive(spare), _KILL_SECONDS)

    def _signal(self, number: signal.Signals, spare: int | None) -> None:
        with suppress(ProcessLookupError):
            if self.leads and (spare is None or self._members() is None):
                # To all at once: a member must not see another die and start a third.
                os.killpg(self.pid, number)
                return
        for pid in self._alive(spare):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _alive(self, spare: int | None) -> list[int]:
        members = self._members()
        if members is None:
            members = [self.pid] if _exists(self.pid) else []
        return [pid for pid in members if pid != spare]

    def _members(self) -> list[int] | None:
        """The processes that are still alive; None if this host does not list them."""
        everyone = list(iter_processes())
        if not everyone:
            return None
        if self.leads:
            return [process.pid for process in everyone if process.group == self.pid]
        return [process.pid for process in everyone if process.pid == self.pid]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
