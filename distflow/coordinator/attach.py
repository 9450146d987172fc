"""A coordinator attaches itself to a run: it reads it, reopens it if that is wanted, and makes a
mirror of it with all duties.
"""

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
    """A run under a lease that is held: its mirror, what is looked after, how it ends, and what a
    reopening planned (empty where there was none).
    """

    mirror: RunMirror
    duties: Sequence[Duty]
    end: RunEnd
    plan: list[PlanItem]

    def close(self) -> None:
        """Leave nothing behind: others may use the room."""
        self.mirror.close()
        for duty in self.duties:
            duty.close()


def attach(
    tools: Tools, epoch: int, head: RunHead, known: KnownGraph | None = None, *, reopen: bool
) -> Attached:
    """Read a run whose lease was just acquired, but what is ``known`` of it.

    Args:
        tools: the run's store, and what the coordinator works with.
        epoch: of the lease.
        head: what was read of the run first.
        known: what need not be read.
        reopen: a person resumes: evaluate again what is not success.
    """
    graph, plan, reading = read_run(
        tools.store, epoch, head, known, reopen=reopen, chance=tools.chance
    )
    mirror = RunMirror(tools, epoch, graph, reading)
    return Attached(mirror, make_duties(mirror, tools), RunEnd(mirror, tools), plan)


def make_duties(mirror: RunMirror, tools: Tools) -> tuple[Duty, ...]:
    """All that is looked after in a run, in the order in which it is asked: what was lost comes
    before what follows from time, and a cancellation last, when it is known what is left of the
    run.
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
