"""Background: sessions on threads of this process, which let go of their runs when it exits."""

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

#: Seconds that an exiting process gives its sessions to let go of their runs.
_LEAVE_SECONDS = 5.0

#: The running sessions of this process; the runs that it has left.
_at_work: set[Background] = set()
_left: set[str] = set()


class Background:
    """A session that runs on a thread.

    Args:
        session: the session.
        interrupt: that of the session: set when the process exits.
        store: the run, asked once when the process exits; it should have no patience.
        reopen: see :meth:`Session.finish`.
    """

    def __init__(
        self, session: Session, interrupt: Interrupt, store: RunStore, *, reopen: bool
    ) -> None:
        self._session = session
        self._interrupt = interrupt
        self._store = store
        self._reopen = reopen
        #: The status of the run when the session ended; None before that, and if it failed.
        self.ended: RunStatus | None = None
        #: Why the session failed.
        self.failed: DistflowError | None = None
        name = f"distflow-{store.run_id}"
        self._thread = threading.Thread(target=self._see_through, name=name, daemon=True)
        _at_work.add(self)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the session still runs."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> bool:
        """Wait a while for the end of the session; returns whether it still runs."""
        self._thread.join(seconds)
        return self.is_alive

    def leave(self) -> None:
        """Make the session end soon, leaving its run as it is."""
        self._interrupt.set()

    @property
    def has_left(self) -> bool:
        """Whether nobody leads the run although it has not ended; True if the store is away."""
        try:
            info = self._store.read_info()
        except RunNotFound:
            return False
        except DistflowError:
            return True
        return info.status not in ENDED_RUNS and info.coordinator is None

    def say_left(self) -> None:
        """Print once that this process no longer leads the run."""
        run_id = visible(self._store.run_id)
        if run_id in _left:
            return
        _left.add(run_id)
        sys.stderr.write(
            f"distflow: this process exited before run {run_id} ended (wait() waits for that): "
            f"continue it with `distflow resume {run_id}`\n"
        )

    def _see_through(self) -> None:
        try:
            self.ended = self._session.finish(reopen=self._reopen)
        except DistflowError as error:
            self.failed = error
        except RuntimeError:
            # Python 3.12 starts no threads once the main thread has ended: the run is left.
            if threading.main_thread().is_alive():
                raise
            self.say_left()
        finally:
            _at_work.discard(self)


@atexit.register
def _leave_runs() -> None:
    """Let go of the runs that this process leads, so that no resume waits for a lease to expire."""
    led = [each for each in _at_work.copy() if each.is_alive]
    for each in led:
        each.leave()
    deadline = time.monotonic() + _LEAVE_SECONDS
    for each in led:
        if each.join(max(0.0, deadline - time.monotonic())) or each.has_left:
            each.say_left()
