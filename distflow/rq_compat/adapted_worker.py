"""RQ's forking worker, as a base for one that runs some of its jobs in another way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from rq.executions import Execution
from rq.utils import now
from rq.worker import BaseWorker, Worker

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job
    from rq.queue import Queue

#: Whether RQ passes executions from call to call, as it does since version 3, where a worker may
#: have several. RQ 2.12 keeps a single one in the worker.
_HANDS_ON = hasattr(BaseWorker, "executions_key")


class AdaptedWorker(Worker):
    """RQ's worker. For a job that it runs itself, a subclass calls ``start_job``, then
    ``keep_job``, and at the end ``forget_job``, ``fail_job`` or ``judge_horse``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Executions of the current job: several if Redis may or may not have recorded the first
        #: one.
        self._mine: list[Execution] = []
        self._is_recorded = False

    def use_connection(self, connection: Redis) -> None:
        """Use this client from now on. The worker's queues belong to the caller and keep their
        own.
        """
        self.connection = connection
        self.queues = [copy(queue) for queue in self.queues]
        for queue in self.queues:
            queue.connection = connection
        self._ordered_queues = self.queues[:]

    # What this process knows of itself

    @property
    def stop_is_requested(self) -> bool:
        """Whether the worker was told to stop."""
        return self._stop_requested

    def note_stop(self) -> None:
        """The worker was told to stop: it does so after the current job."""
        self._stop_requested = True

    def note_state(self, state: str) -> None:
        """Set the worker's state, without telling Redis. While busy, a stop waits for the job."""
        self._state = state

    def note_horse(self, pid: int) -> None:
        """Set the pid of the work horse; 0 if there is none."""
        self._horse_pid = pid

    def become_horse(self) -> None:
        """This process is a child of the worker: it must not deregister it."""
        self._is_horse = True

    def _shutdown(self) -> None:
        """As RQ's. An exception from a signal is lost if it arrives within a log call, so the
        signal is noted as well.
        """
        self.note_stop()
        super()._shutdown()  # type: ignore[no-untyped-call]

    def obey(self, command: Mapping[str, Any], job: str) -> bool:
        """Carry out a stop command if it is for the current job.

        Returns:
            Whether it is a stop command, for whatever job.
        """
        match command["command"]:
            case "kill-horse":
                self.kill_horse()
                return True
            case "stop-job":
                is_ours = command.get("job_id") == job
            case "stop-execution":
                is_ours = command.get("execution_id") in [each.id for each in self._mine]
            case _:
                return False
        if is_ours:
            self._stopped_job_id = job
            self.kill_horse()
        else:
            self.log.info("Not working on job %s", command.get("job_id"))
        return True

    # The job at hand, as Redis has it

    def start_job(self, job: Job) -> None:
        """Record that this worker runs a job, as RQ's worker does before it forks. Recorded only
        once.
        """
        if self._is_recorded:
            return
        before = self._known_executions()
        try:
            self.prepare_execution(job)
        finally:
            # If the reply was lost, Redis has the execution.
            self._mine += [each for each in self._known_executions() if each not in before]
        self._is_recorded = True

    def keep_job(self, job: Job) -> None:
        """Record that worker and job are alive."""
        worker: Any = self
        if _HANDS_ON:
            worker.maintain_heartbeats(job, self._mine[-1])
        else:
            assert job.started_at is not None
            worker.set_current_job_working_time((now() - job.started_at).total_seconds())
            worker.maintain_heartbeats(job)

    def release_executions(self) -> list[Execution]:
        """The current job has ended: commands no longer find it here. Returns the executions to
        delete with :meth:`forget_job`.
        """
        mine, self._mine, self._is_recorded = self._mine, [], False
        worker: Any = self
        if _HANDS_ON:
            for each in mine:
                worker.executions.pop(each.id, None)
        else:
            worker.execution = None
        return mine

    def forget_job(self, job: Job, executions: Sequence[Execution], pipeline: Any) -> None:
        """Add the deletion of its executions to a pipeline."""
        worker: Any = self
        if not _HANDS_ON:
            worker.set_current_job_id(None, pipeline)
        for each in executions:
            each.delete(job, pipeline)

    def fail_job(self, job: Job, queue: Queue, error: str) -> None:
        """Record that a started job has failed."""
        worker: Any = self
        if _HANDS_ON:
            worker.handle_job_failure(job, queue, exc_string=error, execution=self._mine[-1])
        else:
            worker.handle_job_failure(job, queue, exc_string=error)

    def judge_horse(self, job: Job, queue: Queue) -> None:
        """Let RQ wait for the work horse, and judge what became of its job."""
        worker: Any = self
        if _HANDS_ON:
            worker.monitor_work_horse(job, queue, self._mine[-1])
        else:
            worker.monitor_work_horse(job, queue)

    def _known_executions(self) -> list[Execution]:
        worker: Any = self
        if _HANDS_ON:
            return list(worker.executions.values())
        return [] if worker.execution is None else [worker.execution]
