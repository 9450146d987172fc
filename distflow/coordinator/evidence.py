"""What was seen of a worker that is lost or frozen, in words: what is known, and no guess."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from distflow.core.readings import JobFailure, WorkerProbe
from distflow.core.run import Beat, HeldTask, Repair


class LostBatch(NamedTuple):
    """A batch whose worker is lost or frozen: what was settled (task -> status of its outcome), and
    what the worker holds on to, since it may come back.
    """

    batch: str
    worker: str
    cause: str
    settled: dict[str, str]
    frozen: bool = False
    held: tuple[HeldTask, ...] = ()

    def to_repair(self) -> Repair:
        """What is told of it."""
        # The tasks come first: a line may be cut.
        what = ", ".join(f"{task}: {status}" for task, status in self.settled.items())
        note = f"{what}; {self.cause}" if what else f"{self.cause}; it had claimed nothing"
        kind = "worker_frozen" if self.frozen else "worker_lost"
        return Repair(kind, self.batch, self.worker, note)


def vanished_repair(batch: str, failure: JobFailure | None) -> Repair:
    """What is told of a batch that is sent again; ``failure`` is what a worker said of it."""
    if failure is None:
        note = f"batch {batch} had vanished from its queue: it is sent again"
        return Repair("entry_lost", batch, "", note)
    note = (
        f"{failure.words}: it could not begin batch {batch}, which is sent again later; "
        "install the same distflow where that worker runs, with RQ's default serializer or "
        "distflow_worker.SafeSerializer"
    )
    return Repair("entry_refused", batch, failure.by.name, note)


def lost_words(worker: str, beat: Beat | None, probe: WorkerProbe | None) -> str:
    """Why a worker, or the process that it had for a batch, is taken for lost.

    Args:
        worker: its name; empty where it is unknown.
        beat: the last of the batch; None where there is none.
        probe: what the transport says of the worker; None where it says nothing.
    """
    if beat is None:
        return f"worker {worker or '?'} was lost: nothing beats for what it claimed"
    silent = f"not heard of since {_moment(beat)}"
    if probe is None or not probe.connected:
        return f"worker {worker or '?'} was lost: {silent}, and no process of it is connected"
    if beat.job in probe.jobs:
        late = f"its own heartbeat is {probe.overdue or 0:.0f} s overdue"
        return f"worker {worker} was lost: {silent}; Redis has its connection, and {late}"
    jobs = ", ".join(f"job {job}" for job in sorted(probe.jobs)) or "nothing"
    return f"its process was lost: {silent}; worker {worker} is connected, and works on {jobs}"


def frozen_words(worker: str, beat: Beat | None) -> str:
    """Why a worker is taken for frozen."""
    silent = f", and not heard of since {_moment(beat)}" if beat else ""
    return f"worker {worker} is frozen: connected{silent}"


def stopped_words(worker: str) -> str:
    """What was done to the process of a run that is cancelled."""
    return f"worker {worker or '?'} was told to stop it, since the run was cancelled"


def _moment(beat: Beat) -> str:
    return f"{datetime.fromtimestamp(beat.at / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
