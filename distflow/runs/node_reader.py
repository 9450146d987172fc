"""A growing node as ``show`` tells of it: its children by status, and what it stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from distflow.core.status import RUNNING, TaskStatus
from distflow.errors import Incomplete
from distflow.ports.run_store import RunStore
from distflow.runs.returned import StoreReader
from distflow.runs.tallies import read_children, read_statuses
from distflow.wire.as_json import to_plain
from distflow.wire.gathering import gather


class GrownNode(NamedTuple):
    """A node that has expanded.

    ``counts`` are its direct children by status, with their ``total``; ``value`` is what it stands
    for, as JSON can say it, None until all have ended well. ``missing`` says what is missing.
    """

    counts: Mapping[str, int]
    value: Any
    missing: str = ""


def read_node(store: RunStore, node: str, packed: bytes) -> GrownNode | None:
    """Read a node; None if it has not expanded.

    Args:
        store: the run.
        node: its name.
        packed: its encoded outcome.
    """
    children = read_children(store, node)
    if children is None:
        return None
    names = children.names()
    claims = store.read_claims()
    # The claims are read first: a child that ends in between is found among the outcomes.
    ended = dict(zip(names, read_statuses(store, names), strict=True))
    by_status = Counter(
        status.value if status else RUNNING if name in claims else TaskStatus.PENDING.value
        for name, status in ended.items()
    )
    counts = {"total": len(names), **by_status}
    try:
        value = to_plain(gather(node, packed, StoreReader(store), opaque=True))
    except Incomplete as error:
        return GrownNode(counts, None, str(error))
    return GrownNode(counts, value)
