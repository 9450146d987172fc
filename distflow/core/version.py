"""Versions of runs: which exist, and what makes a run one of version 2.

A run has the lowest version that can express it, so that an older distflow can continue it. Version
1 is that of release 0.1 and is frozen: ``tests/released`` compares with that release.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from distflow.core.claim import READ_VERSIONS
from distflow.core.model import Loop, Retry, Task
from distflow.core.options import TASK_OPTIONS
from distflow.core.run_options import RUN_OPTIONS, RunOptions

FIRST, NEWEST = READ_VERSIONS[0], READ_VERSIONS[-1]

#: The fields that version 1 does not know, by their class. A run is of version 2 if one of them
#: differs from its default. Writers of version 1 leave them out.
ADDED_FIELDS: Mapping[type, tuple[str, ...]] = {
    Task: (*(option.name for option in TASK_OPTIONS if option.since > FIRST), "grow"),
    Retry: ("on", "not_on", "delays"),
    Loop: ("sees",),
    RunOptions: tuple(option.name for option in RUN_OPTIONS if option.since > FIRST),
}

#: One instance per class whose optional fields are those of version 1: the Loop is one of 0.1.
_PLAIN: Mapping[type, Any] = {
    Task: Task("", ""),
    Retry: Retry(),
    Loop: Loop("", 1, sees="data"),
    RunOptions: RunOptions(),
}


def run_version(tasks: Iterable[Task], options: RunOptions) -> int:
    """The lowest version that a run of these tasks and options can have."""
    if _says_more(options):
        return NEWEST
    more = any(_says_more(part) for part in _find_parts(tasks))
    return NEWEST if more else FIRST


def _find_parts(tasks: Iterable[Task]) -> Iterator[Any]:
    """The parts of tasks that may have fields unknown to version 1. Many tasks share one Retry or
    Loop, so each is checked once.
    """
    if not any(ADDED_FIELDS[kind] for kind in (Task, Retry, Loop)):
        return
    looks_at_tasks = bool(ADDED_FIELDS[Task])
    seen: set[int] = {id(None)}
    for task in tasks:
        if looks_at_tasks:
            yield task
        for part in (task.retry, task.loop):
            if id(part) not in seen:
                seen.add(id(part))
                yield part


def _says_more(part: Any) -> bool:
    kind = type(part)
    return any(getattr(part, name) != getattr(_PLAIN[kind], name) for name in ADDED_FIELDS[kind])


def plain_options(options: RunOptions) -> dict[str, Any]:
    """A run's options as written to a snapshot file: without those that version 1 does not know and
    that have their default.
    """
    added = ADDED_FIELDS[RunOptions]
    return {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if field.name not in added
        or getattr(options, field.name) != getattr(_PLAIN[RunOptions], field.name)
    }
