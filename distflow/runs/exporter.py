"""Exporter: reads a run as a consistent cut while it runs, and writes it to a stream."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from distflow.core.claim import Progress
from distflow.core.expansion import Expansion
from distflow.core.model import Expanded, Task, TaskResult
from distflow.core.run import Claim, RunInfo, TaskCut
from distflow.core.status import ENDED_RUNS, RunStatus, TaskStatus
from distflow.core.version import plain_options
from distflow.errors import DistflowError, LookAgain, WrongState
from distflow.ports.run_store import RunStore
from distflow.snapshot.gap import given_up, may_start
from distflow.snapshot.records import RECORD_BYTES, Header, Outcome
from distflow.snapshot.skeleton import Skeleton
from distflow.snapshot.writer import SnapshotWriter
from distflow.text import counted
from distflow.wire.as_json import iso_time
from distflow.wire.codec import decode_result, encode_result, encode_task, pack, status_of
from distflow.wire.fingerprint import fingerprint

#: Tasks that are read at one instant, at most; fewer if results are large.
CUT_TASKS = 1000

#: Tasks in the first cut, when the size of results is not known yet.
_FIRST_CUT = 100

#: By what a task is needed: a success that depends on it; one that gathers its children.
_ITSELF, _CHILDREN = 1, 2


class ExportSummary(NamedTuple):
    """What was exported: ``outcomes`` counts outcomes by status, ``size`` is in bytes."""

    run_id: str
    live: bool
    tasks: int
    outcomes: Mapping[str, int]
    superseded: int
    #: ``at_most_once`` tasks that may still start for the first time, and growing nodes that may
    #: still add some.
    once: int
    size: int


class Exporter:
    """One export: the graph, then the cut in reverse topological order, then what that lacks.

    Whatever depends on a growing node is cut before the record of its expansion is read; then come
    its children, then the node. So each outcome in the cut comes with those that it rests on.

    Args:
        store: the run.
        stream: where to write.
        is_over: nobody continues the run, whatever its status: only claimed tasks may still start.
    """

    def __init__(self, store: RunStore, stream: BinaryIO, *, is_over: bool = False) -> None:
        self._store = store
        self._is_over = is_over
        #: The version of the file is that of the run.
        self._info = store.read_info()
        self._writer = SnapshotWriter(stream, self._info.version)
        self._graph = Skeleton()
        #: Tasks that were written: the graph names no others.
        self._written = 0
        #: Records that are known to be there: none ever goes away.
        self._records: dict[str, Expansion] = {}
        #: Nodes whose expansion is in the file, by index.
        self._expanded: set[int] = set()
        #: By index, for what successes in the cut rest on: see ``_ITSELF``.
        self._needed = bytearray()
        #: Needed tasks that neither succeeded nor had a tolerated failure.
        self._lacking: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._once = 0

    def write(self) -> ExportSummary:
        """Write the export.

        Raises:
            WrongState: the run is still being created, or was deleted or restored in the meantime.
        """
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
        if self._written != len(self._graph):
            raise self._damaged(self._written, len(self._graph))
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

    # The graph

    def _write_graph(self, info: RunInfo) -> None:
        """Write what the run was created with."""
        for tasks in self._store.iter_tasks():
            self._write_tasks(tasks)
            # The next chunk is decoded while these names are bound: release this chunk first.
            del tasks
        self._records = self._store.read_expansions()
        total = self._written + sum(record.children for record in self._records.values())
        # More tasks than a moment ago are no damage; a task that is named but missing is.
        if total < info.total or self._written != len(self._graph):
            raise self._damaged(total, max(info.total, len(self._graph)))

    def _write_tasks(self, tasks: list[Task], *, tolerated: bool = False) -> array[int]:
        """Write a chunk of the graph, and return the indices of its tasks."""
        packed = pack([encode_task(task) for task in tasks])
        self._writer.write_graph(packed, [fingerprint(task) for task in tasks])
        self._written += len(tasks)
        indices = array("i", [self._graph.add(task, tolerated=tolerated) for task in tasks])
        self._needed.extend(bytes(len(self._graph) - len(self._needed)))
        return indices

    def _write_expansion(self, index: int) -> array[int]:
        """Write what a growing node has added, and return the indices of its children; none if it
        has not expanded.
        """
        node = self._graph.names[index]
        record = self._records.get(node) or self._store.read_expansion(node)
        if record is None:
            return array("i")
        stand_in = self._store.read_stand_in(record.token)
        if stand_in is None:
            raise DistflowError(
                f"run {self._info.run_id}: Redis has lost what {node!r} has added: restore its "
                "data, or delete the run"
            )
        self._records[node] = record
        self._expanded.add(index)
        self._writer.begin_expansion(node, record, stand_in)
        children = array("i")
        for number in range(record.chunks):
            tasks = self._store.read_chunk(record.token, number)
            children += self._write_tasks(tasks, tolerated=self._graph.allows_failures(index))
        if len(children) != record.children:
            raise self._damaged(len(children), record.children)
        if self._needed[index] & _CHILDREN:
            for child in children:
                self._needed[child] |= _ITSELF | _CHILDREN
        return children

    def _damaged(self, found: int, expected: int) -> DistflowError:
        return DistflowError(
            f"run {self._info.run_id}: Redis holds only {counted(found, 'task')} of a graph of "
            f"{expected}: restore its data, or delete the run"
        )

    # The cut

    def _cuts(self) -> Iterator[tuple[list[Outcome], dict[str, bytes]]]:
        """The outcomes of the tasks, and what they saved, in chunks.

        A dependency is read at the same instant as its dependents or later, and what a success
        rests on stands, unless a reopening sets a tolerated failure aside.
        """
        pending: list[int] = []
        #: What the pending tasks depend on.
        above: set[int] = set()
        size = min(_FIRST_CUT, CUT_TASKS)
        for vertex in self._order(self._graph.reversed_order()):
            if vertex >= 0:
                pending.append(vertex)
                above.update(self._graph.parents_of(vertex))
            if len(pending) >= size or (vertex < 0 and ~vertex in above):
                outcomes, notes, average = self._cut(pending)
                pending, above = [], set()
                size = max(1, min(CUT_TASKS, RECORD_BYTES // max(1, average)))
                yield outcomes, notes
        if pending:
            outcomes, notes, _average = self._cut(pending)
            yield outcomes, notes

    def _order(self, indices: Iterable[int]) -> Iterator[int]:
        """The tasks in the order of the cut. ``~node`` announces that the record of a growing node
        is read next: what depends on the node must have been cut.
        """
        for index in indices:
            if self._graph.is_growing(index):
                yield ~index
                yield from self._order(reversed(self._write_expansion(index)))
            yield index

    def _cut(self, indices: Sequence[int]) -> tuple[list[Outcome], dict[str, bytes], int]:
        """Outcomes and notes of tasks at one instant, and the average size of the two."""
        names = [self._graph.names[index] for index in indices]
        cuts = self._store.read_cut(names)
        outcomes = [self._outcome(index, cut) for index, cut in zip(indices, cuts, strict=True)]
        found = zip(names, (cut.note for cut in cuts), strict=True)
        notes = {name: note for name, note in found if note is not None}
        read = sum(len(cut.packed or b"") + len(cut.note or b"") for cut in cuts)
        known = [outcome for outcome in outcomes if outcome.packed or outcome.progress]
        return known, notes, read // len(cuts)

    def _outcome(self, index: int, cut: TaskCut) -> Outcome:
        graph, name = self._graph, self._graph.names[index]
        once = graph.is_once(index)
        # A claim's token is worth nothing in another run.
        progress = cut.progress and cut.progress._replace(token="")
        packed = self._packed_of(index, cut)
        if packed is None and once and cut.claim and (cut.claim.started or self._is_over):
            packed, progress = given_up(_progress_of(cut.claim))
        status = None if packed is None else status_of(packed)
        if status is not None:
            self._counts[status.value] += 1
        if status == TaskStatus.SUCCESS:
            for parent in graph.parents_of(index):
                follows = graph.follows(index, parent)
                self._needed[parent] |= _ITSELF if follows else _ITSELF | _CHILDREN
        elif self._needed[index] and not (
            status == TaskStatus.FAILURE and graph.is_tolerated(index)
        ):
            self._lacking.add(name)
        may_add = graph.may_add_once(index) and index not in self._expanded
        if (once or may_add) and may_start(packed):
            self._once += 1
        return Outcome(name, packed, progress)

    def _packed_of(self, index: int, cut: TaskCut) -> bytes | None:
        """The outcome of a task. A node that has expanded since its record was looked for has none
        yet: nothing in the cut rests on what it has added.
        """
        packed, name = cut.packed, self._graph.names[index]
        if not self._graph.is_growing(index):
            return packed
        data = None if packed is None else decode_result(packed, opaque=True, task=name).data
        if index in self._expanded:
            record = self._records[name]
            if not isinstance(data, Expanded) or data.token != record.token:
                raise LookAgain(
                    f"run {self._info.run_id} was restored during its export: try again"
                )
            return packed
        return None if isinstance(data, Expanded) else packed

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
        returns=info.returns,
    )


def _is_live(info: RunInfo) -> bool:
    return info.status not in ENDED_RUNS or info.counts["running"] > 0


def _progress_of(claim: Claim) -> Progress:
    return Progress(claim.attempt, claim.iteration, claim.base, claim.lost)
