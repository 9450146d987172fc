"""Which tasks of a run in memory failed or are unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from distflow.core.claim import Finish
from distflow.core.model import Task
from distflow.core.readings import Problems
from distflow.core.status import TaskStatus
from distflow.wire.codec import status_of


@dataclass(slots=True)
class MemoryTroubles:
    """What is known of tasks for the case that they fail or are unknown."""

    #: Tasks whose failure is tolerated, and those that have a verify hook.
    tolerant: set[str] = field(default_factory=set)
    hooked: set[str] = field(default_factory=set)
    #: Failures that a coordinator has judged as tolerated.
    judged: set[str] = field(default_factory=set)

    def add_tasks(self, tasks: Iterable[Task]) -> None:
        """Take in tasks of the base graph, or of a snapshot."""
        for task in tasks:
            self._add(task.name, tolerated=task.continue_on_error, hooked=task.verify is not None)

    def note(self, done: Finish) -> None:
        """A task has an outcome: its finish says what the graph says of other tasks."""
        if done.status in (TaskStatus.FAILURE, TaskStatus.UNKNOWN):
            self._add(done.task, tolerated=done.tolerated, hooked=done.hooked)

    def _add(self, task: str, *, tolerated: bool, hooked: bool) -> None:
        if tolerated:
            self.tolerant.add(task)
        if hooked:
            self.hooked.add(task)

    def read(self, results: Mapping[str, bytes], limit: int) -> Problems:
        """At most ``limit`` of each kind."""
        found: dict[TaskStatus, list[str]] = {}
        for name in sorted(results, key=str.encode):
            found.setdefault(status_of(results[name]), []).append(name)
        failed = found.get(TaskStatus.FAILURE, [])
        unknown = found.get(TaskStatus.UNKNOWN, [])[:limit]
        tolerated = [name for name in failed if name in self.tolerant or name in self.judged]
        counted = [name for name in failed if name not in self.tolerant | self.judged]
        hooked = [name for name in unknown if name in self.hooked]
        return Problems(counted[:limit], tolerated[:limit], len(tolerated), unknown, hooked)
