"""Workers in this process: they run batches with the same code as RQ workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from distflow.core.batches import Batch
from distflow.core.claim import NAMELESS, BatchOpening, Code
from distflow.core.misfit import Registration
from distflow.core.status import RunStatus
from distflow.dispatch.memory import MemoryWorker
from distflow.ports.run_store import RunStore
from distflow.wire.batch_payload import batch_payload
from distflow.wire.codec import unpack
from distflow_worker.attempt import AttemptRun
from distflow_worker.context import RunView
from distflow_worker.process import Original
from distflow_worker.sequence import BatchSequence
from distflow_worker.verify import Verification

#: Statuses of a run in which a task should end soon.
_STOPPING = frozenset({RunStatus.PAUSED, RunStatus.INTERRUPTED, RunStatus.CANCELLING})


class InProcessWorker(MemoryWorker, ABC):
    """A worker whose attempts run in this process. All such workers of a process have the same
    modules, so they count as one when it is asked what can be run.

    Args:
        name: unique.
        simulated: if true, functions are not called: see :class:`RunView`.
    """

    def __init__(self, name: str, *, simulated: bool = False) -> None:
        super().__init__(name, Registration(NAMELESS.name, NAMELESS.born))
        self._simulated = simulated
        #: The attempt that is running; None between two.
        self._attempt: AttemptRun | Verification | None = None

    @abstractmethod
    def _open(self, batch: Batch) -> RunStore:
        """The store of a batch's run."""

    @abstractmethod
    def _context(self, batch: Batch, opening: BatchOpening) -> Any:
        """The context of a batch's run, made at its first use."""

    @abstractmethod
    def _deadline(self, batch: Batch, seconds: float | None) -> AbstractContextManager[object]:
        """Guards a call that may take this many seconds; None is no limit."""

    def _is_cancelled(self, batch: Batch) -> bool:
        """Whether a batch's run is being cancelled."""
        return self._open(batch).read_status() == RunStatus.CANCELLING

    def _is_stopping(self, batch: Batch) -> bool:
        """Whether tasks of a batch's run should end soon."""
        return self._open(batch).read_status() in _STOPPING

    def _should_stop(self) -> bool:
        """Whether no more tasks of the batch may begin."""
        return False

    def run_batch(self, batch: Batch) -> None:
        """Run the tasks of a batch, if it may begin."""
        store = self._open(batch)
        opening = store.begin_batch(batch.epoch, batch.id, self.name, batch.id)
        if opening.code == Code.OK:
            BatchSequence(
                store,
                self._view(store, batch, opening),
                batch_payload(batch, prefix=""),
                should_stop=self._should_stop,
                on_attempt=self._note_attempt,
            ).run()
        self.job = ""

    def _view(self, store: RunStore, batch: Batch, opening: BatchOpening) -> RunView:
        return RunView(
            store=store,
            worker=self.name,
            origin=opening.origin,
            params=unpack(opening.params),
            context=partial(self._context, batch, opening),
            max_result_bytes=opening.max_result_bytes,
            cancelled=partial(self._is_cancelled, batch),
            stopping=partial(self._is_stopping, batch),
            deadline=partial(self._deadline, batch),
            original=Original(),
            facts=NAMELESS,
            simulated=self._simulated,
            factory=opening.context,
        )

    def _note_attempt(self, attempt: AttemptRun | Verification | None) -> None:
        self._attempt = attempt
