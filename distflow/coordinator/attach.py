"""Attach a coordinator to a run: read it, reopen it if asked to, build its mirror and duties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from distflow.coordinator.duties.cancelling import CancelDuty
from distflow.coordinator.duties.deadline import DeadlineDuty
from distflow.coordinator.duties.duty import Duty
from distflow.coordinator.duties.lost_workers import LostWorkerDuty
from distflow.coordinator.duties.misfits import MisfitDuty
from distflow.coordinator.duties.repairs import RepairDuty
from distflow.coordinator.duties.sharing import SharingDuty
from distflow.coordinator.duties.timers import ClockDuty, WaitDuty
from distflow.coordinator.duties.trimming import TrimDuty
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.reopening import read_run
from distflow.coordinator.run_end import RunEnd
from distflow.coordinator.tools import Tools
from distflow.coordinator.write_probe import WriteProbe
from distflow.core.plan import PlanItem
from distflow.core.readings import KnownGraph, RunHead


class Attached(NamedTuple):
    """A run under a held lease: its mirror, its duties, how it ends, and the plan of a reopening
    (empty if there was none).
    """

    mirror: RunMirror
    duties: Sequence[Duty]
    end: RunEnd
    plan: list[PlanItem]

    def close(self) -> None:
        """Forget everything that is out, so that other runs can use the room."""
        self.mirror.close()
        for duty in self.duties:
            duty.close()


def attach(
    tools: Tools, epoch: int, head: RunHead, known: KnownGraph | None = None, *, reopen: bool
) -> Attached:
    """Read a run whose lease was just acquired, except for what is ``known`` already.

    Args:
        tools: the run's store, and what the coordinator works with.
        epoch: of the lease.
        head: the part of the run that was read first.
        known: the part that need not be read.
        reopen: a person resumes the run: evaluate again every task that did not succeed.
    """
    plan, standing = read_run(tools.store, epoch, head, known, reopen=reopen, chance=tools.chance)
    mirror = RunMirror(tools, epoch, standing)
    return Attached(mirror, make_duties(mirror, tools), RunEnd(mirror, tools), plan)


def make_duties(mirror: RunMirror, tools: Tools) -> tuple[Duty, ...]:
    """All duties of a run, in the order in which they are asked. Losses come before timers;
    cancelling comes last, when it is known what is left of the run.
    """
    probe = WriteProbe(tools.store, mirror.epoch, tools.clock)
    workers = LostWorkerDuty(mirror, tools, probe)
    return (
        ClockDuty(mirror, tools),
        TrimDuty(mirror, tools),
        workers,
        RepairDuty(mirror, tools, probe),
        SharingDuty(mirror),
        WaitDuty(mirror),
        MisfitDuty(mirror, tools),
        DeadlineDuty(mirror, tools),
        CancelDuty(mirror, tools, workers.stop_running),
    )
