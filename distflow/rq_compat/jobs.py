"""Jobs that run outside of RQ's own ``Job.perform``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rq.job
from redis import Redis
from rq.executions import Execution, ExecutionRegistry

if TYPE_CHECKING:
    from rq.job import Job

#: What ``rq.get_current_job()`` returns: the top of a stack in RQ 2.12, a context variable in RQ 3.
_STACK: Any = getattr(rq.job, "_job_stack", None)
_VARIABLE: Any = getattr(rq.job, "_current_job", None)


@contextmanager
def as_current_job(job: Job) -> Iterator[None]:
    """Let ``rq.get_current_job()`` return a job in this thread while the block runs."""
    if _VARIABLE is not None:
        token = _VARIABLE.set(job)
        try:
            yield
        finally:
            _VARIABLE.reset(token)
    else:
        _STACK.push(job)
        try:
            yield
        finally:
            _STACK.pop()


def executions_of(job: Job, worker: str, connection: Redis) -> list[Execution]:
    """What Redis has recorded of a worker's executions of a job."""
    found = ExecutionRegistry(job.id, connection).get_execution_ids()
    # RQ 3 looks for an execution with its worker, too.
    return [Execution(each, job.id, connection, worker_name=worker) for each in found]
