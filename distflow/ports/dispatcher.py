"""How batches reach workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from distflow.core.batches import Batch
from distflow.core.misfit import Registration
from distflow.core.readings import JobFailure, WorkerProbe


class Dispatcher(Protocol):
    """A transport of batches to workers, and what it says of both.

    Nothing that it says decides anything about a task: see the store. Each method raises
    RedisUnavailable where the transport stays away for longer than the caller is patient.
    """

    def dispatch(self, batches: Sequence[Batch]) -> None:
        """Send batches of any runs, in order. What is sent twice, since a reply was lost or
        ``copies`` are wanted, is harmless: its tasks are claimed once.

        Raises:
            RedisFull: the transport has no room for them. That is not waited for: who leads runs
                has other things to do meanwhile, such as to cancel them.
        """

    def count_workers(self, queues: Collection[str]) -> Mapping[str, int]:
        """How many workers that listen to each queue are connected now."""

    def list_workers(self, queues: Collection[str]) -> Mapping[str, set[Registration]]:
        """The workers of each queue that are connected now, by name and birth."""

    def find_queued(self, run_id: str, queues: Collection[str]) -> set[str]:
        """The ids of the run's batches that still wait in the queues."""

    def withdraw(self, run_id: str, queues: Collection[str]) -> int:
        """Take the run's waiting batches off the queues; returns how many. Those of other runs
        stay.
        """

    def probe_workers(self, workers: Collection[str]) -> Mapping[str, WorkerProbe]:
        """What the transport says of workers, by name. One that it does not know is left out, or
        not connected.
        """

    def read_failures(self, batches: Collection[str]) -> Mapping[str, JobFailure]:
        """Why the transport gave batches up, by id; those that it did not give up are left out."""

    def stop_job(self, job: str, worker: str) -> None:
        """End the process that works on a job, at once. A worker that is at another is left alone.

        Args:
            job: the id of the job, as the beats of its batch say.
            worker: its name.
        """
