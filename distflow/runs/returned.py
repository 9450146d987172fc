"""Returned: what the workflow of a run has returned, with the results of its tasks filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distflow.core.expansion import Expansion
from distflow.core.model import fill_refs, find_refs
from distflow.core.run import RunInfo
from distflow.core.status import ENDED_RUNS, RunStatus, TaskStatus
from distflow.errors import Incomplete, RunFailed, WrongState
from distflow.ports.run_store import RunStore
from distflow.runs.survey import why_of
from distflow.wire.as_json import to_plain
from distflow.wire.codec import decode_result, unpack
from distflow.wire.gathering import gather

#: Names whose results are read at a time.
_CHUNK = 500

#: Failures that are searched for the first one.
_LOOKED_FAILURES = 1000


class StoreReader:
    """Reads a run as gathering asks for it.

    Args:
        store: the run.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]:
        """The outcomes of tasks."""
        return self._store.read_results(names)

    def fetch_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        """Their statuses."""
        return self._store.read_statuses(names)

    def fetch_expansion(self, node: str) -> tuple[Expansion, bytes] | None:
        """What a node has added, and what it stands for."""
        record = self._store.read_expansion(node)
        stand_in = record and self._store.read_stand_in(record.token)
        return None if record is None or stand_in is None else (record, stand_in)


def read_returned(store: RunStore, info: RunInfo, *, opaque: bool = False) -> Any:
    """What the workflow of a run that has succeeded returned; None if it returned nothing.

    A task that did not succeed, but whose failure is tolerated or that was skipped, stands for
    None.

    Args:
        store: the run.
        info: the run, read before.
        opaque: leave values of types that are not registered here as they are.

    Raises:
        Incomplete: a child of a mapped or planned node has no result to return.
        NotEncodable: a value is of a type that is not registered here.
    """
    if info.returns is None:
        return None
    template = unpack(info.returns, opaque=opaque)
    names = list(dict.fromkeys(ref.task for ref in find_refs(template)))
    reader = StoreReader(store)
    data: dict[str, Any] = {}
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        for name, packed in zip(chunk, store.read_results(chunk), strict=True):
            data[name] = None if packed is None else gather(name, packed, reader, opaque=opaque)
    return fill_refs(template, data)


def returned_document(store: RunStore, info: RunInfo) -> Any:
    """What the workflow returned, as JSON can say it; null while there is nothing to return."""
    if info.status != RunStatus.SUCCESS:
        return None
    try:
        return to_plain(read_returned(store, info, opaque=True))
    except Incomplete:
        return None


def unreturned(store: RunStore, info: RunInfo) -> RunFailed | WrongState:
    """Why a run that stands still has no result: the error to raise."""
    run_id, status = info.run_id, info.status
    if status not in ENDED_RUNS:
        return WrongState(
            f"run {run_id} is {status}, so it has no result yet: continue it with "
            f"`distflow resume {run_id}`"
        )
    if status == RunStatus.BLOCKED:
        unknown = store.read_troubles(1).unknown
        what = f"task {unknown[0]!r} is unknown: " if unknown else ""
        return RunFailed(
            f"run {run_id} is blocked: {what}decide what became of it, see "
            f"`distflow status {run_id}`"
        )
    first = _find_first(store)
    if first is None:
        reason = f": {info.reason}" if info.reason and info.reason != status else ""
        return RunFailed(f"run {run_id} is {status}{reason}; see `distflow status {run_id}`")
    name, why = first
    return RunFailed(
        f"run {run_id} is {status}: task {name!r} failed{f': {why}' if why else ''}; see "
        f"`distflow show {run_id} {name}`"
    )


def _find_first(store: RunStore) -> tuple[str, str] | None:
    """The failure that came first, and why."""
    names = store.read_troubles(_LOOKED_FAILURES).failed
    found: list[tuple[float, str, str]] = []
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        for name, packed in zip(chunk, store.read_results(chunk), strict=True):
            if packed is not None:
                result = decode_result(packed, opaque=True, task=name)
                ended = result.metrics.end_time if result.metrics else float("inf")
                found.append((ended, name, why_of(result)))
    return min(found)[1:] if found else None
