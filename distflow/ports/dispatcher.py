"""How batches reach workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from distflow.core.batch import Batch
from distflow.core.misfit import Registration
from distflow.core.readings import (
    JobFailure,
    WorkerProbe,
)


class Dispatcher(Protocol):
    """How batches reach workers. A job's own status decides nothing: see the store."""

    def dispatch(self, batches: Sequence[Batch]) -> None:
        """Send batches of any runs, in order; a batch that is sent twice is harmless.

        Raises:
            RedisFull: the transport has no room for them now.
        """

    def count_workers(self, queues: Collection[str]) -> Mapping[str, int]:
        """How many workers say that they listen to each queue."""

    def list_workers(self, queues: Collection[str]) -> Mapping[str, set[Registration]]:
        """Those of each queue that are connected now, by name and birth."""

    def find_queued(self, run_id: str, queues: Collection[str]) -> set[str]:
        """The ids of the run's batches that still wait in the queues."""

    def withdraw(self, run_id: str, queues: Collection[str]) -> int:
        """Take the run's waiting jobs off the queues; returns how many."""

    def probe_workers(self, workers: Collection[str]) -> Mapping[str, WorkerProbe]:
        """What is known of workers, by name."""

    def read_failures(self, batches: Collection[str]) -> Mapping[str, JobFailure]:
        """Of batches that the transport gave up, why."""

    def stop_job(self, job: str, worker: str) -> None:
        """Kill the process group that works on a job."""
