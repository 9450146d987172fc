"""The events that can be listened to: their names, when each is told, and what it carries."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class EventKind(StrEnum):
    """The name of an event: what ``on`` takes, and the ``kind`` of a notice."""

    WORKFLOW_START = "workflow_start"
    WORKFLOW_END = "workflow_end"
    TASK_START = "task_start"
    TASK_END = "task_end"
    TASK_SKIPPED = "task_skipped"
    TASK_RETRY = "task_retry"
    TASK_UNKNOWN = "task_unknown"
    TASK_RESOLVED = "task_resolved"
    REPAIR = "repair"
    WARNING = "warning"


class Meaning(NamedTuple):
    """When an event is told, and the fields of its notice that say more.

    Every notice has ``kind``, ``run_id``, ``at`` and ``simulated`` as well.
    """

    told: str
    carries: tuple[str, ...]


_ENDED = ("task", "status", "attempt", "worker", "duration", "message", "result")

#: The one table of events: callbacks are checked by it, and the reference shows it.
VOCABULARY: Mapping[EventKind, Meaning] = {
    EventKind.WORKFLOW_START: Meaning("a coordinator begins to lead the run", ("message",)),
    EventKind.WORKFLOW_END: Meaning("the run has ended, or stands still", ("status",)),
    EventKind.TASK_START: Meaning(
        "an attempt calls the task's function", ("task", "status", "attempt", "worker")
    ),
    EventKind.TASK_END: Meaning("a task has succeeded, failed or was cancelled", _ENDED),
    EventKind.TASK_SKIPPED: Meaning("a task was skipped", _ENDED),
    EventKind.TASK_RETRY: Meaning(
        "a task runs again later: a retry, or the next iteration of a loop",
        ("task", "status", "attempt", "worker", "duration", "message"),
    ),
    EventKind.TASK_UNKNOWN: Meaning("nobody knows how a started task ended", _ENDED),
    EventKind.TASK_RESOLVED: Meaning(
        "an unknown task was decided", ("task", "status", "worker", "message", "result")
    ),
    EventKind.REPAIR: Meaning("something was lost, and repaired", ("message",)),
    EventKind.WARNING: Meaning(
        "something needs a person's attention", ("task", "status", "worker", "message")
    ),
}

#: What callbacks may be registered for.
EVENTS = tuple(kind.value for kind in EventKind)
