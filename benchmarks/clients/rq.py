"""Raw RQ: the unit with independent jobs, and its own ``depends_on``."""

from __future__ import annotations

import time
from typing import Any

from redis import Redis
from rq import Queue, Worker
from rq.job import Job

from benchmarks import tasks
from benchmarks.clients.port import FIRST_TASKS, PATIENCE_SECONDS, Unfinished, bench_url
from benchmarks.shapes import Shape
from benchmarks.systems import UNIT, System
from tests.support.wait import wait_for

_POLL_SECONDS = 0.01
_RESULT_SECONDS = 60


def open_client(system: System) -> RqClient:
    """The client of raw RQ."""
    return RqClient(system)


class RqClient:
    """See :class:`benchmarks.clients.port.BenchClient`.

    The unit takes the independent tasks of a fan alone: RQ's join would be all that is measured.
    """

    def __init__(self, system: System) -> None:
        # Its own reads block for longer than redis-py's usual limit.
        self._redis: Any = Redis.from_url(bench_url(), socket_timeout=None)
        self._queue = Queue(connection=self._redis)
        self._depends = system.name != UNIT
        self._expected_workers = len(system.workers)
        self._serial = 0

    def wait_ready(self) -> None:
        """Return when all workers are registered."""
        wait_for(
            lambda: Worker.count(connection=self._redis) >= self._expected_workers,
            30.0,
            "RQ's workers",
        )

    def describe(self, shape: Shape) -> Any:
        """Job data for ``enqueue_many``, or the arguments of each ``enqueue``."""
        self._serial += 1
        ids = [f"bench-{self._serial}-{place}" for place in range(shape.total)]
        if not self._depends:
            return [
                Queue.prepare_data(tasks.noop, job_id=job)
                for job, parents in zip(ids, shape.parents, strict=True)
                if not parents
            ]
        return [
            (job, [ids[parent] for parent in parents])
            for job, parents in zip(ids, shape.parents, strict=True)
        ]

    def execute(self, described: Any) -> int:
        """Enqueue all, and ask for the number of finished jobs until it is there."""
        finished = self._queue.finished_job_registry.key
        failed = self._queue.failed_job_registry.key
        expected = self._redis.zcard(finished) + len(described)
        deadline = time.monotonic() + PATIENCE_SECONDS
        if self._depends:
            for job, parents in described:
                self._queue.enqueue(tasks.noop, job_id=job, depends_on=parents or None)
        else:
            self._queue.enqueue_many(described)
        while self._redis.zcard(finished) < expected:
            if time.monotonic() > deadline or self._redis.zcard(failed):
                raise Unfinished("RQ's jobs did not all finish")
            time.sleep(_POLL_SECONDS)
        return len(described)

    def round_trip(self) -> None:
        """Enqueue one job, and block on its result."""
        job = self._queue.enqueue(tasks.noop)
        if job.latest_result(timeout=_RESULT_SECONDS) is None:
            raise Unfinished("RQ's job has no result")

    def first_start(self, width: int) -> float:
        """By what the first jobs returned."""
        data = [Queue.prepare_data(tasks.stamp) for _ in range(width)]
        sent_at = time.time()
        jobs = self._queue.enqueue_many(data)
        first = min(self._result(job) for job in jobs[:FIRST_TASKS])
        for job in jobs:
            self._result(job)
        return first - sent_at

    def _result(self, job: Job) -> float:
        found = job.latest_result(timeout=_RESULT_SECONDS)
        if found is None or found.return_value is None:
            raise Unfinished("RQ's job has no result")
        return float(found.return_value)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
