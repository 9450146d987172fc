"""A batch: tasks of one run that travel together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from distflow.core.model import Task


class Batch(NamedTuple):
    """Tasks of one run that travel in one job, in dependency order."""

    id: str
    queue: str
    tasks: tuple[Task, ...]
    run_id: str
    #: Of the coordinator that sends it.
    epoch: int
    #: Its tasks are unknown: their verify hooks are asked.
    verify: bool = False
    #: Run times in ms of the functions that were measured.
    expected: Mapping[str, float] = MappingProxyType({})
    #: Of the run: a worker that does not read it refuses the batch.
    version: int = 1
    #: How many entries of its queue name it: one worker begins it, the others leave it to that one.
    copies: int = 1
