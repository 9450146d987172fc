"""What several scenarios end with."""

from __future__ import annotations

from distflow.core.status import RunStatus
from distflow.runs.run import Run
from tests.chaos.points.lane import Play
from tests.chaos.points.verdict import Broken


def judge(played: Play) -> list[Broken]:
    """What was promised of the run and is not so."""
    return played.witness.judge(played.run(), played.flow)


def is_made(played: Play) -> bool:
    """Whether the run is whole; one that was cut off is deleted."""
    status = played.status()
    if status == RunStatus.CREATING:
        played.run().store.delete_run(force=True)
        return False
    return status is not None


def import_elsewhere(played: Play, run: Run) -> None:
    """Export a run, and import it under another name, which is that of the case from now on."""
    file = played.folder / "snapshot"
    run.snapshot().dump(file)
    played.run_id = played.lane.next_run_id()
    words = ["import", str(file), "--run-id", played.run_id]
    played.insist("import", lambda: is_made(played), *words)
