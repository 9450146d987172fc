"""Workers that run one batch when called, on the caller's thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from distflow.core.batches import Batch
from distflow.core.claim import BatchOpening
from distflow.dispatch.in_process import InProcessWorker
from distflow.ports.run_store import RunStore
from distflow.wire.codec import unpack
from distflow_worker.alarm import DeadlinePassed
from distflow_worker.context import RecordedResults, make_context


class StepWorker(InProcessWorker):
    """Takes batches of any runs.

    Args:
        name: unique.
        open_run: returns the store of a run.
        clock: measures timeouts, in seconds. A function that computes takes no time at all unless
            something moves that clock.
    """

    def __init__(
        self, name: str, open_run: Callable[[str], RunStore], clock: Callable[[], float]
    ) -> None:
        super().__init__(name)
        self._open_run = open_run
        self._clock = clock
        #: Contexts from the factory, by run and epoch.
        self._contexts: dict[tuple[str, int], Any] = {}

    def _open(self, batch: Batch) -> RunStore:
        return self._open_run(batch.run_id)

    def _context(self, batch: Batch, opening: BatchOpening) -> Any:
        if not opening.context:
            return None
        key = batch.run_id, batch.epoch
        if key not in self._contexts:
            results = RecordedResults(self._open(batch))
            self._contexts[key] = make_context(opening.context, unpack(opening.params), results)
        return self._contexts[key]

    def _deadline(self, batch: Batch, seconds: float | None) -> AbstractContextManager[object]:  # noqa: ARG002
        return _LateDeadline(seconds, self._clock)


class _LateDeadline(AbstractContextManager[None]):
    """Raises :class:`DeadlinePassed` at the end of a block that took too long."""

    def __init__(self, seconds: float | None, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._began = clock()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._seconds is not None and self._clock() - self._began >= self._seconds:
            raise DeadlinePassed
