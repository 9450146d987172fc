"""The code of a FastWorker's child: runs one batch after another."""

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

#: Seconds between two checks whether the parent is alive: another of its children may hold the
#: other end of the channel open.
_LOOK_SECONDS = 1.0

#: Characters of an error that are reported, from its end, which says what it was.
_ERROR_CHARACTERS = 16 * 1024

_MIB = 1024 * 1024

#: Descriptors that this process may open beyond those it starts with: tasks may keep some, such as
#: connections, and leak others. The usual limit of a process is 1,024.
_MORE_FILES = 512


class BatchServing:
    """Runs batches until the parent is gone, or this process must be replaced.

    Args:
        worker: the parent's, as of the fork.
        channel: to the parent.
        jobs: how many batches to run.
        rss_mb: by how many MiB its memory may grow.
    """

    def __init__(self, worker: BaseWorker, channel: Connection, *, jobs: int, rss_mb: int) -> None:
        self._worker = worker
        self._channel = channel
        self._jobs_left = jobs
        self._most_bytes = resident_bytes() + rss_mb * _MIB
        self._most_files = count_descriptors() + _MORE_FILES
        self._parent = os.getppid()

    def run(self) -> None:
        """Serve; completes a batch that has begun, whoever dies meanwhile."""
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
        # For tasks that ask RQ for their job; it is not read from Redis again.
        job = worker.job_class(order.job, worker.connection, worker.serializer)
        job.origin, job.description, job.worker_name = order.origin, order.description, worker.name
        job.func_name, job.args = BATCH_FUNCTION, (order.payload,)
        job.timeout = -1
        with as_current_job(job):
            try:
                fit = take_batch(order.payload, worker.connection, worker.name, order.job)
                error = ""
            except BaseException:  # noqa: BLE001 - RQ's own handlers get any error
                worker.handle_exception(job, *sys.exc_info())
                fit, error = False, traceback.format_exc()[-_ERROR_CHARACTERS:]
        self._jobs_left -= 1
        return Answer(error, last=self.is_tired or not fit)

    @property
    def is_tired(self) -> bool:
        """Whether this process must be replaced."""
        return (
            self._jobs_left <= 0
            or resident_bytes() > self._most_bytes
            or count_descriptors() > self._most_files
        )

    def _forget(self, order: Order) -> None:
        """The parent is gone and cannot do it: RQ would count the job as abandoned."""
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
