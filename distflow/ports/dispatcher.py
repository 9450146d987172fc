"""The contract of a dispatcher: how batches reach workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from distflow.core.batches import Batch
from distflow.core.misfit import Registration
from distflow.core.readings import JobFailure, WorkerProbe


class Dispatcher(Protocol):
    """Transports batches to workers, and reports on both.

    Its reports decide nothing about a task: only the store does. Each method raises
    RedisUnavailable if the transport stays away for longer than the caller's patience.
    """

    def dispatch(self, batches: Sequence[Batch]) -> None:
        """Send batches of any runs, in order. Sending a batch twice, after a lost reply or for
        ``copies``, is harmless: its tasks are claimed once.

        Raises:
            RedisFull: the transport has no room for them. This does not wait for room: the
                coordinator has other things to do, such as to cancel runs.
        """

    def count_workers(self, queues: Collection[str]) -> Mapping[str, int]:
        """How many connected workers listen to each queue."""

    def list_workers(self, queues: Collection[str]) -> Mapping[str, set[Registration]]:
        """The connected workers of each queue, by name and birth."""

    def find_queued(self, run_id: str, queues: Collection[str]) -> set[str]:
        """The ids of the run's batches that still wait in the queues."""

    def withdraw(self, run_id: str, queues: Collection[str]) -> int:
        """Take the run's waiting batches off the queues; returns how many. Batches of other runs
        stay.
        """

    def probe_workers(self, workers: Collection[str]) -> Mapping[str, WorkerProbe]:
        """What the transport knows about workers, by name. A worker that it does not know is left
        out, or not connected.
        """

    def read_failures(self, batches: Collection[str]) -> Mapping[str, JobFailure]:
        """Why the transport gave up batches, by id; others are left out."""

    def stop_job(self, job: str, worker: str) -> None:
        """Kill the process that works on a job. A worker with another job is left alone.

        Args:
            job: the id of the job, from the heartbeats of its batch.
            worker: its name.
        """
