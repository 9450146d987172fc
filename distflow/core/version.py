"""Versions of a run: which there are, and what makes a run one of version 2.

A run has the lowest version that can say what it says, so that an older distflow may go on with it.
Version 1 is that of release 0.1, and is frozen: ``tests/released`` compares with that release.
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

#: The fields that version 1 does not know, by what has them. A run is of version 2 where one of
#: them says more than its default. Whoever writes version 1 leaves them out.
ADDED_FIELDS: Mapping[type, tuple[str, ...]] = {
    Task: tuple(option.name for option in TASK_OPTIONS if option.since > FIRST),
    Retry: ("on", "not_on", "delays"),
    Loop: ("sees",),
    RunOptions: tuple(option.name for option in RUN_OPTIONS if option.since > FIRST),
}

#: Of each, one whose optional fields say nothing that version 1 does not: a Loop is one of 0.1.
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
    """The parts of tasks that may say what version 1 does not know. Many tasks share one Retry or
    Loop: it is asked once.
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
    """A run's options as a snapshot file says them: without those that version 1 does not know and
    that say nothing.
    """
    added = ADDED_FIELDS[RunOptions]
    return {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if field.name not in added
        or getattr(options, field.name) != getattr(_PLAIN[RunOptions], field.name)
    }
