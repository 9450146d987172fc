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
    #: The epoch of the coordinator that sends it.
    epoch: int
    #: True if its tasks are unknown and their verify hooks are to be asked.
    verify: bool = False
    #: Measured run times of functions, in ms.
    expected: Mapping[str, float] = MappingProxyType({})
    #: The run's version: a worker that cannot read it refuses the batch.
    version: int = 1
    #: How many queue entries carry it: one worker begins it, the others drop theirs.
    copies: int = 1
    #: The expansions that its tasks are of, as pairs of a node and the token of its record: a claim
    #: under a record that the run does not have is refused.
    records: tuple[tuple[str, str], ...] = ()
