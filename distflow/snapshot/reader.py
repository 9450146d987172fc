"""Reads a snapshot file: checks all of it first, then reads record by record."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from distflow.core.claim import READ_VERSIONS, Progress, said_versions
from distflow.core.expansion import Expansion
from distflow.errors import SnapshotInvalid
from distflow.snapshot.records import (
    DIGEST_BYTES,
    END,
    EXPANSION,
    FINGERPRINTS,
    FRAME_STRUCT,
    GRAPH,
    HEADER,
    MAGIC,
    NOTES,
    OUTCOMES,
    SUPERSEDED,
    VERSION_STRUCT,
    Chunk,
    End,
    Header,
    Outcome,
    SavedExpansion,
)
from distflow.wire.codec import status_of

_FIRST_RECORD = len(MAGIC) + VERSION_STRUCT.size
_BLOCK_BYTES = 1024 * 1024


class SnapshotReader:
    """A snapshot file with a correct checksum; made by :func:`open_snapshot`.

    Args:
        stream: a stream that can seek.
        name: its name in messages.

    Raises:
        SnapshotInvalid: it is not a snapshot, of another version, truncated, or damaged.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self.name = name
        self._size = stream.seek(0, os.SEEK_END)
        #: Of the run that it is of.
        self.version = self._read_version()
        self._check_sum()
        self.header: Header = self._only(HEADER, Header)
        #: The last record, which sums up the others.
        self.end: End = self._only(END, End)

    @property
    def live(self) -> bool:
        """Whether the run may have continued after the export."""
        return self.header.live or self.end.live

    def graph(self) -> Iterator[Chunk]:
        """The graph that the run was created with, in chunks."""
        for kind, start, length in self._frames():
            if kind == EXPANSION:
                return
            if kind == GRAPH:
                yield self._chunk(start, length)

    def expansions(self) -> Iterator[SavedExpansion]:
        """What growing nodes have added to the graph, in the order of their ``seq``. The chunks of
        each are read as they are asked for.
        """
        places: list[tuple[int, int]] = []
        chunks: list[list[tuple[int, int]]] = []
        for kind, start, length in self._frames():
            if kind == EXPANSION:
                places.append((start, length))
                chunks.append([])
            elif kind == GRAPH and chunks:
                chunks[-1].append((start, length))
        found = [
            (self._expansion(*place).record.seq, place, its_chunks)
            for place, its_chunks in zip(places, chunks, strict=True)
        ]
        for _seq, place, its_chunks in sorted(found):
            saved = self._expansion(*place)
            if saved.record.chunks != len(its_chunks):
                raise self._invalid(f"lacks a part of what {saved.node!r} has added; export again")
            yield saved._replace(chunks=starmap(self._chunk, its_chunks))

    def _expansion(self, start: int, length: int) -> SavedExpansion:
        with self.decoding():
            node, (token, seq, chunks, children, queues), stand_in = self._body(start, length)
            record = Expansion(token, seq, chunks, children, tuple(queues))
            return SavedExpansion(node, record, stand_in, ())

    def _chunk(self, start: int, length: int) -> Chunk:
        with self.decoding():
            packed, fingerprints = self._body(start, length)
            return packed, fingerprints

    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of the tasks, in a snapshot without a graph."""
        with self.decoding():
            return {
                task: known for body in self._bodies(FINGERPRINTS) for task, known in body.items()
            }

    def outcomes(self) -> Iterator[list[Outcome]]:
        """The outcomes of the tasks, in chunks, dependents before their dependencies."""
        for body in self._bodies(OUTCOMES):
            with self.decoding():
                chunk = [
                    Outcome(task, packed, fields and Progress(**fields))
                    for task, packed, fields in body
                ]
                for known in chunk:
                    if not isinstance(known.task, str):
                        raise TypeError(f"{known.task!r:.40} is not a task name")
                    if known.packed is not None:
                        status_of(known.packed)
            yield chunk

    def notes(self) -> Iterator[dict[str, bytes]]:
        """What tasks have saved, encoded, in chunks."""
        for body in self._bodies(NOTES):
            with self.decoding():
                chunk = dict(body.items())
            yield chunk

    def superseded(self) -> dict[str, bytes]:
        """The encoded tolerated failures that were set aside."""
        with self.decoding():
            return {task: packed for body in self._bodies(SUPERSEDED) for task, packed in body}

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Turn errors about unexpected content into one that names the file."""
        try:
            yield
        except SnapshotInvalid:
            raise
        except Exception as error:
            raise self._invalid(
                f"has content that this version cannot read ({type(error).__name__}: {error}); "
                "export it again with this version"
            ) from error

    def _invalid(self, what: str) -> SnapshotInvalid:
        return SnapshotInvalid(f"{self.name}: {what}")

    def _read_version(self) -> int:
        head = self._read(0, _FIRST_RECORD)
        if not head.startswith(MAGIC):
            if not head:
                raise self._invalid("is empty; export the run again")
            if MAGIC.startswith(head):
                raise self._cut_short()
            if head.lstrip().startswith(b"{"):
                raise self._invalid(
                    "JSON is for reading and cannot be imported; export with --format msgpack"
                )
            raise self._invalid("is not a distflow snapshot; make one with `distflow export`")
        if len(head) < _FIRST_RECORD:
            raise self._cut_short()
        (version,) = VERSION_STRUCT.unpack(head[len(MAGIC) :])
        if version not in READ_VERSIONS:
            raise self._invalid(
                f"is a snapshot of version {version}, but this distflow reads versions "
                f"{said_versions()}: a newer distflow wrote it, so read it with that one"
            )
        return int(version)

    def _cut_short(self) -> SnapshotInvalid:
        return self._invalid("is truncated; copy it again, or export the run again")

    def _check_sum(self) -> None:
        """The first pass over the file: nothing is used before it succeeds."""
        digest = hashlib.sha256()
        self._stream.seek(0)
        left = self._size - DIGEST_BYTES
        while left > 0:
            block = self._stream.read(min(left, _BLOCK_BYTES))
            if not block:
                raise self._cut_short()
            digest.update(block)
            left -= len(block)
        if digest.digest() == self._stream.read():
            return
        if not self._is_whole():
            raise self._cut_short()
        raise self._invalid(
            "fails its checksum: it was damaged; copy it again, or export the run again"
        )

    def _is_whole(self) -> bool:
        """Whether the records end right before the checksum, with the end record last."""
        last, position = b"", _FIRST_RECORD
        for kind, start, length in self._frames():
            last, position = kind, start + length
        return last == END and position == self._size - DIGEST_BYTES

    def _frames(self) -> Iterator[tuple[bytes, int, int]]:
        """Kind, start and length of each complete record."""
        position, last = _FIRST_RECORD, self._size - DIGEST_BYTES
        while position + FRAME_STRUCT.size <= last:
            kind, length = FRAME_STRUCT.unpack(self._read(position, FRAME_STRUCT.size))
            position += FRAME_STRUCT.size
            if position + length > last:
                return
            yield kind, position, length
            position += length

    def _bodies(self, wanted: bytes) -> Iterator[Any]:
        for kind, start, length in self._frames():
            if kind == wanted:
                with self.decoding():
                    body = self._body(start, length)
                yield body

    def _body(self, start: int, length: int) -> Any:
        return msgpack.unpackb(self._read(start, length), strict_map_key=False)

    def _only(self, kind: bytes, record: type[Any]) -> Any:
        """The only record of its kind, without fields that this version does not know."""
        with self.decoding():
            (fields,) = self._bodies(kind)
            known = {name: value for name, value in fields.items() if name in record._fields}
            return record(**known)

    def _read(self, start: int, length: int) -> bytes:
        self._stream.seek(start)
        return self._stream.read(length)


@contextmanager
def open_snapshot(source: str | os.PathLike[str]) -> Iterator[SnapshotReader]:
    """Open and check a snapshot file.

    Raises:
        SnapshotInvalid: it cannot be read, or see :class:`SnapshotReader`.
    """
    given: object = source
    if not isinstance(given, str | os.PathLike):
        raise SnapshotInvalid(f"a snapshot is read from a path, not from {given!r:.60}")
    name = os.fspath(source)
    try:
        stream = Path(source).open("rb")  # noqa: SIM115 - an error of the block is not the file's
    except OSError as error:
        raise SnapshotInvalid(f"{name}: cannot be read: {error.strerror or error}") from error
    with stream:
        if not stream.seekable():
            raise SnapshotInvalid(f"{name}: is read twice, so it must be a file, not a pipe")
        yield SnapshotReader(stream, name)
