"""Background: sessions on threads of this process, which leave their runs when it ends."""

from __future__ import annotations

import atexit
import sys
import threading
import time

from distflow.core.status import ENDED_RUNS, RunStatus
from distflow.errors import DistflowError, RunNotFound
from distflow.events.notice import Interrupt
from distflow.ports.run_store import RunStore
from distflow.runs.session import Session
from distflow.text import visible

#: Seconds that a process which ends gives its sessions to leave their runs.
_LEAVE_SECONDS = 5.0

#: Those of this process that are at work; the runs that it left.
_at_work: set[Background] = set()
_left: set[str] = set()


class Background:
    """A session at work on a thread.

    Args:
        session: it.
        interrupt: that of the session: set when the process ends.
        store: the run, asked once when the process ends; it should have no patience.
        reopen: see :meth:`Session.finish`.
    """

    def __init__(
        self, session: Session, interrupt: Interrupt, store: RunStore, *, reopen: bool
    ) -> None:
        self._session = session
        self._interrupt = interrupt
        self._store = store
        self._reopen = reopen
        #: How the run stood when the session was over; None before, and where it failed.
        self.ended: RunStatus | None = None
        #: Why the session failed.
        self.failed: DistflowError | None = None
        name = f"distflow-{store.run_id}"
        self._thread = threading.Thread(target=self._see_through, name=name, daemon=True)
        _at_work.add(self)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the session goes on."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> bool:
        """Wait a while for the end of the session; whether it goes on."""
        self._thread.join(seconds)
        return self.is_alive

    def leave(self) -> None:
        """Let the session end soon: its run is left as it is."""
        self._interrupt.set()

    @property
    def has_left(self) -> bool:
        """Whether nobody goes on with the run although it has not ended; True where the store is
        away.
        """
        try:
            info = self._store.read_info()
        except RunNotFound:
            return False
        except DistflowError:
            return True
        return info.status not in ENDED_RUNS and info.coordinator is None

    def say_left(self) -> None:
        """Say once that this process led the run and does so no more."""
        run_id = visible(self._store.run_id)
        if run_id in _left:
            return
        _left.add(run_id)
        sys.stderr.write(
            f"distflow: this process ended before run {run_id} did, which wait() waits for: go on "
            f"with it by `distflow resume {run_id}`\n"
        )

    def _see_through(self) -> None:
        try:
            self.ended = self._session.finish(reopen=self._reopen)
        except DistflowError as error:
            self.failed = error
        except RuntimeError:
            # Python 3.12 starts no thread once the main one has ended: the run is left.
            if threading.main_thread().is_alive():
                raise
            self.say_left()
        finally:
            _at_work.discard(self)


@atexit.register
def _leave_runs() -> None:
    """Leave what this process still leads, so that a resume need not wait for a lease to lapse."""
    led = [each for each in _at_work.copy() if each.is_alive]
    for each in led:
        each.leave()
    deadline = time.monotonic() + _LEAVE_SECONDS
    for each in led:
        if each.join(max(0.0, deadline - time.monotonic())) or each.has_left:
            each.say_left()
