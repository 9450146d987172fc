"""Guard: the work horse's side of enforcing timeouts.

First comes a soft attempt from inside: :class:`Deadline` raises in the task. A task that ignores it
is ended from outside, by a guardian.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from msgpack import Packer

from distflow.logs import get_logger
from distflow_worker.alarm import Deadline, DeadlinePassed
from distflow_worker.attempt import AttemptRun
from distflow_worker.guardian import DISARMED, Call, Guarded, guard
from distflow_worker.process_group import ProcessGroup

if TYPE_CHECKING:
    # Imported only by batches that need it.
    from distflow_worker.verify import Verification

_log = get_logger("distflow.worker")

#: Seconds that a guardian may take to answer before it counts as lost.
_ANSWER_SECONDS = 10.0


class Guard:
    """Has a guardian while its block runs. Enter it before any thread is started.

    Args:
        guarded: the batch.
        leads: whether this process leads a process group that contains only what its tasks started.
    """

    def __init__(self, guarded: Guarded, *, leads: bool) -> None:
        self._guarded = guarded
        self._group = ProcessGroup(os.getpid(), leads=leads)
        self._channel: socket.socket | None = None
        self._guardian = 0
        self._attempt: AttemptRun | Verification | None = None
        #: When the running call is due, on the monotonic clock; None between two calls.
        self._due_at: float | None = None
        #: Whether a call was interrupted: what it left behind may still be running in this process.
        self.overran = False

    def __enter__(self) -> Self:
        """Fork the guardian; if that fails, the soft attempt must do."""
        with ExitStack() as opened:
            try:
                mine, theirs = map(opened.enter_context, socket.socketpair())
                self._guardian = os.fork()
            except OSError as error:
                _log.warning("batch %s has no guardian: %s", self._guarded.payload.batch, error)
                return self
            opened.pop_all()
        if self._guardian == 0:
            mine.close()
            guard(theirs, self._guarded, self._group)
        theirs.close()
        mine.settimeout(_ANSWER_SECONDS)
        self._channel = mine
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Dismiss the guardian. If a task was interrupted, end what it left behind."""
        if self.overran and self._group.leads:
            self._group.end(spare=self._group.pid)
        self._dismiss()

    def on_attempt(self, attempt: AttemptRun | Verification | None) -> None:
        """Set the running attempt or verification."""
        self._attempt = attempt

    def is_overdue(self) -> bool:
        """Whether the running call has exceeded its timeout."""
        due_at = self._due_at
        return due_at is not None and time.monotonic() >= due_at

    @contextmanager
    def deadline(self, seconds: float | None) -> Iterator[None]:
        """Guard a call that may take this many seconds; None is no limit."""
        if seconds is None:
            yield
            return
        self._due_at = time.monotonic() + seconds
        self._tell(self._announce(seconds))
        try:
            with Deadline(seconds):
                yield
        except DeadlinePassed:
            self.overran = True
            raise
        finally:
            # Once this is answered, the guardian will not end the process; without an answer, it is
            # doing so.
            self._tell(None)
            self._due_at = None

    def _announce(self, seconds: float) -> Call:
        attempt = self._attempt
        assert attempt is not None, "a deadline is that of an attempt"
        if not isinstance(attempt, AttemptRun):
            return Call(attempt.task.name, seconds)
        started_at = attempt.started_at or time.time()
        return Call(attempt.task.name, seconds, attempt.token, attempt.claim, started_at)

    def _tell(self, call: Call | None) -> None:
        if self._channel is None:
            return
        try:
            self._channel.sendall(Packer().pack(call))
            if call is not None or self._channel.recv(1) == DISARMED:
                return
        except OSError:
            pass
        _log.warning("batch %s: its guardian is lost", self._guarded.payload.batch)
        self._dismiss()

    def _dismiss(self) -> None:
        if self._channel is None:
            return
        # Killed, not told: a frozen one would read the message later, and end another task.
        with suppress(ProcessLookupError):
            os.kill(self._guardian, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._guardian, 0)
        self._channel.close()
        self._channel = None
