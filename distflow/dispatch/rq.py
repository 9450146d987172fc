"""Dispatcher on RQ: a batch is one RQ job. RQ is transport only: nothing that it records decides
about tasks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from redis import Redis
from redis import exceptions as redis_errors
from rq import Queue
from rq.command import send_command
from rq.job import Job, JobStatus
from rq.results import Result

from distflow.core.batches import Batch
from distflow.core.claim import WorkerFacts
from distflow.core.misfit import Registration
from distflow.core.readings import JobFailure, WorkerProbe
from distflow.dispatch.rq_reports import last_line, reading_serializer, to_jobs, to_text, to_time
from distflow.errors import RedisFull
from distflow.faults import commit
from distflow.ids import run_of_batch
from distflow.ports.dispatcher import Dispatcher
from distflow.rq_compat.rq_keys import (
    CURRENT_JOB_FIELD,
    command_channel,
    executions_key,
    queue_workers_key,
    worker_key,
    worker_name,
)
from distflow.store.redis.keepalive import server_drop_seconds
from distflow.store.redis.patience import Trouble, call_patiently, describe_trouble, is_full
from distflow.wire.batch_payload import batch_payload, encode_payload
from distflow_worker.serializer import BATCH_FUNCTION, SafeSerializer

#: Seconds that RQ keeps a finished job. Nobody reads it, but 0 costs RQ more than a few seconds.
_RESULT_TTL = 10

#: Seconds that RQ keeps a failed job: its error is evidence for an operator.
_FAILURE_TTL = 24 * 3600

#: Seconds by which the registration of a busy worker outlasts its next heartbeat. If RQ sends none,
#: since the worker does not fork, the heartbeat is due this long before the registration ends.
_EXPIRY_MARGIN = 60

#: Seconds for which the server's settings are cached.
_SETTINGS_SECONDS = 30.0


class _Envelope(SafeSerializer):
    """Serialises job data; reads none."""

    @staticmethod
    def loads(data: bytes) -> None:
        """The coordinator needs no job data: nothing from Redis is unpickled."""


class RqDispatcher(Dispatcher):
    """Dispatcher on the queues of one Redis.

    Args:
        client: the connection.
        prefix: of the run's keys; each batch carries it to its worker.
        patience_seconds: how long a call is retried while Redis is away.
    """

    def __init__(self, client: Redis, prefix: str, *, patience_seconds: float = 60.0) -> None:
        # redis-py's types cover clients of every kind; this one answers in bytes.
        self._client: Any = client
        self._prefix = prefix
        self._patience_seconds = patience_seconds
        #: Set while Redis has no room for a batch.
        self._full: Trouble | None = None
        #: The server's last known keepalive, and when to ask again.
        self._drops: float | None = None
        self._ask_again_at = float("-inf")

    def dispatch(self, batches: Sequence[Batch]) -> None:
        jobs = {
            queue: [self._make_job(batch) for batch in mine]
            for queue, mine in _by_queue(batches).items()
        }

        with commit("dispatch"):

            def send(pipeline: Any) -> None:
                for queue, mine in jobs.items():
                    self._queue(queue).enqueue_many(mine, pipeline=pipeline)
                for batch in batches:
                    for _ in range(batch.copies - 1):
                        self._queue(batch.queue).push_job_id(batch.id, pipeline=pipeline)

            try:
                self._together(send, waits_for_room=False)
            except RedisFull as error:
                self._full = self._full or Trouble(self._client, time.monotonic())
                self._full.tell(error.__cause__ or error, float("inf"))
                raise
        if self._full is not None:
            self._full.end()
            self._full = None

    def _together(self, ask: Callable[[Any], None], *, waits_for_room: bool = True) -> list[Any]:
        """Redis's replies to what ``ask`` puts into a pipeline.

        Raises:
            RedisFull: Redis has no room; the call does not wait for it.
        """

        def call() -> list[Any]:
            pipeline = self._client.pipeline(transaction=False)
            ask(pipeline)
            try:
                replies: list[Any] = pipeline.execute()
            except redis_errors.RedisError as error:
                if not waits_for_room and is_full(error):
                    raise RedisFull(describe_trouble(error)) from error
                raise
            return replies

        return call_patiently(call, self._patience_seconds, self._client)

    def _make_job(self, batch: Batch) -> Any:
        more = f" and {len(batch.tasks) - 1} more" if len(batch.tasks) > 1 else ""
        return Queue.prepare_data(
            BATCH_FUNCTION,
            (encode_payload(batch_payload(batch, self._prefix)),),
            job_id=batch.id,
            description=f"{batch.run_id}: {batch.tasks[0].name}{more}",
            timeout=-1,
            result_ttl=_RESULT_TTL,
            failure_ttl=_FAILURE_TTL,
        )

    def count_workers(self, queues: Collection[str]) -> Mapping[str, int]:
        return {queue: len(workers) for queue, workers in self._find_workers(queues).items()}

    def list_workers(self, queues: Collection[str]) -> Mapping[str, set[Registration]]:
        workers = self._find_workers(queues)
        names = sorted({name for some in workers.values() for name in some})

        def ask(pipeline: Any) -> None:
            for name in names:
                pipeline.hget(worker_key(name), "birth")

        born = dict(zip(names, map(to_text, self._together(ask)), strict=True))
        return {
            queue: {Registration(name, born[name]) for name in some}
            for queue, some in workers.items()
        }

    def _find_workers(self, queues: Collection[str]) -> dict[str, list[str]]:
        """The names of the connected workers that listen to each queue."""
        names = list(queues)

        def ask(pipeline: Any) -> None:
            for queue in names:
                pipeline.smembers(queue_workers_key(queue))

        workers = [[worker_name(to_text(key)) for key in keys] for keys in self._together(ask)]
        connected = self._connected({worker for some in workers for worker in some})
        return {
            queue: [worker for worker in some if connected[worker]]
            for queue, some in zip(names, workers, strict=True)
        }

    def find_queued(self, run_id: str, queues: Collection[str]) -> set[str]:
        def ask(pipeline: Any) -> None:
            for queue in queues:
                pipeline.lrange(self._queue(queue).key, 0, -1)

        waiting = {to_text(job) for jobs in self._together(ask) for job in jobs}
        return {job for job in waiting if run_of_batch(job) == run_id}

    def withdraw(self, run_id: str, queues: Collection[str]) -> int:
        jobs = self.find_queued(run_id, queues)

        with commit("withdraw"):

            def remove(pipeline: Any) -> None:
                for job in jobs:
                    for queue in queues:
                        pipeline.lrem(self._queue(queue).key, 0, job)
                    pipeline.delete(Job.key_for(job))

            self._together(remove)
        return len(jobs)

    def probe_workers(self, workers: Collection[str]) -> Mapping[str, WorkerProbe]:
        names = [worker for worker in workers if worker]
        connected = self._connected(names)

        def ask(pipeline: Any) -> None:
            for worker in names:
                key = worker_key(worker)
                pipeline.hmget(key, CURRENT_JOB_FIELD, "last_heartbeat")
                pipeline.smembers(executions_key(worker))
                pipeline.pttl(key)

        replies = self._together(ask)
        drop_seconds = self._drop_seconds()
        return {
            worker: WorkerProbe(
                connected[worker],
                to_jobs(job, executions),
                to_time(heard),
                _EXPIRY_MARGIN - left_ms / 1000 if left_ms >= 0 else None,
                drop_seconds,
            )
            for worker, (job, heard), executions, left_ms in zip(
                names, replies[::3], replies[1::3], replies[2::3], strict=True
            )
        }

    def read_failures(self, batches: Collection[str]) -> Mapping[str, JobFailure]:
        """For batches whose RQ job failed: the worker, the last line of its error, and the
        serializer if that was the cause.
        """
        names = list(batches)

        def ask(pipeline: Any) -> None:
            for name in names:
                pipeline.hmget(Job.key_for(name), "status", "worker_name")
                pipeline.xrevrange(Result.get_key(name), count=1)  # type: ignore[no-untyped-call]

        replies = self._together(ask)
        found: dict[str, JobFailure] = {}
        for name, (status, worker), results in zip(names, replies[::2], replies[1::2], strict=True):
            if to_text(status) == JobStatus.FAILED:
                packed = results[0][1].get(b"exc_string") if results else None
                words = last_line(packed) or "no reason is known"
                serializer = reading_serializer(packed)
                reads = f", which reads jobs by {serializer}" if serializer else ""
                said = f"worker {to_text(worker) or '?'}{reads}: {words}"
                found[name] = JobFailure(said, self._facts(to_text(worker)))
        return found

    def _facts(self, worker: str) -> WorkerFacts:
        """Identify a worker by its registration."""

        def ask(pipeline: Any) -> None:
            pipeline.hmget(worker_key(worker), "birth", "hostname", "pid")

        born, host, pid = map(to_text, self._together(ask)[0])
        return WorkerFacts(worker, born, host, int(pid) if pid.isdecimal() else 0)

    def stop_job(self, job: str, worker: str) -> None:
        with commit("stop_job"):
            call_patiently(
                lambda: send_command(self._client, worker, "stop-job", job_id=job),
                self._patience_seconds,
                self._client,
            )

    def _drop_seconds(self) -> float | None:
        """See :func:`server_drop_seconds`; refreshed now and then, since settings change."""
        now = time.monotonic()
        if now >= self._ask_again_at:
            self._drops = call_patiently(
                lambda: server_drop_seconds(self._client), self._patience_seconds, self._client
            )
            self._ask_again_at = now + _SETTINGS_SECONDS
        return self._drops

    def _connected(self, workers: Collection[str]) -> dict[str, bool]:
        channels = {command_channel(worker): worker for worker in workers}
        counts = call_patiently(
            lambda: self._client.pubsub_numsub(*channels), self._patience_seconds, self._client
        )
        return {channels[to_text(channel)]: count > 0 for channel, count in counts}

    def _queue(self, name: str) -> Queue:
        return Queue(name, connection=self._client, serializer=_Envelope)


def _by_queue(batches: Sequence[Batch]) -> dict[str, Collection[Batch]]:
    """Each batch once: RQ 3 refuses jobs with the same id."""
    found: dict[str, dict[str, Batch]] = {}
    for batch in batches:
        found.setdefault(batch.queue, {})[batch.id] = batch
    return {queue: mine.values() for queue, mine in found.items()}
