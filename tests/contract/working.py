"""A run on a real Redis whose batches a test sends itself, and RQ workers in this process."""

from __future__ import annotations

import itertools
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis
from rq import SimpleWorker
from rq.worker import BaseWorker

from distflow.core.batches import Batch
from distflow.core.model import Task, TaskResult
from distflow.core.run import RunSpec
from distflow.core.run_options import RunOptions
from distflow.dispatch.rq import RqDispatcher
from distflow.store.redis.store import RedisRunStore
from distflow.wire.codec import decode_result

#: Of distflow's keys.
PREFIX = "distflow"

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_names = itertools.count(1)


@contextmanager
def own_signals() -> Iterator[None]:
    """A worker of RQ takes the signals of its process, and its loggers: they are given back."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    loggers = [logging.getLogger(name) for name in ("rq.worker", "rq.scheduler")]
    had = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for logger, kept, level in had:
            logger.handlers[:] = kept
            logger.setLevel(level)


def _unsubscribe(worker: Any) -> None:
    """As RQ's, whose thread may sleep again before it is told to stop: that is a second each."""
    if worker.pubsub_thread:
        worker.pubsub_thread.stop()
    type(worker).unsubscribe(worker)


class Working:
    """A run that ``anna`` leads, without a coordinator: what is sent is what the test sends.

    Args:
        client: of the server.
        log: the witness.
        tasks: of the run.
        options: how it is executed.
        params: of the run, beside ``log``.
    """

    def __init__(
        self,
        client: Redis,
        log: Path,
        *tasks: Task,
        options: RunOptions | None = None,
        **params: str,
    ) -> None:
        self.client = client
        self.tasks = tasks
        self.store = RedisRunStore(client, "run-1", patience_seconds=5.0)
        all_params = {"log": str(log), **params}
        spec = RunSpec("run-1", "m:flow", all_params, "0f0f", options or RunOptions(batch=True))
        self.store.create_run(spec, "creation", tasks)
        self.epoch = self.store.acquire_lease("anna", 60.0)
        self.dispatcher = RqDispatcher(client, PREFIX, patience_seconds=5.0)
        self._numbers = itertools.count(1)

    def send(self, *tasks: Task, epoch: int | None = None, **fields: Any) -> Batch:
        """Send tasks, by default all, in one batch."""
        epoch = epoch or self.epoch
        number = next(self._numbers)
        batch = Batch(
            f"run-1-{epoch}-{number}", "default", tasks or self.tasks, "run-1", epoch, **fields
        )
        self.dispatcher.dispatch([batch])
        return batch

    def work(self, worker_class: type[BaseWorker] = SimpleWorker, **options: Any) -> str:
        """Let a worker do what is queued; returns its name."""
        name = f"worker-{next(_names)}"
        worker: Any = worker_class(["default"], name=name, connection=self.client, **options)
        worker.unsubscribe = partial(_unsubscribe, worker)
        with own_signals():
            worker.work(burst=True, logging_level="ERROR")
        return name

    def results(self) -> dict[str, TaskResult]:
        """The outcomes so far."""
        names = [task.name for task in self.tasks]
        packed = zip(names, self.store.read_results(names), strict=True)
        return {name: decode_result(result) for name, result in packed if result is not None}

    def statuses(self) -> dict[str, str]:
        """Their statuses."""
        return {name: result.status.value for name, result in self.results().items()}
