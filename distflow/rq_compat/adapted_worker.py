"""RQ's forking worker, for a subclass that runs some of its jobs in another way."""

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

#: Whether RQ hands each execution on from call to call, as of version 3, and a worker may have
#: several. RQ 2.12 keeps one in the worker.
_HANDS_ON = hasattr(BaseWorker, "executions_key")


class AdaptedWorker(Worker):
    """RQ's worker. In a job that a subclass runs itself, ``start_job`` comes first, then
    ``keep_job``, and at the end either ``forget_job``, ``fail_job`` or ``judge_horse``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Those of the job at hand: several where Redis may or may not have recorded the first.
        self._mine: list[Execution] = []
        self._is_recorded = False

    def use_connection(self, connection: Redis) -> None:
        """Talk to Redis by this client from now on. The queues that the worker was given are the
        caller's, and keep theirs.
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
        """It was told to stop: it does so after the job at hand."""
        self._stop_requested = True

    def note_state(self, state: str) -> None:
        """The worker is in this state; Redis is not told. While busy, a stop waits for the job."""
        self._state = state

    def note_horse(self, pid: int) -> None:
        """The process at work; 0 where there is none."""
        self._horse_pid = pid

    def become_horse(self) -> None:
        """This process is a child of the worker: it does not sign off for it."""
        self._is_horse = True

    def _shutdown(self) -> None:
        """As RQ's. What a signal raises is lost where it comes in the midst of a line of the log:
        that it came is known all the same.
        """
        self.note_stop()
        super()._shutdown()  # type: ignore[no-untyped-call]

    def obey(self, command: Mapping[str, Any], job: str) -> bool:
        """Carry out a command that stops work, if it is for this job, which is the one at hand.

        Returns:
            Whether it is such a command, whatever job it is for.
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
        """Record that this worker is at a job, as RQ's worker does before it forks. Once recorded,
        it is not recorded again.
        """
        if self._is_recorded:
            return
        before = self._known_executions()
        try:
            self.prepare_execution(job)
        finally:
            # Where the reply was lost, Redis has it.
            self._mine += [each for each in self._known_executions() if each not in before]
        self._is_recorded = True

    def keep_job(self, job: Job) -> None:
        """Record that worker and job live."""
        worker: Any = self
        if _HANDS_ON:
            worker.maintain_heartbeats(job, self._mine[-1])
        else:
            assert job.started_at is not None
            worker.set_current_job_working_time((now() - job.started_at).total_seconds())
            worker.maintain_heartbeats(job)

    def release_executions(self) -> list[Execution]:
        """The job at hand has ended: no command finds it here any more. Returns what is to be
        deleted, by :meth:`forget_job`.
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
        """Have the record of its executions deleted by a pipeline."""
        worker: Any = self
        if not _HANDS_ON:
            worker.set_current_job_id(None, pipeline)
        for each in executions:
            each.delete(job, pipeline)

    def fail_job(self, job: Job, queue: Queue, error: str) -> None:
        """Record that a job has failed, which was started."""
        worker: Any = self
        if _HANDS_ON:
            worker.handle_job_failure(job, queue, exc_string=error, execution=self._mine[-1])
        else:
            worker.handle_job_failure(job, queue, exc_string=error)

    def judge_horse(self, job: Job, queue: Queue) -> None:
        """Let RQ wait for the process at work, and judge what became of its job."""
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
