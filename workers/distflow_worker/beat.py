"""Heartbeat: a thread that reports each second that the batch is alive."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from redis.exceptions import RedisError

from distflow.core.claim import Code
from distflow.errors import DistflowError
from distflow.logs import get_logger
from distflow.store.redis.worker import WorkerStore
from distflow_worker.attempt import AttemptRun

if TYPE_CHECKING:
    # Imported only by batches that need it.
    from distflow_worker.verify import Verification

_log = get_logger("distflow.worker")

#: Seconds between two beats.
BEAT_SECONDS = 1.0

#: Statuses of a run in which nothing more may start.
_AT_REST = frozenset({"paused", "interrupted"})

#: Seconds until the next beat after one that failed: once Redis is back, the silence must end soon.
_AGAIN_SECONDS = 0.3


class Heartbeat:
    """Beats while its block runs.

    Args:
        store: the run; its patience should be short, since the next beat comes soon.
        batch: the batch's id.
        worker: the RQ worker's name.
        job: the RQ job's id.
        is_told: returns whether the worker was told to stop; called after each beat.
        is_overdue: returns whether the running task has exceeded its timeout; None if no task has a
            timeout.
        at_once: whether to beat at once; otherwise the begin of the batch counts as the first beat.
    """

    def __init__(
        self,
        store: WorkerStore,
        batch: str,
        worker: str,
        job: str,
        *,
        is_told: Callable[[], bool] = lambda: False,
        is_overdue: Callable[[], bool] | None = None,
        at_once: bool = False,
    ) -> None:
        self._store = store
        self._is_told = is_told
        self._is_overdue = is_overdue
        self._first_wait = 0.0 if at_once else BEAT_SECONDS
        self._identity = (batch, worker, job)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="distflow-beat", daemon=True)
        #: Name of the running task; empty between two.
        self.task = ""
        #: Whether the run is being cancelled, or the batch was given up.
        self.cancelled = False
        #: Whether the running task should end soon.
        self.stopping = False

    def __enter__(self) -> Self:
        """Start beating."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, without waiting for a beat under way."""
        self._over.set()

    def on_attempt(self, attempt: AttemptRun | Verification | None) -> None:
        """Let beats name the task of this attempt."""
        self.task = attempt.task.name if attempt else ""

    def _beat(self) -> None:
        wait, told = self._first_wait, False
        while not self._over.wait(wait):
            wait = BEAT_SECONDS
            try:
                overdue = self._is_overdue is not None and self._is_overdue()
                code, status = self._store.beat(*self._identity, self.task, overdue=overdue)
            except (DistflowError, RedisError) as error:
                # One warning per outage of Redis, which may last for an hour.
                level = logging.DEBUG if told else logging.WARNING
                _log.log(level, "batch %s: no heartbeat: %s", self._identity[0], error)
                told, wait = True, _AGAIN_SECONDS
                continue
            told = False
            self.cancelled = code != Code.OK or status == "cancelling"
            # The worker is asked last: Redis may go away in between.
            self.stopping = self.cancelled or status in _AT_REST or self._is_told()
