"""Guard: the horse's side of what ends its tasks in time.

The soft attempt comes from inside: :class:`Deadline` raises in the task. What does not heed it is
ended from outside, by a guardian.
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
    # Imported by the batches that need it alone.
    from distflow_worker.verify import Verification

_log = get_logger("distflow.worker")

#: Seconds that a guardian may take to answer; then it is taken for lost.
_ANSWER_SECONDS = 10.0


class Guard:
    """Has a guardian while its block runs: enter it before any thread is started.

    Args:
        guarded: the batch.
        leads: whether this process has a process group of its own, in which nothing is but what
            its tasks have started.
    """

    def __init__(self, guarded: Guarded, *, leads: bool) -> None:
        self._guarded = guarded
        self._group = ProcessGroup(os.getpid(), leads=leads)
        self._channel: socket.socket | None = None
        self._guardian = 0
        self._attempt: AttemptRun | Verification | None = None
        #: On the monotonic clock; None between two calls.
        self._due_at: float | None = None
        #: Whether a call was interrupted: what it has left behind may go on in this process.
        self.overran = False

    def __enter__(self) -> Self:
        """Fork the guardian; where there can be none, the soft attempt has to do."""
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
        """Dismiss the guardian. Where a task was interrupted, end what it has left behind."""
        if self.overran and self._group.leads:
            self._group.end(spare=self._group.pid)
        self._dismiss()

    def on_attempt(self, attempt: AttemptRun | Verification | None) -> None:
        """The attempt or verification at work."""
        self._attempt = attempt

    def is_overdue(self) -> bool:
        """Whether the call at work has taken longer than it may."""
        due_at = self._due_at
        return due_at is not None and time.monotonic() >= due_at

    @contextmanager
    def deadline(self, seconds: float | None) -> Iterator[None]:
        """Guard a call that may take so many seconds; None is any time."""
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
            # Once this is answered, the process is not ended; unanswered, it is being ended.
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
        # Not by a word: one that is frozen would hear it later, and end another task.
        with suppress(ProcessLookupError):
            os.kill(self._guardian, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._guardian, 0)
        self._channel.close()
        self._channel = None
