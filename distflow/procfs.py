"""The processes of this host, as Linux lists them under ``/proc``; elsewhere there are none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

#: The states of a process that has ended and waits for its parent to notice.
_DEAD = ("Z", "X")

_OWN_MEMORY = Path("/proc/self/statm")
_OWN_FILES = "/proc/self/fd"


class Process(NamedTuple):
    """A process that runs, with the ids of its process group and its session."""

    pid: int
    group: int
    session: int


def iter_processes() -> Iterator[Process]:
    """Every process that has not ended."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The command's name, in parentheses, may itself hold spaces and parentheses.
            state, _parent, group, session = (
                entry.read_text(errors="replace").rpartition(")")[2].split()[:4]
            )
            if state not in _DEAD:
                yield Process(int(entry.parent.name), int(group), int(session))


def resident_bytes() -> int:
    """The memory that this process has in use; 0 where the host does not say."""
    try:
        pages = int(_OWN_MEMORY.read_bytes().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def count_descriptors() -> int:
    """How many descriptors this process has open; 0 where the host does not say."""
    try:
        return len(os.listdir(_OWN_FILES))  # noqa: PTH208 - names alone: a Path for each takes long
    except OSError:
        return 0
