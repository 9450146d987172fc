"""Dispatcher in this process: threads take batches as workers do, by the same protocol."""

from __future__ import annotations

import itertools
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Self

from distflow.core.batch import Batch
from distflow.core.claim import NAMELESS, Code
from distflow.core.misfit import Registration
from distflow.core.outcome import timed_out
from distflow.core.readings import JobFailure, WorkerProbe
from distflow.core.status import RunStatus
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore
from distflow.wire.batch_payload import batch_payload
from distflow.wire.codec import unpack
from distflow_worker.attempt import AttemptRun, RunView
from distflow_worker.process import Original
from distflow_worker.sequence import BatchSequence
from distflow_worker.verify import Verification

#: Statuses of a run in which a task does well to end soon.
_STOPPING = frozenset({RunStatus.PAUSED, RunStatus.INTERRUPTED, RunStatus.CANCELLING})


class InlineDispatcher(Dispatcher):
    """Runs the batches of one run on threads of this process.

    A thread cannot be killed: one whose task ran too long, or that shall stop, is abandoned. It
    goes on to its end, its outcome is refused, and another takes its place.

    Args:
        store: the run.
        threads: tasks that run at once.
        context: gives the context of the run.
        simulated: whether functions are not called: see :class:`RunView`.
    """

    def __init__(
        self,
        store: RunStore,
        threads: int,
        context: Callable[[], Any],
        *,
        simulated: bool = False,
    ) -> None:
        self._store = store
        self._threads = threads
        self._context = context
        self.simulated = simulated
        self._jobs: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._waiting: dict[str, str] = {}
        self._workers: dict[str, _Worker] = {}
        self._numbers = itertools.count(1)
        #: In the names of its workers.
        self._process = f"{socket.gethostname()}.{os.getpid()}"
        self._lock = threading.Lock()
        #: Whether nothing more is taken.
        self.closed = False

    def __enter__(self) -> Self:
        """Start the threads."""
        for _ in range(self._threads):
            self._add_worker()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the threads end; those that are at work are not waited for, and take nothing more."""
        self.closed = True
        self._waiting.clear()
        for _ in range(len(self._workers)):
            self._jobs.put(None)

    def dispatch(self, batches: Sequence[Batch]) -> None:
        """Give batches to the threads, in order."""
        for batch in batches:
            self._waiting[batch.id] = batch.queue
            self._jobs.put(batch)

    def count_workers(self, queues: Collection[str]) -> Mapping[str, int]:
        """Every thread takes batches of every queue."""
        return dict.fromkeys(queues, self._threads)

    def list_workers(self, queues: Collection[str]) -> Mapping[str, set[Registration]]:
        """All threads are one worker: they have the same modules."""
        return {queue: {Registration(NAMELESS.name, NAMELESS.born)} for queue in queues}

    def find_queued(self, run_id: str, queues: Collection[str]) -> set[str]:
        """The ids of the batches that no thread has taken."""
        return set(self._waiting)

    def withdraw(self, run_id: str, queues: Collection[str]) -> int:
        """Let the threads pass over what they have not taken."""
        withdrawn = len(self._waiting)
        self._waiting.clear()
        return withdrawn

    def probe_workers(self, workers: Collection[str]) -> Mapping[str, WorkerProbe]:
        """What is known of threads: an abandoned one is gone."""
        with self._lock:
            return {
                name: WorkerProbe(connected=True, jobs=[worker.job], heard_at=time.time())
                for name in workers
                if (worker := self._workers.get(name)) is not None
            }

    def read_failures(self, batches: Collection[str]) -> Mapping[str, JobFailure]:
        """A thread gives nothing up without an outcome."""
        return {}

    def stop_job(self, job: str, worker: str) -> None:
        """Abandon the thread that works on a batch."""
        with self._lock:
            found = self._workers.get(worker)
            if found is None or found.job != job:
                return
        self.abandon(found)

    def take(self, batch: Batch) -> bool:
        """Whether a batch is still to be run: it was not withdrawn."""
        return self._waiting.pop(batch.id, None) is not None

    def abandon(self, worker: _Worker) -> None:
        """Go on without a thread, and put another in its place."""
        with self._lock:
            if self._workers.pop(worker.name, None) is None:
                return
        worker.abandoned = True
        self._add_worker()

    def _add_worker(self) -> None:
        worker = _Worker(
            f"{self._process}.thread-{next(self._numbers)}",
            self,
            self._store,
            self._jobs,
            self._context,
        )
        with self._lock:
            self._workers[worker.name] = worker
        worker.start()


class _Worker(threading.Thread):
    """A thread that takes one batch after another."""

    def __init__(
        self,
        name: str,
        dispatcher: InlineDispatcher,
        store: RunStore,
        jobs: queue.SimpleQueue[Batch | None],
        context: Callable[[], Any],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._dispatcher = dispatcher
        self._store = store
        self._jobs = jobs
        self._context = context
        self.abandoned = False
        #: Id of the batch at work, empty between two.
        self.job = ""
        self._attempt: AttemptRun | Verification | None = None

    def run(self) -> None:
        while not self.abandoned:
            batch = self._jobs.get()
            if batch is None:
                return
            if self._dispatcher.take(batch):
                self.job = batch.id
                self._run_batch(batch)
                self.job = ""

    def _run_batch(self, batch: Batch) -> None:
        opening = self._store.begin_batch(batch.epoch, batch.id, self.name, batch.id)
        if opening.code != Code.OK:
            return
        view = RunView(
            store=self._store,
            worker=self.name,
            origin=opening.origin,
            params=unpack(opening.params),
            context=self._context,
            max_result_bytes=opening.max_result_bytes,
            cancelled=self._is_cancelled,
            stopping=self._is_stopping,
            deadline=partial(self._deadline, batch),
            original=Original(),
            # All threads have the same modules.
            facts=NAMELESS,
            simulated=self._dispatcher.simulated,
        )
        BatchSequence(
            self._store,
            view,
            batch_payload(batch, prefix=""),
            should_stop=lambda: self.abandoned,
            on_attempt=self._note_attempt,
        ).run()

    def _note_attempt(self, attempt: AttemptRun | Verification | None) -> None:
        self._attempt = attempt

    def _is_cancelled(self) -> bool:
        return self.abandoned or self._store.read_status() == RunStatus.CANCELLING

    def _is_stopping(self) -> bool:
        stopped = self.abandoned or self._dispatcher.closed
        return stopped or self._store.read_status() in _STOPPING

    def _deadline(self, batch: Batch, seconds: float | None) -> _ThreadDeadline:
        # The attempt of now: when the time is up, this thread may be at another.
        assert self._attempt is not None, "a deadline is that of an attempt"
        return _ThreadDeadline(seconds, partial(self._time_out, batch, self._attempt))

    def _time_out(self, batch: Batch, attempt: AttemptRun | Verification, seconds: float) -> None:
        """The task ran too long: settle it in its place, and go on without this thread."""
        self._dispatcher.abandon(self)
        if isinstance(attempt, Verification):
            attempt.time_out(seconds)
            self._store.advance(batch.epoch, batch.id, ending=True)
            return
        attempt.end()
        # Nothing can interrupt this thread: a loop's condition takes the time that it takes.
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
