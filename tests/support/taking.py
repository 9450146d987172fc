"""A batch as a worker takes it, without RQ and without a process: on a run in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from distflow.core.batches import Batch
from distflow.core.claim import Advance
from distflow.core.model import Task, TaskResult
from distflow.core.run import RunSpec
from distflow.core.run_options import RunOptions
from distflow.store.memory.store import MemoryRunStore
from distflow.wire.batch_payload import batch_payload
from distflow.wire.codec import decode_result
from distflow_worker.context import RunView
from distflow_worker.process import Original, ProcessState
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
        # As a store that waits for an answer does.
        if meanwhile := more.pop("meanwhile", None):
            meanwhile()
        self.claimed.append([wanted.task for wanted in claims])
        self.finished.append([done.task for done in finishes])
        return super().advance(epoch, batch, finishes, claims, **more)


class Taken:
    """A batch of a run, taken once.

    Args:
        tasks: of the run, in dependency order.
        batch: the names of those that travel in the batch; all of them where it is left out.
        short: whether the functions are known to be short; or how long they take, in ms.
        cancelled: what the heartbeat has been told.
        should_stop: whether the worker is to stop.
        before: called with the store when the run is led, before the batch is taken.
        verify: the batch asks the hooks of its tasks.
        deadline: what guards a call.
        context: gives the context of the run.
        state: what tasks may change of this process.
        simulated: whether it is a dry run.
        records: the expansions that the batch names.
    """

    def __init__(
        self,
        *tasks: Task,
        batch: Sequence[str] | None = None,
        short: bool | float = False,
        cancelled: Callable[[], bool] = lambda: False,
        should_stop: Callable[[], bool] = lambda: False,
        before: Callable[[Counted, int], object] = lambda _store, _epoch: None,
        verify: bool = False,
        deadline: Callable[[float | None], Any] = lambda _seconds: nullcontext(),
        context: Callable[[], Any] = lambda: None,
        state: ProcessState | None = None,
        simulated: bool = False,
        records: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.store = store = Counted("run-1")
        store.create_run(RunSpec("run-1", "m:flow", {}, "origin", RunOptions()), "made", tasks)
        self.epoch = epoch = store.acquire_lease("anna", 60.0)
        #: What was told to be at work, empty between two.
        self.at_work: list[str] = []
        before(store, epoch)
        store.begin_batch(epoch, "b1", "w1", "job")
        view = RunView(
            store=store,
            worker="w1",
            origin="origin",
            params={},
            context=context,
            max_result_bytes=1 << 24,
            cancelled=cancelled,
            stopping=cancelled,
            deadline=deadline,
            original=Original(),
            state=state,
            simulated=simulated,
        )
        mine = tuple(task for task in tasks if batch is None or task.name in batch)
        measured = 0.1 if short is True else short
        expected = {task.function: measured for task in mine} if measured else {}
        sent = Batch("b1", "default", mine, "run-1", epoch, verify, expected, records=records)
        BatchSequence(
            store,
            view,
            batch_payload(sent, prefix=""),
            should_stop=should_stop,
            on_attempt=lambda attempt: self.at_work.append(attempt.task.name if attempt else ""),
        ).run()
        #: Every outcome by task.
        self.results: Mapping[str, TaskResult] = {
            name: decode_result(packed, opaque=True)
            for name, packed in store.server.runs["run-1"].results.items()
        }

    @property
    def unstarted(self) -> Sequence[str]:
        """What the batch left to others, as its end tells."""
        ends = [each for each in self.store.read_events("0-0") if each.kind == "batch_ended"]
        (end,) = ends
        return end.unstarted

    @property
    def told(self) -> list[tuple[str, str]]:
        """The events of tasks: kind and task."""
        return [(each.kind, each.task) for each in self.store.read_events("0-0") if each.task]
