"""Snapshot: what is known to be done, as a mapping that decodes results on access."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import copy
from functools import cached_property
from typing import Any, TypeVar

from distflow.authoring.imports import did_you_mean
from distflow.core.claim import Progress
from distflow.core.model import Metrics, TaskResult
from distflow.core.status import TaskStatus
from distflow.core.version import FIRST
from distflow.errors import DistflowError, SnapshotInvalid
from distflow.given import check_mapping, check_text
from distflow.snapshot.gap import may_start
from distflow.snapshot.reader import SnapshotReader, open_snapshot
from distflow.snapshot.records import Header, Outcome
from distflow.snapshot.writer import SnapshotWriter, Target, open_target
from distflow.text import counted
from distflow.wire.as_json import json_text, to_plain
from distflow.wire.codec import decode_result, encode_result, unpack

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
        self._packed = {
            name: _encode(name, value)
            for name, value in (results or {}).items()
            if not _is_pending(value)
        }
        self._header = Header(origin=origin)
        self._version = FIRST
        self._run_id: str | None = None
        self._workflow: str | None = None
        self._fingerprints = dict(fingerprints or {})
        self._progress: dict[str, Progress] = {}
        self._notes: dict[str, bytes] = {}
        self._superseded: dict[str, bytes] = {}
        #: Encoded tasks and fingerprints by chunk; empty if it is not of a run.
        self._graph: list[tuple[bytes, list[str]]] = []
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
    ) -> Snapshot:
        """A snapshot of encoded TaskResults and notes, which are not checked."""
        snapshot = cls(origin=origin, fingerprints=fingerprints)
        snapshot._packed = dict(packed)
        snapshot._notes = dict(notes or {})
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
        for packed, fingerprints in reader.graph():
            snapshot._graph.append((packed, fingerprints))
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
        for packed, _fingerprints in self._graph:
            nodes |= {fields["name"]: fields for fields in unpack(packed, opaque=True)}
        return nodes

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
        return self._changed(
            _once=self._once + sum(map(self._would_start, set(names))),
            _packed=_leave_out(self._packed, names),
            _progress=_leave_out(self._progress, names),
            _notes=_leave_out(self._notes, names),
            _superseded=_leave_out(self._superseded, names),
        )

    def _changed(self, **attributes: Any) -> Snapshot:
        other = copy(self)
        vars(other).update(attributes)
        return other

    def _would_start(self, name: str) -> bool:
        """Whether an at-most-once task would start if only its outcome were missing."""
        once = self._nodes.get(name, {}).get("effects") == "at_most_once"
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
        return decode_result(self._packed[name], task=name)

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
            "results": {name: _plain(packed) for name, packed in self._packed.items()},
            "superseded": {name: _plain(packed) for name, packed in self._superseded.items()},
            "progress": {name: known._asdict() for name, known in self._progress.items()},
            "saved": {name: _plain(note) for name, note in self._notes.items()},
        }
        return json_text(document)


def _leave_out(known: Mapping[str, _V], names: Collection[str]) -> dict[str, _V]:
    return {name: value for name, value in known.items() if name not in names}


def _plain(packed: bytes) -> Any:
    # Opaque: a person must be able to read results of types that only the user's modules register.
    return to_plain(unpack(packed, opaque=True))


def _is_pending(value: object) -> bool:
    """Whether a result says that its task has no outcome, as those of ``execute`` may."""
    status = value.get("status") if isinstance(value, Mapping) else getattr(value, "status", None)
    return status == TaskStatus.PENDING


def _encode(name: str, value: TaskResult | Mapping[str, Any]) -> bytes:
    if not isinstance(name, str):
        raise SnapshotInvalid(f"snapshot: {name!r} is not a task name: names are text")
    try:
        if not isinstance(value, TaskResult):
            fields = dict(value)
            metrics = fields.get("metrics")
            if isinstance(metrics, Mapping):
                fields["metrics"] = Metrics(**metrics)
            value = TaskResult(**fields)
        return encode_result(value)
    except (TypeError, ValueError) as error:
        raise SnapshotInvalid(
            f"snapshot: task {name!r} has neither a TaskResult nor a dict of its fields: {error}"
        ) from error
    except DistflowError as error:
        raise SnapshotInvalid(f"snapshot: task {name!r}: {error}") from error
