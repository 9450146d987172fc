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

#: RQ is told about a batch that runs for this many seconds; of a shorter one, only its end.
_TELL_AFTER_SECONDS = 0.02

#: A heartbeat that differs by less than this many seconds from the last one is not sent.
_SAME_BEAT_SECONDS = 1.0

#: The function's name is within this many bytes from the start of a job's data.
_HEAD_BYTES = 128


def _read_limits() -> dict[str, int]:
    try:
        return {"jobs": config.fast_jobs(), "rss_mb": config.fast_rss_mb()}
    except InvalidInput as error:
        # Nobody would catch it: RQ's commands would print a traceback without the message.
        print(visible(f"distflow: {error}"), file=sys.stderr)  # noqa: T201 - before there is a log
        raise SystemExit(error.exit_code) from None


class _Line:
    """Whether the worker's command connection is a new one since the child was forked."""

    is_new = False

    def note(self, _connection: Any) -> None:
        """Note that the connection was made anew."""
        self.is_new = True


class FastWorker(AdaptedWorker):
    """For ``rq worker -w distflow_worker.FastWorker``.

    distflow's jobs go to a child that was forked ahead; any other job runs as under RQ's own
    worker. ``DISTFLOW_FAST_JOBS`` and ``DISTFLOW_FAST_RSS_MB`` say when the child is replaced.

    Raises:
        SystemExit: one of these variables is not a number of at least 1; a line on stderr says so.
    """

    def __init__(self, queues: Any, name: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(queues, name or new_worker_name(), *args, **kwargs)
        # Used whatever connection class the worker was given, to outlast a Redis that refuses.
        self.use_connection(WorkerRedis.over(self.connection.connection_pool))
        self._limits = _read_limits()
        self._child: Child | None = None
        #: Id of the RQ job whose batch the child runs.
        self._batch_job: str | None = None
        #: Held while a batch begins or ends: a command to stop it must not hit the next one.
        self._handing = threading.RLock()
        self._line = _Line()
        #: The worker's state as stored in Redis.
        self._shown_state: str | None = None
        #: When the registration ends, on the monotonic clock.
        self._expires_at = 0.0
        #: Whether a job was popped and does not run yet: a stop must not lose it.
        self._has_job = False
        #: Whether it is already known that the next job may be taken.
        self._may_go_on = False

    # The work

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """As RQ's, with a child ready."""
        self._ready_child()
        self._has_job = False
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def reorder_queues(self, reference_queue: Queue) -> None:
        """As RQ's, which calls this first after popping a job."""
        self._has_job = True
        super().reorder_queues(reference_queue)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Give a batch to the child; fork for any other job."""
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
        """The payload of a batch's job; None for any other job, which is unpickled only in its own
        process.
        """
        data = job.data
        if BATCH_FUNCTION.encode() not in data[:_HEAD_BYTES]:
            return None
        try:
            # Plain data other than a tuple are not those of a job.
            _function, _instance, (payload,), _options = SafeSerializer.loads(data)
            readable = job.func_name == BATCH_FUNCTION
        except (UntrustedBytes, DeserializationError, ValueError, TypeError):
            readable = False
        # If the worker's serializer cannot read it, RQ reports that in its own way.
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
                # RQ judges the job as if it had waited for a work horse.
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
        """As RQ's. The worker counts as alive while any of its processes has this connection, so
        after a reconnection the child needs a copy of the new one.
        """
        super().subscribe()  # type: ignore[no-untyped-call]
        pubsub: Any = self.pubsub
        pubsub.connection.register_connect_callback(self._line.note)

    def teardown(self) -> None:
        """As RQ's, and ends the child."""
        super().teardown()  # type: ignore[no-untyped-call]
        child = self._child
        if child is None or self.is_horse:
            return
        if child.look() is None and child.has_batch:
            # This worker ends with an error: the child still ends what it has begun.
            child.let_go()
        else:
            child.dismiss()

    # Commands

    def handle_payload(self, message: Any) -> None:
        """As RQ's; a command about the child's batch affects that batch alone."""
        payload = parse_payload(message)
        with self._handing:
            if self._batch_job is not None and self.obey(payload, self._batch_job):
                return
        super().handle_payload(message)  # type: ignore[no-untyped-call]

    def kill_horse(self, sig: Any = SHUTDOWN_SIGNAL) -> None:
        """Kill the process group of the running job, if there is one."""
        with self._handing:
            if self.horse_pid:
                super().kill_horse(sig)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """As RQ's. For a child that ends without an answer, 0 does not count as success."""
        child = self._child
        if child is None or child.pid != self.horse_pid or child.death is None:
            return super().wait_for_horse()
        return child.death.pid, child.death.status or None, child.death.usage

    # What RQ is told

    def _tell(self, job: Job) -> bool:
        """Record that the worker is busy with a job, as RQ's worker and its work horse do; returns
        whether that succeeded.
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
        """Clean up what RQ left of the executions of a job that did not end well."""
        with self._handing:
            executions = self.release_executions()
        pipeline = self.connection.pipeline(transaction=False)
        with commit("drop_job"):
            self.forget_job(job, executions, pipeline)
            pipeline.execute()

    def _release(self, job: Job, queue: Queue, *, told: bool) -> None:
        """End a batch's job, leaving nothing behind: its results are elsewhere."""
        assert job.started_at is not None
        took = now() - job.started_at
        with self._handing:
            executions = self.release_executions()

        def release() -> bool:
            with commit("release_job"):
                pipeline = self.connection.pipeline(transaction=False)
                self.forget_job(job, executions, pipeline)
                # Its own state stays busy: a signal must not end it in the middle of this.
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
        """Whether RQ moves popped jobs to a list of its own, from which they must be removed."""
        return len(self.queues) == 1

    # What RQ's loop says again and again

    def check_for_suspension(self, burst: bool) -> None:  # noqa: FBT001 - RQ's signature
        """As RQ's; skipped if the end of a batch has just checked it."""
        if self._may_go_on:
            self._may_go_on = False
            return
        super().check_for_suspension(burst)

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """As RQ's; skipped if Redis has this state already."""
        if pipeline is None and state == self._shown_state:
            self.note_state(state)
            return
        super().set_state(state, pipeline)
        self._shown_state = state

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """As RQ's; skipped if one was just sent."""
        if self.stop_is_requested and not self._has_job and self.get_state() != WorkerStatus.BUSY:
            raise StopRequested
        expires_at = time.monotonic() + (timeout or self.worker_ttl + 60)
        if pipeline is None and abs(expires_at - self._expires_at) < _SAME_BEAT_SECONDS:
            return
        super().heartbeat(timeout, pipeline)
        self._expires_at = expires_at
