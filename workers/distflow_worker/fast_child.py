"""What the child of a FastWorker does: batches, one after another."""

from __future__ import annotations

import os
import random
import select
import sys
import traceback
from multiprocessing.connection import Connection

from msgpack import Packer, unpackb
from rq.worker import BaseWorker

from distflow.faults import commit
from distflow.procfs import count_descriptors, resident_bytes
from distflow.rq_compat.jobs import as_current_job, executions_of
from distflow_worker.batch import take_batch
from distflow_worker.child import Answer, Order, take_signals
from distflow_worker.serializer import BATCH_FUNCTION

#: Seconds between two looks whether the parent is there: another of its children may hold the
#: other end of the channel.
_LOOK_SECONDS = 1.0

#: Characters of an error that are told: its end says what it was.
_ERROR_CHARACTERS = 16 * 1024

_MIB = 1024 * 1024

#: Descriptors that this process may have open beyond those that it has at first: tasks may keep
#: some, as connections, and leak others. A process has 1,024 in all, where nobody says otherwise.
_MORE_FILES = 512


class BatchServing:
    """Takes batches until the parent is gone, or this process has had enough.

    Args:
        worker: the parent's, as it was when the fork was made.
        channel: to the parent.
        jobs: how many batches.
        rss_mb: the memory in MiB that it may have beyond what it has now.
    """

    def __init__(self, worker: BaseWorker, channel: Connection, *, jobs: int, rss_mb: int) -> None:
        self._worker = worker
        self._channel = channel
        self._jobs_left = jobs
        self._most_bytes = resident_bytes() + rss_mb * _MIB
        self._most_files = count_descriptors() + _MORE_FILES
        self._parent = os.getppid()

    def run(self) -> None:
        """Serve; a batch that was begun is ended, whoever dies meanwhile."""
        random.seed()
        self._worker.setup_work_horse_signals()  # type: ignore[no-untyped-call]
        take_signals()
        os.environ["RQ_WORKER_ID"] = self._worker.name
        while (order := self._receive()) is not None:
            answer = self._work(order)
            try:
                self._channel.send_bytes(Packer().pack(answer))
            except OSError:
                self._forget(order)
                return
            if answer.last:
                return

    def _receive(self) -> Order | None:
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not poll.poll(_LOOK_SECONDS * 1000):
            if os.getppid() != self._parent:
                return None
        try:
            return Order(*unpackb(self._channel.recv_bytes()))
        except (EOFError, OSError):
            return None

    def _work(self, order: Order) -> Answer:
        worker = self._worker
        os.environ["RQ_JOB_ID"] = order.job
        # For tasks that ask RQ for their job; nothing of it is read from Redis again.
        job = worker.job_class(order.job, worker.connection, worker.serializer)
        job.origin, job.description, job.worker_name = order.origin, order.description, worker.name
        job.func_name, job.args = BATCH_FUNCTION, (order.payload,)
        job.timeout = -1
        with as_current_job(job):
            try:
                fit = take_batch(order.payload, worker.connection, worker.name, order.job)
                error = ""
            except BaseException:  # noqa: BLE001 - RQ's own handlers are told of anything
                worker.handle_exception(job, *sys.exc_info())
                fit, error = False, traceback.format_exc()[-_ERROR_CHARACTERS:]
        self._jobs_left -= 1
        return Answer(error, last=self.is_tired or not fit)

    @property
    def is_tired(self) -> bool:
        """Whether this process has had enough."""
        return (
            self._jobs_left <= 0
            or resident_bytes() > self._most_bytes
            or count_descriptors() > self._most_files
        )

    def _forget(self, order: Order) -> None:
        """Nobody is there to do it: RQ would take the job for abandoned."""
        worker = self._worker
        job = worker.job_class(order.job, worker.connection, worker.serializer)
        job.origin = order.origin
        executions = executions_of(job, worker.name, worker.connection)
        with commit("forget_job"):
            pipeline = worker.connection.pipeline(transaction=False)
            pipeline.lrem(order.taken_to, 1, order.job)
            for each in executions:
                each.delete(job, pipeline)
            pipeline.delete(job.key)
            pipeline.execute()
