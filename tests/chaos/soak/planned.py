"""What must become of a workflow that is hurt."""

from __future__ import annotations

from typing import NamedTuple

from distflow import TaskStatus, Workflow


class Planned(NamedTuple):
    """A task and what it must come to."""

    kind: str
    status: TaskStatus


class Flow(NamedTuple):
    """A workflow, what must become of its tasks, by name, and whether they travel in batches."""

    workflow: Workflow
    tasks: dict[str, Planned]
    batch: bool = True
