"""FastWorker: an RQ worker that runs distflow's batches in one child, without a fork for each."""

from __future__ import annotations

import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError
from rq.command import parse_payload
from rq.exceptions import DeserializationError, StopRequested
from rq.utils import now
from rq.worker import WorkerStatus
from rq.worker.base import SHUTDOWN_SIGNAL

from distflow import config
from distflow.errors import InvalidInput, UntrustedBytes
from distflow.faults import commit
from distflow.ids import new_worker_name
from distflow.rq_compat.adapted_worker import AdaptedWorker
from distflow.rq_compat.rq_keys import SUSPENDED_KEY
from distflow.text import visible
from distflow_worker.child import Child, Order
from distflow_worker.fast_child import BatchServing
from distflow_worker.patient import WorkerRedis
from distflow_worker.serializer import BATCH_FUNCTION, SafeSerializer

if TYPE_CHECKING:
    from rq.job import Job
    from rq.queue import Queue

#: Seconds after which RQ is told of a batch that goes on; before that, of its end alone.
_TELL_AFTER_SECONDS = 0.02

#: Seconds by which a heartbeat may differ from the last one and need not be sent.
_SAME_BEAT_SECONDS = 1.0

#: Bytes at the begin of a job's data in which the name of its function is.
_HEAD_BYTES = 128


def _read_limits() -> dict[str, int]:
    try:
        return {"jobs": config.fast_jobs(), "rss_mb": config.fast_rss_mb()}
    except InvalidInput as error:
        # Nobody catches it: RQ's commands would show where it comes from, and not what it says.
        print(visible(f"distflow: {error}"), file=sys.stderr)  # noqa: T201 - before there is a log
        raise SystemExit(error.exit_code) from None


class _Line:
    """The worker's connection for commands: whether it is a new one since the child was forked."""

    is_new = False

    def note(self, _connection: Any) -> None:
        """It was made anew."""
        self.is_new = True


class FastWorker(AdaptedWorker):
    """For ``rq worker -w distflow_worker.FastWorker``.

    Jobs of distflow go to a child that was forked ahead; every other job runs as under RQ's own
    worker. ``DISTFLOW_FAST_JOBS`` and ``DISTFLOW_FAST_RSS_MB`` say when the child is replaced.

    Raises:
        SystemExit: one of these variables is no number of at least 1; a line on stderr says so.
    """

    def __init__(self, queues: Any, name: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(queues, name or new_worker_name(), *args, **kwargs)
        # Whatever connection class the worker was given: it outlasts a Redis that refuses.
        self.use_connection(WorkerRedis.over(self.connection.connection_pool))
        self._limits = _read_limits()
        self._child: Child | None = None
        #: Id of the batch's job that the child is at.
        self._batch_job: str | None = None
        #: Held where a batch begins and ends: a command to stop it must not hit the next one.
        self._handing = threading.RLock()
        self._line = _Line()
        #: As Redis has it.
        self._shown_state: str | None = None
        #: When the registration ends, on the monotonic clock.
        self._expires_at = 0.0
        #: Whether a job was taken off a queue and is not at work yet: no stop may lose it.
        self._has_job = False
        #: Whether it is known already that the next job may be taken.
        self._may_go_on = False

    # The work

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """As RQ's, with a child that waits as well."""
        self._ready_child()
        self._has_job = False
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def reorder_queues(self, reference_queue: Queue) -> None:
        """As RQ's, which says so first of a job that it has taken."""
        self._has_job = True
        super().reorder_queues(reference_queue)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Give a batch to the child; fork for anything else."""
        payload = self._payload_of(job)
        if payload is None:
            super().execute_job(job, queue)
            return
        # From here on a shutdown waits for the batch.
        self.note_state(WorkerStatus.BUSY)
        try:
            self._run_batch(job, queue, payload)
        finally:
            with self._handing:
                self._batch_job = None
                self.note_horse(0)
        self.set_state(WorkerStatus.IDLE)

    def _payload_of(self, job: Job) -> bytes | None:
        """What a batch's job carries; None for any other job: nothing of those is unpickled here,
        but in their own process.
        """
        data = job.data
        if BATCH_FUNCTION.encode() not in data[:_HEAD_BYTES]:
            return None
        try:
            # What is plain but no tuple is no job's data.
            _function, _instance, (payload,), _options = SafeSerializer.loads(data)
            readable = job.func_name == BATCH_FUNCTION
        except (UntrustedBytes, DeserializationError, ValueError, TypeError):
            readable = False
        # A worker whose serializer cannot read it says so in RQ's own way.
        return payload if readable else None

    def _run_batch(self, job: Job, queue: Queue, payload: bytes) -> None:
        job.started_at = now()
        taken_to = queue.intermediate_queue_key
        order = Order(job.id, queue.name, taken_to, job.description or "", payload)
        child = self._hand_over(order)
        told = False
        answer = child.wait(_TELL_AFTER_SECONDS)
        while answer is None and child.death is None:
            if told:
                self._keep(job)
            else:
                told = self._tell(job)
            answer = child.wait(self.job_monitoring_interval)
        with self._handing:
            self._batch_job = None
        if answer is not None and not answer.error:
            self._release(job, queue, told=told)
        else:
            if not told:
                self._tell(job)
            if answer is not None:
                job.ended_at = now()
                self.fail_job(job, queue, answer.error)
            else:
                # RQ judges as if it had waited for a work horse.
                self.judge_horse(job, queue)
            self._drop(job)
        if answer is None or answer.last:
            child.dismiss()

    def _hand_over(self, order: Order) -> Child:
        while True:
            child = self._ready_child()
            with self._handing:
                self._batch_job = order.job
                self.note_horse(child.pid)
                if child.hand_over(order):
                    return child
            child.dismiss()

    # The child

    def _ready_child(self) -> Child:
        child = self._child
        if child is not None and (child.look() is not None or self._line.is_new):
            child.dismiss()
            child = None
        if child is None:
            self._line.is_new = False
            child = self._child = Child(self._serve)
            self.log.debug("Worker %s: forked child %s", self.name, child.pid)
        return child

    def _serve(self, channel: Connection) -> None:
        self.become_horse()
        self.procline("Runs batches")  # type: ignore[no-untyped-call]
        BatchServing(self, channel, **self._limits).run()

    def subscribe(self) -> None:
        """As RQ's. While a process of the worker has this connection, the worker counts as alive:
        after a reconnection the child needs a copy of the new one.
        """
        super().subscribe()  # type: ignore[no-untyped-call]
        pubsub: Any = self.pubsub
        pubsub.connection.register_connect_callback(self._line.note)

    def teardown(self) -> None:
        """As RQ's, and end the child."""
        super().teardown()  # type: ignore[no-untyped-call]
        child = self._child
        if child is None or self.is_horse:
            return
        if child.look() is None and child.has_batch:
            # This worker ends by an error: what it has begun is ended all the same.
            child.let_go()
        else:
            child.dismiss()

    # Commands

    def handle_payload(self, message: Any) -> None:
        """As RQ's; whatever concerns the child's batch is for that batch alone."""
        payload = parse_payload(message)
        with self._handing:
            if self._batch_job is not None and self.obey(payload, self._batch_job):
                return
        super().handle_payload(message)  # type: ignore[no-untyped-call]

    def kill_horse(self, sig: Any = SHUTDOWN_SIGNAL) -> None:
        """Kill the process group at work, if there is one."""
        with self._handing:
            if self.horse_pid:
                super().kill_horse(sig)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """As RQ's. A child ends without an answer in no good way: 0 is no good status for it."""
        child = self._child
        if child is None or child.pid != self.horse_pid or child.death is None:
            return super().wait_for_horse()
        return child.death.pid, child.death.status or None, child.death.usage

    # What RQ is told

    def _tell(self, job: Job) -> bool:
        """Record that the worker is busy, and with what, as RQ's worker and its work horse do;
        returns whether it is.
        """
        self._shown_state = WorkerStatus.BUSY
        try:
            with commit("show_job"):
                self.start_job(job)
            with commit("tell_job"):
                self.prepare_job_execution(job, self._moves_jobs)
        except RedisError as error:
            self.log.warning("Worker %s: job %s not told: %s", self.name, job.id, error)
            return False
        return True

    def _keep(self, job: Job) -> None:
        try:
            self.keep_job(job)
        except RedisError as error:
            self.log.warning("Worker %s: no heartbeat: %s", self.name, error)

    def _drop(self, job: Job) -> None:
        """What RQ has left of the executions of a job that did not end well."""
        with self._handing:
            executions = self.release_executions()
        pipeline = self.connection.pipeline(transaction=False)
        with commit("drop_job"):
            self.forget_job(job, executions, pipeline)
            pipeline.execute()

    def _release(self, job: Job, queue: Queue, *, told: bool) -> None:
        """A batch's end: its job leaves nothing behind, since its results are elsewhere."""
        assert job.started_at is not None
        took = now() - job.started_at
        with self._handing:
            executions = self.release_executions()

        def release() -> bool:
            with commit("release_job"):
                pipeline = self.connection.pipeline(transaction=False)
                self.forget_job(job, executions, pipeline)
                # It stays busy in its own eyes: a signal must not end it in the midst of this.
                pipeline.hset(self.key, "state", WorkerStatus.IDLE)
                self.increment_successful_job_count(pipeline)
                self.increment_total_working_time(took, pipeline)
                self.heartbeat(pipeline=pipeline)
                if not told and self._moves_jobs:
                    pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
                pipeline.delete(job.key)
                pipeline.exists(SUSPENDED_KEY)
                return bool(pipeline.execute()[-1])

        try:
            self._may_go_on = not release()
            self._shown_state = WorkerStatus.IDLE
        except RedisError as error:
            self.log.warning("Worker %s: job %s not released: %s", self.name, job.id, error)
            return
        self.log.info("Worker %s: %s: Job OK (%s)", self.name, queue.name, job.id)

    @property
    def _moves_jobs(self) -> bool:
        """Whether RQ moves jobs from the queue to a list of its own: then they are taken off it."""
        return len(self.queues) == 1

    # What RQ's loop says again and again

    def check_for_suspension(self, burst: bool) -> None:  # noqa: FBT001 - RQ's signature
        """As RQ's; the end of a batch has asked already."""
        if self._may_go_on:
            self._may_go_on = False
            return
        super().check_for_suspension(burst)

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """As RQ's; what Redis has already is not said again."""
        if pipeline is None and state == self._shown_state:
            self.note_state(state)
            return
        super().set_state(state, pipeline)
        self._shown_state = state

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """As RQ's; one that was just sent is not sent again."""
        if self.stop_is_requested and not self._has_job and self.get_state() != WorkerStatus.BUSY:
            raise StopRequested
        expires_at = time.monotonic() + (timeout or self.worker_ttl + 60)
        if pipeline is None and abs(expires_at - self._expires_at) < _SAME_BEAT_SECONDS:
            return
        super().heartbeat(timeout, pipeline)
        self._expires_at = expires_at
