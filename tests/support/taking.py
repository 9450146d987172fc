"""A batch as a worker takes it, without RQ and without a process: on a run in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from distflow.codec import decode_result
from distflow.core.claim import Advance
from distflow.core.model import Task, TaskResult
from distflow.core.run import RunOptions, RunSpec
from distflow.dispatch.headers import batch_headers
from distflow.ports import Batch
from distflow.store.memory import MemoryRunStore
from distflow_worker.attempt import RunView
from distflow_worker.sequence import BatchSequence


class Counted(MemoryRunStore):
    """One that notes what workers ask of it."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        #: The names whose results were fetched, call by call.
        self.fetched: list[list[str]] = []
        #: The tasks of each call's claims, and its finishes.
        self.claimed: list[list[str]] = []
        self.finished: list[list[str]] = []

    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]:
        self.fetched.append(list(names))
        return super().fetch_results(names)

    def advance(
        self, epoch: int, batch: str, finishes: Any = (), claims: Any = (), **more: Any
    ) -> Advance:
        self.claimed.append([wanted.task for wanted in claims])
        self.finished.append([done.task for done in finishes])
        return super().advance(epoch, batch, finishes, claims, **more)


class Taken:
    """A batch of a run, taken once.

    Args:
        tasks: of the run, in dependency order.
        batch: the names of those that travel in the batch; all of them where it is left out.
        short: the functions that are known to be short.
        cancelled: what the heartbeat has been told.
        should_stop: whether the worker is to stop.
        before: called with the store when the run is led, before the batch is taken.
    """

    def __init__(
        self,
        *tasks: Task,
        batch: Sequence[str] | None = None,
        short: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
        should_stop: Callable[[], bool] = lambda: False,
        before: Callable[[Counted, int], object] = lambda _store, _epoch: None,
    ) -> None:
        self.store = store = Counted("run-1")
        store.create_run(RunSpec("run-1", "m:flow", {}, "origin", RunOptions()), "made", tasks)
        self.epoch = epoch = store.acquire_lease("anna", 60.0)
        before(store, epoch)
        store.begin_batch(epoch, "b1", "w1", "job")
        view = RunView(
            store=store,
            worker="w1",
            origin="origin",
            params={},
            context=lambda: None,
            max_result_bytes=1 << 24,
            cancelled=cancelled,
            deadline=lambda _seconds: nullcontext(),
        )
        mine = tuple(task for task in tasks if batch is None or task.name in batch)
        sent = Batch("b1", "default", mine, "run-1", epoch)
        BatchSequence(
            store,
            view,
            epoch,
            "b1",
            batch_headers(sent),
            expected={task.function: 0.1 for task in mine} if short else {},
            should_stop=should_stop,
            on_attempt=lambda _attempt: None,
        ).run()
        #: Every outcome by task.
        self.results: Mapping[str, TaskResult] = {
            name: decode_result(packed)
            for name, packed in store.server.runs["run-1"].results.items()
        }
