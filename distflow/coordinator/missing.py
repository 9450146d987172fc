"""Finds what the coordinator knows was recorded and the store no longer has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from distflow.core.graph import Graph
from distflow.core.readings import RunReading
from distflow.core.run import Claim, Event, event_order
from distflow.core.status import OUTCOMES, RunStatus, TaskStatus

#: How many losses are named; the rest are counted.
_NAMED = 10

_CLAIMED = frozenset({TaskStatus.CLAIMED, TaskStatus.STARTED})


class Known(NamedTuple):
    """What a coordinator knew about its run: the statuses of the tasks by index, the claims that it
    last read, the run's status, the last event that it applied, and the expansions, as node ->
    token.
    """

    statuses: Sequence[TaskStatus]
    claims: Mapping[str, Claim]
    status: RunStatus
    last_event: str
    expansions: Mapping[str, str] = MappingProxyType({})


def find_missing(
    graph: Graph,
    known: Known,
    found: RunReading,
    events: Sequence[Event],
    *,
    expansions: Mapping[str, str] | None = None,
    restarted: bool,
) -> list[str]:
    """What was recorded and is missing now, one short text per loss: ``a: success``.

    Args:
        graph: the run's, as the coordinator knew it.
        known: what the coordinator knew.
        found: what the store has now, with the statuses of the tasks of that graph.
        expansions: those that the run has now, as node -> token; None where they were not read.
        events: those after ``known.last_event``, read later than ``found``: a change that they
            report is no loss.
        restarted: whether another Redis process answers. If not, only outcomes count as missing:
            somebody may have deleted the events that explain the rest.
    """
    told = {event.task for event in events}
    missing = []
    for index, status in enumerate(known.statuses):
        name = graph.tasks[index].name
        if name not in told and found.statuses[index] is None:
            lost = _lost(name, status, known, found, restarted=restarted)
            if lost:
                missing.append(f"{name}: {lost}")
    if expansions is not None:
        missing += [
            f"{node}: expansion"
            for node, token in known.expansions.items()
            if expansions.get(node) != token
        ]
    if not restarted:
        return missing
    if known.status != found.info.status and not any(event.kind == "moved" for event in events):
        missing.append(f"the run's status {known.status}")
    if event_order(found.last_event) < event_order(known.last_event):
        missing.append(f"events up to {known.last_event}")
    return missing


def _lost(
    name: str, status: TaskStatus, known: Known, found: RunReading, *, restarted: bool
) -> str | None:
    """What is missing from a task that has no outcome now."""
    if status in OUTCOMES:
        # A decision to run the task again removes an unknown outcome.
        return str(status.value) if restarted or status != TaskStatus.UNKNOWN else None
    if not restarted:
        return None
    claim, seen = found.claims.get(name), known.claims.get(name)
    if status == TaskStatus.WAITING and (claim or name not in found.progress):
        return "retry"
    if status not in _CLAIMED:
        return None
    if claim is None:
        return None if name in found.progress else "claim"
    same = seen is not None and seen.token == claim.token
    return "start" if same and seen is not None and seen.started and not claim.started else None


def name_missing(missing: Sequence[str]) -> str:
    """``a: success, b: claim and 3 more``."""
    more = len(missing) - _NAMED
    return ", ".join(missing[:_NAMED]) + (f" and {more} more" if more > 0 else "")
