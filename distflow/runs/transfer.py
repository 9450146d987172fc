"""Export and import: a run goes to a file and is recreated elsewhere, whatever its size.

Memory does not grow with the results, and by less than 200 bytes per task.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from distflow.core.claim import Progress
from distflow.core.model import TaskResult
from distflow.core.run import (
    UNKNOWN_SERVER,
    Claim,
    RunInfo,
    RunSpec,
    ServerFacts,
    TaskCut,
)
from distflow.core.run_options import KEPT_TYPES, RunOptions
from distflow.core.status import ENDED_RUNS, RunStatus, TaskStatus
from distflow.core.version import plain_options
from distflow.errors import DistflowError, RunGone, SnapshotInvalid, WrongState
from distflow.ids import check_new_run_id, new_token
from distflow.logs import get_logger
from distflow.ports.run_store import RunStore
from distflow.runs.arrivals import Arrivals
from distflow.runs.run_writer import take_back
from distflow.snapshot import Snapshot
from distflow.snapshot.gap import Gap, check_gap, gap_refusal, given_up, may_start
from distflow.snapshot.reader import SnapshotReader, open_snapshot
from distflow.snapshot.records import RECORD_BYTES, Header, Outcome
from distflow.snapshot.skeleton import Skeleton
from distflow.snapshot.writer import SnapshotWriter, Target, open_target
from distflow.text import counted
from distflow.wire.as_json import iso_time
from distflow.wire.codec import (
    encode_result,
    encode_task,
    pack,
    status_of,
    unpack,
)
from distflow.wire.fingerprint import fingerprint
from distflow.wire.tasks import decode_tasks

_log = get_logger("distflow")

#: Tasks that are read at one instant, at most; fewer if results are large.
CUT_TASKS = 1000

#: Tasks in the first cut, when the size of results is not known yet.
_FIRST_CUT = 100


class ExportSummary(NamedTuple):
    """What was exported: ``outcomes`` counts outcomes by status, ``size`` is in bytes."""

    run_id: str
    live: bool
    tasks: int
    outcomes: Mapping[str, int]
    superseded: int
    #: ``at_most_once`` tasks that may still start for the first time.
    once: int
    size: int


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
            return _Export(store, stream).write()
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
    summary = _Export(store, whole, is_over=is_over).write()
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
        arrivals = Arrivals(is_open=is_open, without=without)
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
    arrivals.check_names()
    for outcomes in reader.outcomes():
        store.hydrate(operation, arrivals.translate(outcomes))
    for unknown in arrivals.take_rest():
        store.hydrate(operation, unknown)
    for notes in reader.notes():
        kept = [(name, note) for name, note in notes.items() if name not in arrivals.without]
        store.hydrate_notes(operation, kept)
    store.seal_run(operation, total)


class _Export:
    """One export: the graph, then the cut in reverse topological order, then what that lacks."""

    def __init__(self, store: RunStore, stream: BinaryIO, *, is_over: bool = False) -> None:
        self._store = store
        self._is_over = is_over
        #: The version of the file is that of the run.
        self._info = store.read_info()
        self._writer = SnapshotWriter(stream, self._info.version)
        self._graph = Skeleton()
        #: By index: 1 for a task that a success in the cut rests on.
        self._needed = bytearray()
        #: Needed tasks that neither succeeded nor had a tolerated failure.
        self._lacking: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._once = 0

    def write(self) -> ExportSummary:
        info = self._info
        if info.status == RunStatus.CREATING:
            raise WrongState(
                f"run {info.run_id} is still being created: export it once it runs, or, if its "
                f"creation was cut off, remove it with `distflow delete {info.run_id}`"
            )
        self._writer.write_header(_header(info, live=_is_live(info) and not self._is_over))
        self._write_graph(info)
        for outcomes, notes in self._cuts():
            self._writer.write_outcomes(outcomes)
            self._writer.write_notes(notes)
        superseded = self._superseded()
        if superseded:
            self._writer.write_superseded(superseded)
        after = self._store.read_info()
        if (after.origin, after.created_at) != (info.origin, info.created_at):
            raise WrongState(f"run {info.run_id} was deleted during its export: export again")
        # A resume may have begun and ended in between.
        live = _is_live(info) or _is_live(after) or after.epoch != info.epoch
        live = live and not self._is_over
        end = self._writer.finish(live=live, once=self._once)
        return ExportSummary(
            info.run_id,
            live,
            end.tasks,
            dict(self._counts),
            end.superseded,
            end.once,
            self._writer.size,
        )

    def _write_graph(self, info: RunInfo) -> None:
        total = 0
        for tasks in self._store.iter_tasks():
            packed = pack([encode_task(task) for task in tasks])
            self._writer.write_graph(packed, [fingerprint(task) for task in tasks])
            for task in tasks:
                self._graph.add(task)
            total += len(tasks)
            # The next chunk is decoded while these names are bound: release this chunk first.
            del tasks, packed
        self._needed = bytearray(len(self._graph))
        # More tasks than a moment ago are no damage; a task that is named but missing is.
        if total < info.total or total != len(self._graph):
            raise DistflowError(
                f"run {info.run_id}: Redis holds only {counted(total, 'task')} of a graph of "
                f"{max(info.total, len(self._graph))}: restore its data, or delete the run"
            )

    def _cuts(self) -> Iterator[tuple[list[Outcome], dict[str, bytes]]]:
        """The outcomes of the tasks, and what they saved, in chunks.

        A dependency is read at the same instant as its dependents or later, and what a success
        rests on stands, unless a reopening sets a tolerated failure aside.
        """
        order = self._graph.reversed_order()
        position, size = 0, min(_FIRST_CUT, CUT_TASKS)
        while position < len(order):
            indices = order[position : position + size]
            names = [self._graph.names[index] for index in indices]
            cuts = self._store.read_cut(names)
            position += size
            outcomes = [self._outcome(index, cut) for index, cut in zip(indices, cuts, strict=True)]
            found = zip(names, (cut.note for cut in cuts), strict=True)
            notes = {name: note for name, note in found if note is not None}
            read = sum(len(cut.packed or b"") + len(cut.note or b"") for cut in cuts)
            average = read // len(cuts)
            size = max(1, min(CUT_TASKS, RECORD_BYTES // max(1, average)))
            yield [known for known in outcomes if known.packed or known.progress], notes

    def _outcome(self, index: int, cut: TaskCut) -> Outcome:
        once = self._graph.is_once(index)
        # A claim's token is worth nothing in another run.
        progress = cut.progress and cut.progress._replace(token="")
        packed = cut.packed
        if packed is None and once and cut.claim and (cut.claim.started or self._is_over):
            packed, progress = given_up(_progress_of(cut.claim))
        status = None if packed is None else status_of(packed)
        if status is not None:
            self._counts[status.value] += 1
        if status == TaskStatus.SUCCESS:
            for parent in self._graph.parents_of(index):
                self._needed[parent] = 1
        elif self._needed[index] and not (
            status == TaskStatus.FAILURE and self._graph.is_tolerated(index)
        ):
            self._lacking.add(self._graph.names[index])
        if once and may_start(packed):
            self._once += 1
        return Outcome(self._graph.names[index], packed, progress)

    def _superseded(self) -> dict[str, bytes]:
        """For each lacking task, the latest failure that a reopening has set aside."""
        found: dict[str, bytes] = {}
        if not self._lacking:
            return found
        for entry in self._store.read_history():
            set_aside = entry.kind == "set_aside" and entry.status == TaskStatus.FAILURE
            if set_aside and entry.task in self._lacking:
                found[entry.task] = entry.packed or encode_result(
                    TaskResult(
                        TaskStatus.FAILURE,
                        message=f"set aside by a resume; too large for the history: {entry.note}",
                        attempt=entry.attempt,
                    )
                )
        return found


def _header(info: RunInfo, *, live: bool) -> Header:
    return Header(
        run_id=info.run_id,
        workflow=info.workflow,
        params=pack(dict(info.params)),
        origin=info.origin,
        options=plain_options(info.options),
        generation=info.generation,
        live=live,
        exported_at=iso_time(info.as_of),
    )


def _is_live(info: RunInfo) -> bool:
    return info.status not in ENDED_RUNS or info.counts["running"] > 0


def _progress_of(claim: Claim) -> Progress:
    return Progress(claim.attempt, claim.iteration, claim.base, claim.lost)
