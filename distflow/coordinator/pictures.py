"""Pictures: shows an onlooker the state of a run, at most a few times per second."""

from __future__ import annotations

from typing import Protocol

from distflow.coordinator.mirror import RunMirror
from distflow.core.picture import Picture, ResumePlan, shown_counts
from distflow.core.plan import PlanItem
from distflow.core.status import TaskStatus
from distflow.core.tally import going_tallies

#: Seconds between two pictures.
_SHOW_SECONDS = 0.1

#: Tasks in these statuses could run now.
_OPEN = frozenset({TaskStatus.READY, TaskStatus.QUEUED})


class Onlooker(Protocol):
    """Watches a run while it is led; called on the thread of the loop."""

    @property
    def wants_pictures(self) -> bool:
        """Whether it wants pictures at all."""

    @property
    def wants_queues(self) -> bool:
        """Whether the next picture needs the queues of open tasks: that visits every task."""

    def begin(self, plan: ResumePlan) -> None:
        """The run is led from now on, and its resume does what ``plan`` says."""

    def see(self, picture: Picture) -> None:
        """Receive the state of the run."""


class Pictures:
    """Shows one onlooker, or nobody, pictures of one run."""

    def __init__(self, onlooker: Onlooker | None) -> None:
        self._onlooker = onlooker
        self._due = 0.0

    def begin(self, mirror: RunMirror, plan: list[PlanItem]) -> None:
        """Show what a resume does, if the run was reopened."""
        if plan and self._onlooker is not None:
            self._onlooker.begin(ResumePlan(mirror.graph, plan))

    def show(self, mirror: RunMirror, now: float) -> None:
        """Show the state of the run, if it is time; ``now`` is in monotonic seconds."""
        if self._onlooker is None or now < self._due or not self._onlooker.wants_pictures:
            return
        self._due = now + _SHOW_SECONDS
        running = {name: now - since for name, since in mirror.running.items()}
        queues = _open_queues(mirror) if self._onlooker.wants_queues else None
        tallies = going_tallies(mirror.graph, mirror.state.dependencies)
        self._onlooker.see(Picture(shown_counts(mirror.state.counts), running, queues, tallies))


def _open_queues(mirror: RunMirror) -> frozenset[str]:
    pairs = zip(mirror.graph.tasks, mirror.state.statuses, strict=True)
    return frozenset(task.queue for task, status in pairs if status in _OPEN)
