"""The child of a FastWorker, as the worker sees it: forked ahead, and given one batch after
another.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import msgpack

from distflow.logs import get_logger

_log = get_logger("distflow.worker")

#: Seconds that an idle child may take to end when told to.
_END_SECONDS = 2.0

#: Seconds between two checks whether the child is alive, on systems that do not report it.
_LOOK_SECONDS = 1.0

#: Blocked during a fork: the child must not handle them with its parent's handlers.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


class Order(NamedTuple):
    """A batch for the child: its RQ job and payload.

    ``taken_to`` is the key of the list to which RQ moves jobs that it pops from a queue.
    """

    job: str
    origin: str
    taken_to: str
    description: str
    payload: bytes


class Answer(NamedTuple):
    """The child's answer for a batch: why it failed (empty if it did not), and whether the child
    ends now.
    """

    error: str
    last: bool


class Death(NamedTuple):
    """How the child ended, from ``os.wait4``."""

    pid: int
    status: int
    usage: Any


class Child:
    """Forks at once. The child leads a process group, so that processes of its tasks end with it.

    Args:
        serve: runs in the child until its channel closes. Signals are blocked in it until it calls
            :func:`take_signals`.
    """

    def __init__(self, serve: Callable[[Connection], None]) -> None:
        self._channel, theirs = Pipe()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                self._become(theirs, serve)
            # Done in both processes: nobody may see the child in its parent's group.
            with suppress(OSError):
                os.setpgid(self.pid, self.pid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            theirs.close()
        #: Whether it has a batch without an answer yet.
        self.has_batch = False
        #: How it ended; None while it lives.
        self.death: Death | None = None
        self._handle = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None
        self._poll = select.poll()
        self._poll.register(self._channel.fileno(), select.POLLIN)
        if self._handle is not None:
            self._poll.register(self._handle, select.POLLIN)

    def _become(self, channel: Connection, serve: Callable[[Connection], None]) -> None:
        status = os.EX_SOFTWARE
        try:
            self._channel.close()
            os.setpgrp()
            serve(channel)
            status = os.EX_OK
        except BaseException:  # noqa: BLE001 - no code of the worker may run on in this process
            _log.exception("the child of a worker failed")
        finally:
            # Nothing of the worker's may be finalised or flushed twice.
            os._exit(status)

    def hand_over(self, order: Order) -> bool:
        """Give it a batch; False if it is gone."""
        try:
            self._channel.send_bytes(msgpack.packb(order))
        except OSError:
            return False
        self.has_batch = True
        return True

    def wait(self, seconds: float) -> Answer | None:
        """Its answer; None if it died (see ``death``), or the time is up."""
        if self._handle is None:
            seconds = min(seconds, _LOOK_SECONDS)
        answer = self._read(seconds)
        if answer is None and self.look() is not None:
            # It may have answered just before it died.
            answer = self._read(0.0)
        return answer

    def _read(self, seconds: float) -> Answer | None:
        ready = dict(self._poll.poll(seconds * 1000))
        if self._channel.closed or self._channel.fileno() not in ready:
            return None
        try:
            answer = Answer(*msgpack.unpackb(self._channel.recv_bytes()))
        except (EOFError, OSError):
            # It died; or a task has closed the channel, and it will die later.
            self.let_go()
            return None
        self.has_batch = False
        return answer

    def look(self) -> Death | None:
        """Check whether it has ended, and how."""
        if self.death is None:
            self._bury(os.WNOHANG)
        return self.death

    def _bury(self, options: int) -> None:
        try:
            pid, status, usage = os.wait4(self.pid, options)
        except ChildProcessError:
            # It was already waited for, as a cold shutdown does.
            self.death = Death(self.pid, 0, None)
            return
        if pid:
            self.death = Death(pid, status, usage)

    def dismiss(self) -> None:
        """End it unless it has ended itself; it has no batch."""
        self.let_go()
        if self.look() is None and self._handle is not None:
            self._poll.poll(_END_SECONDS * 1000)
        if self.look() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._bury(0)
        if self._handle is not None:
            self._poll.unregister(self._handle)
            os.close(self._handle)
            self._handle = None

    def let_go(self) -> None:
        """Close the channel: it ends after its current batch."""
        if not self._channel.closed:
            self._poll.unregister(self._channel.fileno())
            self._channel.close()


def take_signals() -> None:
    """Unblock signals."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
