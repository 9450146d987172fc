"""Writes a snapshot file: a stream of records, and never half a file under its final name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from distflow.core.expansion import Expansion
from distflow.core.version import FIRST
from distflow.errors import InvalidInput
from distflow.given import refuse
from distflow.snapshot.records import (
    END,
    EXPANSION,
    FINGERPRINTS,
    FRAME_STRUCT,
    GRAPH,
    HEADER,
    MAGIC,
    NOTES,
    OUTCOMES,
    RECORD_BYTES,
    RECORD_TASKS,
    SUPERSEDED,
    VERSION_STRUCT,
    End,
    Header,
    Outcome,
)

#: Where a snapshot goes: a path, or a binary stream that its caller has opened.
Target = str | os.PathLike[str] | BinaryIO


class SnapshotWriter:
    """Writes the records of one snapshot to a stream, in the order of its methods.

    Args:
        stream: where to write.
        version: of the run.
    """

    def __init__(self, stream: BinaryIO, version: int = FIRST) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._counts = {GRAPH: 0, OUTCOMES: 0, SUPERSEDED: 0}
        #: Bytes written so far.
        self.size = 0
        self._write(MAGIC + VERSION_STRUCT.pack(version))

    def write_header(self, header: Header) -> None:
        """Write the header: the run of the snapshot."""
        fields = header._asdict()
        if header.returns is None:
            # Release 0.1 does not know it.
            del fields["returns"]
        self._record(HEADER, fields)

    def write_graph(self, packed: bytes, fingerprints: Sequence[str]) -> None:
        """Append tasks to the graph: ``packed`` is their encoded list."""
        self._counts[GRAPH] += len(fingerprints)
        self._record(GRAPH, [packed, list(fingerprints)])

    def begin_expansion(self, node: str, record: Expansion, stand_in: bytes) -> None:
        """Write the record of an expansion: as many chunks of the graph as it says must follow.

        Args:
            node: whose expansion it is.
            record: of the expansion.
            stand_in: what the node stands for, encoded.
        """
        self._record(EXPANSION, [node, list(record), stand_in])

    def write_fingerprints(self, fingerprints: Mapping[str, str]) -> None:
        """Write the fingerprints of the tasks, in a snapshot without a graph."""
        self._record(FINGERPRINTS, dict(fingerprints))

    def write_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Append outcomes, in as many records as it takes."""
        record: list[Any] = []
        size = 0
        for known in outcomes:
            self._counts[OUTCOMES] += known.packed is not None
            added = len(known.packed or b"")
            if record and (len(record) == RECORD_TASKS or size + added > RECORD_BYTES):
                self._record(OUTCOMES, record)
                record, size = [], 0
            record.append((known.task, known.packed, known.progress and known.progress._asdict()))
            size += added
        if record:
            self._record(OUTCOMES, record)

    def write_notes(self, notes: Mapping[str, bytes]) -> None:
        """Append what tasks have saved, encoded."""
        if notes:
            self._record(NOTES, dict(notes))

    def write_superseded(self, outcomes: Mapping[str, bytes]) -> None:
        """Append tolerated failures that were set aside, but that a success rests on."""
        self._counts[SUPERSEDED] += len(outcomes)
        for item in outcomes.items():
            self._record(SUPERSEDED, [item])

    def finish(self, *, live: bool, once: int) -> End:
        """End the snapshot; see :class:`End` for the arguments."""
        end = End(self._counts[GRAPH], self._counts[OUTCOMES], self._counts[SUPERSEDED], live, once)
        self._record(END, end._asdict())
        self._write(self._hash.digest())
        return end

    def _record(self, kind: bytes, value: Any) -> None:
        body: bytes = msgpack.packb(value)
        self._write(FRAME_STRUCT.pack(kind, len(body)))
        self._write(body)

    def _write(self, part: bytes) -> None:
        self._hash.update(part)
        self._stream.write(part)
        self.size += len(part)


@contextmanager
def open_target(target: Target) -> Iterator[BinaryIO]:
    """A stream whose content appears at ``target`` when the block ends, and not before.

    A file is written beside the target, synced, and renamed. A stream, a pipe or a device is
    written directly.

    Raises:
        InvalidInput: the target cannot be written.
    """
    if not isinstance(target, (str, os.PathLike)):
        if not hasattr(target, "write"):
            raise refuse("the target", "a path or a binary stream", target)
        yield target
        target.flush()
        return
    # A link stays a link: its target is replaced.
    path = Path(os.path.realpath(target))
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as stream:
                yield stream
        else:
            with _replacing(path) as stream:
                yield stream
    except OSError as error:
        raise InvalidInput(
            f"{os.fspath(target)}: cannot be written: {error.strerror or error}"
        ) from error


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise IsADirectoryError(None, "it is a folder; name a file in it")
    partial = path.parent / f".distflow-{os.urandom(6).hex()}.part"
    try:
        with partial.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
