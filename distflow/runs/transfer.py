"""Export and import: a run goes to a file and is recreated elsewhere, whatever its size.

Memory does not grow with the results, and by less than 200 bytes per task.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distflow.core.run import (
    UNKNOWN_SERVER,
    RunSpec,
    ServerFacts,
)
from distflow.core.run_options import KEPT_TYPES, RunOptions
from distflow.errors import RunGone, SnapshotInvalid, WrongState
from distflow.ids import check_new_run_id, new_token
from distflow.logs import get_logger
from distflow.ports.run_store import RunStore
from distflow.runs.arrivals import Arrivals
from distflow.runs.exporter import Exporter, ExportSummary
from distflow.runs.run_writer import take_back, write_expansions
from distflow.snapshot import Snapshot
from distflow.snapshot.gap import Gap, check_gap, gap_refusal
from distflow.snapshot.reader import SnapshotReader, open_snapshot
from distflow.snapshot.writer import Target, open_target
from distflow.wire.codec import (
    unpack,
)
from distflow.wire.tasks import decode_tasks

_log = get_logger("distflow")


def export_run(store: RunStore, target: Target, *, as_json: bool = False) -> ExportSummary:
    """Write a run to a snapshot file, as a consistent cut, even while it runs.

    Args:
        store: that of the run.
        target: a path or a binary stream; a path ends up with the whole file, or unchanged.
        as_json: write JSON for people, which cannot be imported; it is built in memory.

    Raises:
        RunNotFound: there is no such run.
        WrongState: the run is still being created, or was deleted in the meantime.
        InvalidInput: the target cannot be written.
    """
    if not as_json:
        with open_target(target) as stream:
            return Exporter(store, stream).write()
    summary, snapshot = _cut(store)
    text = snapshot.to_json().encode() + b"\n"
    with open_target(target) as stream:
        stream.write(text)
    return summary._replace(size=len(text))


def read_snapshot(store: RunStore, *, is_over: bool = False) -> Snapshot:
    """What an export of the run would hold now: a consistent cut, even while the run runs.

    Args:
        store: the run.
        is_over: nobody continues the run, whatever its status: only claimed tasks may still start.

    Raises:
        RunNotFound: there is no such run.
        WrongState: the run is still being created, or was deleted in the meantime.
    """
    return _cut(store, is_over=is_over)[1]


def _cut(store: RunStore, *, is_over: bool = False) -> tuple[ExportSummary, Snapshot]:
    whole = io.BytesIO()
    summary = Exporter(store, whole, is_over=is_over).write()
    return summary, Snapshot.read(SnapshotReader(whole, store.run_id))


def import_run(
    source: str | os.PathLike[str],
    make_store: Callable[[str], RunStore],
    *,
    run_id: str | None = None,
    server: ServerFacts = UNKNOWN_SERVER,
    make_undo: Callable[[str], RunStore] | None = None,
    gap: Gap = "unknown",
    without: Sequence[str] = (),
    warn: Callable[[str], object] = _log.warning,
) -> str:
    """Create a run from an exported one, with its outcomes; a resume continues it.

    If this fails midway, the run is removed again; if it is cut off, the run stays ``creating``.

    Args:
        source: the file.
        make_store: the store of a run id.
        run_id: id of the new run; None takes that of the exported run.
        server: what the new run's Redis says about itself.
        make_undo: as ``make_store``, with little patience, for removing what was written.
        gap: what becomes of ``at_most_once`` tasks that may have started since the export, if the
            exported run continued: see :data:`distflow.snapshot.gap.Gap`.
        without: tasks to ignore in the file.
        warn: called with what a person should know about the import.

    Returns:
        The run id.

    Raises:
        SnapshotInvalid: the file cannot be used, or has a gap that is refused; nothing was written.
        RunExists: there is a run of this id.
    """
    check_gap(gap)
    with open_snapshot(source) as reader:
        is_open = reader.live and reader.end.once > 0 and gap != "run"
        arrivals = Arrivals(reader, is_open=is_open, without=without)
        if arrivals.is_open and gap == "refuse":
            raise SnapshotInvalid(gap_refusal(reader.end.once))
        spec = _spec(reader, run_id, server)
        store = make_store(spec.run_id)
        operation = new_token()
        store.create_run(spec, operation)
        try:
            _fill(store, operation, reader, arrivals)
        except (RunGone, WrongState):
            # Somebody deleted it in the meantime: a run of this id is not ours to delete.
            raise
        except BaseException:
            take_back((make_undo or make_store)(spec.run_id), operation)
            raise
        for warning in arrivals.warnings():
            warn(warning)
        return spec.run_id


def _spec(reader: SnapshotReader, run_id: str | None, server: ServerFacts) -> RunSpec:
    header = reader.header
    if header.run_id is None:
        raise SnapshotInvalid(
            f"{reader.name}: was made from a mapping and has no graph, so it cannot be imported; "
            f"start its workflow from it: "
            f"`distflow submit MODULE:WORKFLOW --snapshot {reader.name}`"
        )
    run_id = check_new_run_id(str(header.run_id) if run_id is None else run_id)
    with reader.decoding():
        return RunSpec(
            run_id=run_id,
            workflow=header.workflow or "",
            params={**unpack(header.params, opaque=True)},
            origin=header.origin or "",
            options=_options(header.options),
            server=server,
            version=reader.version,
            returns=header.returns,
        )


def _options(fields: Mapping[str, Any]) -> RunOptions:
    for name in KEPT_TYPES.keys() & fields.keys():
        if not (fields[name] is None or isinstance(fields[name], KEPT_TYPES[name])):
            raise TypeError(f"option {name} is {fields[name]!r:.40}")
    return RunOptions(**fields)


def _fill(store: RunStore, operation: str, reader: SnapshotReader, arrivals: Arrivals) -> None:
    total = 0
    for chunk, (packed, _fingerprints) in enumerate(reader.graph()):
        with reader.decoding():
            tasks = decode_tasks(packed)
        store.append_tasks(operation, chunk, tasks)
        arrivals.note(tasks)
        total += len(tasks)
    with reader.decoding():
        total += write_expansions(store, operation, arrivals.expansions(), arrivals.note)
    arrivals.check_names()
    for outcomes in reader.outcomes():
        store.hydrate(operation, arrivals.translate(outcomes))
    for unknown in arrivals.take_rest():
        store.hydrate(operation, unknown)
    for notes in reader.notes():
        kept = [(name, note) for name, note in notes.items() if arrivals.keeps(name)]
        store.hydrate_notes(operation, kept)
    store.seal_run(operation, total)
