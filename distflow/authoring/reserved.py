"""Names that belong to the children of growing nodes, and that no other task may have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from distflow.core.model import Task
from distflow.errors import Problem


def find_reserved(tasks: Iterable[Task]) -> list[Problem]:
    """A problem for each task whose name a child of one of the growing nodes could get; linear in
    the length of the names.
    """
    listed = list(tasks)
    growing = {task.name for task in listed if task.grow is not None}
    if not growing:
        return []
    return [
        Problem(
            "reserved_name",
            task.name,
            f"task {task.name!r}: names that begin so are those of the children of {node!r}, "
            "which grows the graph; give one of them another name",
        )
        for task in listed
        for node in _nodes_above(task.name)
        if node in growing
    ]


def _nodes_above(name: str) -> Iterator[str]:
    """The names of the growing nodes that could have a child of this name."""
    for position, letter in enumerate(name):
        if letter in "[.":
            yield name[:position]
