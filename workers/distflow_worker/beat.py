"""The heartbeat of a batch: a thread that says each second that the batch lives."""

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
    # Imported by the batches that need it alone.
    from distflow_worker.verify import Verification

_log = get_logger("distflow.worker")

#: Seconds between two beats.
BEAT_SECONDS = 1.0

#: Statuses of a run in which nothing more is to start.
_AT_REST = frozenset({"paused", "interrupted"})

#: Seconds after one that Redis did not take: once it does, silence must end soon.
_AGAIN_SECONDS = 0.3


class Heartbeat:
    """Beats while its block runs.

    Args:
        store: the run; its patience should be short, since the next beat comes soon.
        batch: the batch's id.
        worker: the RQ worker's name.
        job: the RQ job's id.
        is_told: whether the worker is to stop: asked after each beat.
        is_overdue: whether the task at work has run longer than its timeout; None where none has
            any.
        at_once: whether the first beat comes now; the begin of a batch was its first.
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
        #: Name of the task at work, empty between two.
        self.task = ""
        #: Whether the run is being cancelled, or the batch was given to others.
        self.cancelled = False
        #: Whether the task at work does well to end soon.
        self.stopping = False

    def __enter__(self) -> Self:
        """Start to beat."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, without waiting for a beat that is under way."""
        self._over.set()

    def on_attempt(self, attempt: AttemptRun | Verification | None) -> None:
        """Beats name the task at work."""
        self.task = attempt.task.name if attempt else ""

    def _beat(self) -> None:
        wait, told = self._first_wait, False
        while not self._over.wait(wait):
            wait = BEAT_SECONDS
            try:
                overdue = self._is_overdue is not None and self._is_overdue()
                code, status = self._store.beat(*self._identity, self.task, overdue=overdue)
            except (DistflowError, RedisError) as error:
                # Once for each time that Redis is away, which may be for an hour.
                level = logging.DEBUG if told else logging.WARNING
                _log.log(level, "batch %s: no heartbeat: %s", self._identity[0], error)
                told, wait = True, _AGAIN_SECONDS
                continue
            told = False
            self.cancelled = code != Code.OK or status == "cancelling"
            # The worker's word is asked for last: Redis may go in between.
            self.stopping = self.cancelled or status in _AT_REST or self._is_told()
