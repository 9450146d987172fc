"""Snapshot: what is known to be done, as a mapping that decodes results on access."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from functools import cached_property
from typing import Any, TypeVar

from distflow.authoring.imports import did_you_mean
from distflow.core.claim import Progress
from distflow.core.model import TaskResult
from distflow.core.version import FIRST
from distflow.errors import Incomplete, SnapshotInvalid
from distflow.given import check_mapping, check_text
from distflow.snapshot.branches import (
    Fields,
    PackedReader,
    fields_of,
    find_dropped,
    refuse_started,
)
from distflow.snapshot.gap import may_add_once, may_start
from distflow.snapshot.given_results import pack_given
from distflow.snapshot.reader import SnapshotReader, open_snapshot
from distflow.snapshot.records import Chunk, Header, Outcome, SavedExpansion
from distflow.snapshot.writer import SnapshotWriter, Target, open_target
from distflow.text import counted
from distflow.wire.as_json import json_text, to_plain
from distflow.wire.codec import decode_result, decode_task, unpack
from distflow.wire.gathering import StandIn, gather, gather_result

_V = TypeVar("_V")


class Snapshot(Mapping[str, TaskResult]):
    """The outcomes of tasks by name. They are kept encoded; each access decodes one.

    Args:
        results: TaskResults, or dicts with their fields, by task name. ``pending`` ones are left
            out.
        origin: the origin of the run that they come from, if known: ``ctx.key`` of tasks is derived
            from it.
        fingerprints: fingerprints of the tasks, by name: see :mod:`distflow.wire.fingerprint`.

    Raises:
        SnapshotInvalid: a result is not a TaskResult, or its data cannot be encoded.
    """

    def __init__(
        self,
        results: Mapping[str, TaskResult | Mapping[str, Any]] | None = None,
        *,
        origin: str | None = None,
        fingerprints: Mapping[str, str] | None = None,
    ) -> None:
        if results is not None and not isinstance(results, Mapping):
            raise SnapshotInvalid(
                f"a snapshot is made of TaskResults by task name, not of {results!r:.60}; "
                "Snapshot.load reads a file"
            )
        if origin is not None:
            check_text("origin", origin)
        if fingerprints is not None:
            check_mapping("fingerprints", fingerprints, "what tasks were, by name")
        self._packed = pack_given(results or {})
        self._header = Header(origin=origin)
        self._version = FIRST
        self._run_id: str | None = None
        self._workflow: str | None = None
        self._fingerprints = dict(fingerprints or {})
        self._progress: dict[str, Progress] = {}
        self._notes: dict[str, bytes] = {}
        self._superseded: dict[str, bytes] = {}
        #: Encoded tasks and fingerprints by chunk; empty if it is not of a run.
        self._graph: list[Chunk] = []
        #: What growing nodes have added, in the order of their ``seq``.
        self._expansions: dict[str, SavedExpansion] = {}
        self._live = False
        self._once = 0

    @classmethod
    def from_packed(
        cls,
        packed: Mapping[str, bytes],
        *,
        origin: str | None = None,
        fingerprints: Mapping[str, str] | None = None,
        notes: Mapping[str, bytes] | None = None,
        expansions: Mapping[str, SavedExpansion] | None = None,
    ) -> Snapshot:
        """A snapshot of encoded TaskResults, notes and expansions, which are not checked."""
        snapshot = cls(origin=origin, fingerprints=fingerprints)
        snapshot._packed = dict(packed)
        snapshot._notes = dict(notes or {})
        snapshot._expansions = dict(expansions or {})
        return snapshot

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Snapshot:
        """Read a file that :meth:`dump` or ``distflow export`` wrote.

        Raises:
            SnapshotInvalid: it cannot be used; the message names it, and what to do.
        """
        with open_snapshot(path) as reader:
            return cls.read(reader)

    @classmethod
    def read(cls, reader: SnapshotReader) -> Snapshot:
        """Take a whole snapshot from an open file."""
        snapshot = cls()
        snapshot._header, snapshot._version = reader.header, reader.version
        snapshot._run_id, snapshot._workflow = reader.header.run_id, reader.header.workflow
        snapshot._live, snapshot._once = reader.live, reader.end.once
        snapshot._fingerprints = reader.fingerprints()
        snapshot._graph = list(reader.graph())
        for saved in reader.expansions():
            snapshot._expansions[saved.node] = saved._replace(chunks=list(saved.chunks))
        for packed, fingerprints in snapshot._chunks():
            with reader.decoding():
                names = [fields["name"] for fields in unpack(packed, opaque=True)]
                snapshot._fingerprints.update(zip(names, fingerprints, strict=True))
        for chunk in reader.outcomes():
            for known in chunk:
                if known.packed is not None:
                    snapshot._packed[known.task] = known.packed
                if known.progress is not None:
                    snapshot._progress[known.task] = known.progress
        for notes in reader.notes():
            snapshot._notes.update(notes)
        snapshot._superseded = reader.superseded()
        return snapshot

    @property
    def run_id(self) -> str | None:
        """The id of its run."""
        return self._run_id

    @property
    def origin(self) -> str | None:
        """The origin of its run, from which ``ctx.key`` of tasks is derived."""
        return self._header.origin

    @property
    def live(self) -> bool:
        """Whether its run had not ended when it was exported."""
        return self._live

    @property
    def once(self) -> int:
        """How many ``at_most_once`` tasks had not started: in a live run they may have since."""
        return self._once

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """The fingerprints of the tasks, by name."""
        return self._fingerprints

    @property
    def progress(self) -> Mapping[str, Progress]:
        """The progress of tasks that are not done, by name."""
        return self._progress

    @property
    def notes(self) -> Mapping[str, bytes]:
        """What tasks had saved with ``ctx.save``, encoded, by name."""
        return self._notes

    @property
    def expansions(self) -> Mapping[str, SavedExpansion]:
        """What growing nodes had added to the run, by node, in the order of their ``seq``."""
        return self._expansions

    @property
    def superseded(self) -> Mapping[str, bytes]:
        """Encoded tolerated failures that were set aside, but that a success rests on."""
        return self._superseded

    def depends_on(self, name: str) -> frozenset[str] | None:
        """The dependencies that a task had; None if not known."""
        known = self._nodes.get(name)
        return None if known is None else frozenset(known.get("depends_on", ()))

    @cached_property
    def _nodes(self) -> dict[str, dict[str, Any]]:
        """The fields of the tasks of its run, by name."""
        nodes: dict[str, dict[str, Any]] = {}
        for packed, _fingerprints in self._chunks():
            nodes |= {fields["name"]: fields for fields in unpack(packed, opaque=True)}
        return nodes

    def _chunks(self) -> Iterator[Chunk]:
        """The whole graph."""
        yield from self._graph
        for saved in self._expansions.values():
            yield from saved.chunks

    def without(self, *names: str) -> Snapshot:
        """A snapshot without the outcomes of some tasks: they are evaluated again. The outcomes of
        their dependents stay.

        Raises:
            SnapshotInvalid: it does not have one of these tasks.
        """
        for name in names:
            if name not in self and name not in self._fingerprints and name not in self._notes:
                known = {*self, *self._fingerprints}
                raise SnapshotInvalid(
                    f"the snapshot has no task {name!r}{did_you_mean(name, known)}"
                )
        dropped = find_dropped(self._made(), names)
        children = [fields["name"] for made in dropped.values() for fields in made]
        refuse_started(dropped.values(), self._packed, names)
        left_out = {*names, *dropped, *children}
        return self._changed(
            _once=self._once + sum(map(self._would_start, left_out - set(children))),
            _packed=_leave_out(self._packed, left_out),
            _progress=_leave_out(self._progress, left_out),
            _notes=_leave_out(self._notes, left_out),
            _superseded=_leave_out(self._superseded, left_out),
            _expansions=_leave_out(self._expansions, dropped),
            _fingerprints=_leave_out(self._fingerprints, set(children)),
        )

    def _made(self) -> Iterator[tuple[str, Iterator[Fields]]]:
        """Growing nodes with what they have added."""
        return ((node, fields_of(saved)) for node, saved in self._expansions.items())

    def _changed(self, **attributes: Any) -> Snapshot:
        other = copy(self)
        for worked_out in ("_nodes", "_reader"):
            vars(other).pop(worked_out, None)
        vars(other).update(attributes)
        return other

    def _would_start(self, name: str) -> bool:
        """Whether an at-most-once task would start if only its outcome were missing, or could be
        added.
        """
        if name not in self._nodes:
            return False
        task = decode_task(self._nodes[name])
        once = task.effects == "at_most_once" or may_add_once(task)
        return once and not may_start(self._packed.get(name))

    def with_origin(self, origin: str) -> Snapshot:
        """The same snapshot, with this origin."""
        return self._changed(_header=self._header._replace(origin=origin))

    def dependents_of(self, names: Iterable[str]) -> list[str]:
        """The tasks with an outcome that stands and a direct dependency among these."""
        wanted = frozenset(names)
        return [
            name
            for name in self
            if wanted & (self.depends_on(name) or frozenset()) and not may_start(self._packed[name])
        ]

    def packed(self, name: str) -> bytes:
        """The encoded TaskResult of a task.

        Raises:
            KeyError: there is none.
        """
        return self._packed[name]

    def __getitem__(self, name: str) -> TaskResult:
        packed = self._packed[name]
        # Of a growing node whose children have not all ended, the data say only how many they are.
        with suppress(Incomplete):
            if name in self._expansions:
                return gather_result(name, packed, self._reader)
        return decode_result(packed, task=name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, name: object) -> bool:
        return name in self._packed

    def __repr__(self) -> str:
        of = f" of run {self.run_id}" if self.run_id else ""
        return f"<Snapshot{of}: {counted(len(self), 'outcome')}>"

    def dump(self, path: Target) -> None:
        """Write it to a file, or to a binary stream.

        The export of a run stays importable. A snapshot made from a mapping has no graph: its file
        can start a new run (``--snapshot``), but cannot be imported.

        Raises:
            InvalidInput: the file cannot be written; an existing file is unchanged.
        """
        with open_target(path) as stream:
            writer = SnapshotWriter(stream, self._version)
            writer.write_header(self._header)
            for packed, fingerprints in self._graph:
                writer.write_graph(packed, fingerprints)
            for saved in self._expansions.values():
                writer.begin_expansion(saved.node, saved.record, saved.stand_in)
                for packed, fingerprints in saved.chunks:
                    writer.write_graph(packed, fingerprints)
            if not self._graph and self._fingerprints:
                writer.write_fingerprints(self._fingerprints)
            names = list(self._packed)
            names += [name for name in self._progress if name not in self._packed]
            writer.write_outcomes(
                Outcome(name, self._packed.get(name), self._progress.get(name)) for name in names
            )
            writer.write_notes(self._notes)
            if self._superseded:
                writer.write_superseded(self._superseded)
            writer.finish(live=self._live, once=self._once)

    def to_json(self) -> str:
        """One JSON document, for reading: it cannot be loaded or imported."""
        header = self._header
        document = {
            "format": "distflow-snapshot",
            "version": self._version,
            "run_id": self._run_id,
            "workflow": self._workflow,
            "live": self._live,
            "exported_at": header.exported_at,
            "origin": header.origin,
            "generation": header.generation,
            "params": _plain(header.params),
            "results": {name: self._plain_result(name) for name in self._packed},
            "expansions": {
                node: {
                    "kind": "map"
                    if StandIn.decode(saved.stand_in, opaque=True).names is None
                    else "plan",
                    "children": [fields["name"] for fields in fields_of(saved)],
                }
                for node, saved in self._expansions.items()
            },
            "superseded": {name: _plain(packed) for name, packed in self._superseded.items()},
            "progress": {name: known._asdict() for name, known in self._progress.items()},
            "saved": {name: _plain(note) for name, note in self._notes.items()},
        }
        if not self._expansions:
            del document["expansions"]
        return json_text(document)

    def _plain_result(self, name: str) -> Any:
        """A result for reading; that of a growing node has what it stands for, as far as there is
        something.
        """
        packed = self._packed[name]
        plain = _plain(packed)
        if name in self._expansions:
            with suppress(Incomplete):
                plain["data"] = to_plain(gather(name, packed, self._reader, opaque=True))
                return plain
            plain["data"] = None
        return plain

    @cached_property
    def _reader(self) -> PackedReader:
        known = {node: (saved.record, saved.stand_in) for node, saved in self._expansions.items()}
        return PackedReader(self._packed, known)


def _leave_out(known: Mapping[str, _V], names: Collection[str]) -> dict[str, _V]:
    return {name: value for name, value in known.items() if name not in names}


def _plain(packed: bytes) -> Any:
    # Opaque: a person must be able to read results of types that only the user's modules register.
    return to_plain(unpack(packed, opaque=True))
