"""Branches: what growing nodes have added, as a snapshot has it, and what goes away with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from distflow.core.expansion import Expansion
from distflow.core.status import TaskStatus
from distflow.errors import SnapshotInvalid
from distflow.snapshot.gap import may_start, said_names
from distflow.snapshot.records import SavedExpansion
from distflow.wire.codec import status_of, unpack

#: A task as the store has it: its fields by name.
Fields = Mapping[str, Any]


def fields_of(saved: SavedExpansion) -> Iterator[Fields]:
    """The tasks of an expansion."""
    for packed, _fingerprints in saved.chunks:
        yield from unpack(packed, opaque=True)


def find_dropped(
    expansions: Iterable[tuple[str, Iterable[Fields]]], without: Collection[str]
) -> dict[str, list[Fields]]:
    """The expansions that cannot stay without the outcomes of some tasks: those of these tasks, and
    those whose tasks belong to, or depend on, a task that goes away.

    Args:
        expansions: nodes with what they have added, in the order of their ``seq``.
        without: the tasks that are left out.

    Returns:
        Nodes with the tasks that go away.
    """
    dropped: dict[str, list[Fields]] = {}
    gone: set[str] = set()
    for node, made in expansions:
        tasks = list(made)
        if (
            node in without
            or node in gone
            or any(not gone.isdisjoint(fields.get("depends_on", ())) for fields in tasks)
        ):
            dropped[node] = tasks
            gone.update(fields["name"] for fields in tasks)
    return dropped


def refuse_started(
    dropped: Iterable[Sequence[Fields]],
    results: Mapping[str, bytes],
    without: Collection[str] = (),
    *,
    is_open: bool = False,
) -> None:
    """Refuse to drop children that may run at most once and had started: their node would make
    them again, and they would run a second time.

    Args:
        dropped: the tasks that go away, by node.
        results: encoded TaskResults by task.
        without: tasks that somebody names to be left out.
        is_open: they may have started since, too.
    """
    started = [
        fields["name"]
        for made in dropped
        for fields in made
        if fields.get("effects") == "at_most_once"
        and fields["name"] not in without
        and (is_open or not may_start(results.get(fields["name"])))
    ]
    if started:
        them = "it" if len(started) == 1 else "them"
        raise SnapshotInvalid(
            f"{said_names(started)} may run at most once and {'may have' if is_open else 'had'} "
            f"started, and would run again, since the node that added {them} is to run again: find "
            f"out what became of {them}; to run {them} again anyway, leave {them} out as well"
        )


class PackedReader:
    """Reads outcomes and expansions that are in memory, as gathering asks for them.

    Args:
        results: encoded TaskResults by task.
        expansions: nodes with their records, and what they stand for, encoded.
    """

    def __init__(
        self, results: Mapping[str, bytes], expansions: Mapping[str, tuple[Expansion, bytes]]
    ) -> None:
        self._results = results
        self._expansions = expansions

    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]:
        """The outcomes of tasks."""
        return [self._results.get(name) for name in names]

    def fetch_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        """Their statuses."""
        return [None if one is None else status_of(one) for one in self.fetch_results(names)]

    def fetch_expansion(self, node: str) -> tuple[Expansion, bytes] | None:
        """What a node has added, and what it stands for."""
        return self._expansions.get(node)
