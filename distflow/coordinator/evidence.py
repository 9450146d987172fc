"""Why a worker is judged lost or frozen, in words: what was seen, and no guess."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from distflow.core.readings import JobFailure, WorkerProbe
from distflow.core.run import Beat, HeldTask, Repair


class LostBatch(NamedTuple):
    """A batch whose worker is lost or frozen: which tasks were settled (task -> status of its
    outcome), and which the worker keeps, since it may come back.
    """

    batch: str
    worker: str
    cause: str
    settled: dict[str, str]
    frozen: bool = False
    held: tuple[HeldTask, ...] = ()

    def to_repair(self) -> Repair:
        """The repair that reports it."""
        # The tasks come first: a long line may be cut.
        what = ", ".join(f"{task}: {status}" for task, status in self.settled.items())
        note = f"{what}; {self.cause}" if what else f"{self.cause}; it had claimed nothing"
        kind = "worker_frozen" if self.frozen else "worker_lost"
        return Repair(kind, self.batch, self.worker, note)


def vanished_repair(batch: str, failure: JobFailure | None) -> Repair:
    """The repair that reports a batch that is sent again. ``failure`` is the report of a worker
    that could not begin it, if there is one.
    """
    if failure is None:
        note = f"batch {batch} vanished from its queue, and is sent again"
        return Repair("entry_lost", batch, "", note)
    note = (
        f"{failure.words}: it could not begin batch {batch}, which is sent again later; "
        "install the same distflow where that worker runs, with RQ's default serializer or "
        "distflow_worker.SafeSerializer"
    )
    return Repair("entry_refused", batch, failure.by.name, note)


def lost_words(worker: str, beat: Beat | None, probe: WorkerProbe | None) -> str:
    """Why a worker, or its process for a batch, is judged lost.

    Args:
        worker: its name; empty where it is unknown.
        beat: the last one of the batch; None if there is none.
        probe: what the dispatcher knows about the worker; None if it knows nothing.
    """
    if beat is None:
        return f"worker {worker or '?'} was lost: its claims have no heartbeat"
    silent = f"no heartbeat since {_moment(beat)}"
    if probe is None or not probe.connected:
        return f"worker {worker or '?'} was lost: {silent}, and none of its processes is connected"
    if beat.job in probe.jobs:
        late = f"the worker's own heartbeat is {probe.overdue or 0:.0f} s overdue"
        return f"worker {worker} was lost: {silent}; Redis still has its connection, but {late}"
    jobs = ", ".join(f"job {job}" for job in sorted(probe.jobs)) or "nothing"
    return f"its process was lost: {silent}; worker {worker} is connected and works on {jobs}"


def frozen_words(worker: str, beat: Beat | None) -> str:
    """Why a worker is judged frozen."""
    silent = f", but no heartbeat since {_moment(beat)}" if beat else ""
    return f"worker {worker} is frozen: connected{silent}"


def stopped_words(worker: str) -> str:
    """What was done to a running task when its run was cancelled."""
    return f"worker {worker or '?'} was told to stop it because the run was cancelled"


def _moment(beat: Beat) -> str:
    return f"{datetime.fromtimestamp(beat.at / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
