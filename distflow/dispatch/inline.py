"""Dispatcher in this process: threads take batches as workers do, with the same protocol."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Self

from distflow.core.batches import Batch
from distflow.core.claim import BatchOpening
from distflow.core.outcome import timed_out
from distflow.dispatch.in_process import InProcessWorker
from distflow.dispatch.memory import MemoryDispatcher
from distflow.ports.run_store import RunStore
from distflow_worker.attempt import AttemptRun
from distflow_worker.verify import Verification


class InlineDispatcher(MemoryDispatcher):
    """Runs the batches of one run on threads of this process.

    A thread cannot be killed: one whose task runs too long, or that must stop, is abandoned. It
    runs to its end, its outcome is refused, and another thread replaces it.

    Args:
        store: the run.
        threads: how many tasks run at once.
        context: returns the context of the run.
        simulated: if true, functions are not called: see :class:`RunView`.
    """

    def __init__(
        self,
        store: RunStore,
        threads: int,
        context: Callable[[], Any],
        *,
        simulated: bool = False,
    ) -> None:
        super().__init__()
        self._store = store
        self._threads = threads
        self._context = context
        self._simulated = simulated
        self._numbers = itertools.count(1)
        #: Part of the names of its workers.
        self._process = f"{socket.gethostname()}.{os.getpid()}"
        #: Whether threads take no more batches.
        self.closed = False

    def __enter__(self) -> Self:
        """Start the threads."""
        for _ in range(self._threads):
            self._add_thread()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the threads end. Those at work are not waited for, and take no more batches."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def wait_for_batch(self, worker: WorkerThread) -> Batch | None:
        """Return the next batch once there is one; None ends the thread."""
        with self._changed:
            while not (self.closed or worker.abandoned):
                batch = self.take(worker)
                if batch is not None:
                    return batch
                self._changed.wait()
        return None

    def abandon(self, worker: WorkerThread) -> None:
        """Abandon a thread, and start another in its place."""
        if self.remove_worker(worker):
            worker.abandoned = True
            self._add_thread()

    def _add_thread(self) -> None:
        name = f"{self._process}.thread-{next(self._numbers)}"
        worker = WorkerThread(name, self, self._store, self._context, simulated=self._simulated)
        self.add_worker(worker)
        worker.start()


class WorkerThread(InProcessWorker):
    """A thread that takes one batch after another."""

    def __init__(
        self,
        name: str,
        dispatcher: InlineDispatcher,
        store: RunStore,
        context: Callable[[], Any],
        *,
        simulated: bool,
    ) -> None:
        super().__init__(name, simulated=simulated)
        self._dispatcher = dispatcher
        self._store = store
        self._make_context = context
        self.abandoned = False

    def start(self) -> None:
        """Start taking batches."""
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def stop(self) -> None:
        """Abandon the thread."""
        self._dispatcher.abandon(self)

    def _run(self) -> None:
        while (batch := self._dispatcher.wait_for_batch(self)) is not None:
            self.run_batch(batch)

    def _open(self, batch: Batch) -> RunStore:
        return self._store

    def _context(self, batch: Batch, opening: BatchOpening) -> Any:
        return self._make_context()

    def _should_stop(self) -> bool:
        return self.abandoned

    def _is_cancelled(self, batch: Batch) -> bool:
        return self.abandoned or super()._is_cancelled(batch)

    def _is_stopping(self, batch: Batch) -> bool:
        return self.abandoned or self._dispatcher.closed or super()._is_stopping(batch)

    def _deadline(self, batch: Batch, seconds: float | None) -> _ThreadDeadline:
        # The present attempt: when the time is up, this thread may be at another one.
        assert self._attempt is not None, "a deadline is that of an attempt"
        return _ThreadDeadline(seconds, partial(self._time_out, batch, self._attempt))

    def _time_out(self, batch: Batch, attempt: AttemptRun | Verification, seconds: float) -> None:
        """The task ran too long: record that on its behalf, and abandon this thread."""
        self._dispatcher.abandon(self)
        if isinstance(attempt, Verification):
            attempt.time_out(seconds)
            self._store.advance(batch.epoch, batch.id, ending=True)
            return
        attempt.end()
        # Nothing can interrupt this thread, so a loop's condition takes as long as it takes.
        finish = attempt.finish(attempt.ask_loop(timed_out(seconds), nullcontext))
        self._store.advance(batch.epoch, batch.id, [finish], ending=True)


class _ThreadDeadline(AbstractContextManager[None]):
    """Calls ``late`` from another thread when its block takes too long."""

    def __init__(self, seconds: float | None, late: Callable[[float], None]) -> None:
        self._timer: threading.Timer | None = None
        if seconds is not None:
            self._timer = threading.Timer(seconds, late, (seconds,))
            self._timer.daemon = True

    def __enter__(self) -> None:
        if self._timer is not None:
            self._timer.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
