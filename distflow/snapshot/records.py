"""What a snapshot file holds, and how its bytes are laid out.

The file is ``MAGIC``, two bytes of version, records, and the SHA-256 of all that. A record is one
letter for its kind, four bytes of length, and a msgpack value; numbers are big-endian. The version
is that of the run: a distflow that reads the run reads the file. Without a run it is version 1.

The first graph records are what the run was created with. Each record of an expansion is followed
by the graph records of its chunks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from distflow.core.claim import Progress
from distflow.core.expansion import Expansion

#: As in PNG: not text, and broken by a transfer that converts line ends or strips bits.
MAGIC = b"\x89distflow-snapshot\r\n"

VERSION_STRUCT = struct.Struct(">H")
FRAME_STRUCT = struct.Struct(">cI")
DIGEST_BYTES = 32

#: Limits of a record of outcomes: tasks, and bytes of results; a larger result has its own record.
RECORD_TASKS = 1000
RECORD_BYTES = 4 * 1024 * 1024

#: Kinds of records, in the order in which they stand in a file.
HEADER = b"H"
#: [encoded tasks as the store has them, their fingerprints]
GRAPH = b"G"
#: [node, [token, seq, chunks, children, queues], what the node stands for, encoded]
EXPANSION = b"X"
#: {task: fingerprint}, where there is no graph
FINGERPRINTS = b"F"
#: [[task, encoded TaskResult or nil, Progress as a map or nil], ...]
OUTCOMES = b"O"
#: {task: what it saved, encoded}
NOTES = b"N"
#: [[task, encoded TaskResult], ...]
SUPERSEDED = b"S"
END = b"E"


#: A chunk of a graph: encoded tasks as the store has them, and their fingerprints.
Chunk = tuple[bytes, list[str]]


class SavedExpansion(NamedTuple):
    """What a node has added to its run: the record, what the node stands for, encoded, and the
    chunks, as many as the record says.
    """

    node: str
    record: Expansion
    stand_in: bytes
    chunks: Iterable[Chunk]


class Header(NamedTuple):
    """The run that a snapshot was taken of; without one, all but ``origin`` is empty.

    ``params`` is encoded, ``options`` has the fields of RunOptions, ``live`` says that the run
    had not ended, ``exported_at`` is ISO 8601. ``returns`` is what its workflow returned, encoded.
    """

    run_id: str | None = None
    workflow: str | None = None
    params: bytes = b"\x80"
    origin: str | None = None
    options: Mapping[str, Any] = {}
    generation: int = 0
    live: bool = False
    exported_at: str | None = None
    returns: bytes | None = None


class End(NamedTuple):
    """The summary of the records before it.

    ``live`` is true if the run had not ended when the export began, or when it finished; ``once``
    counts the ``at_most_once`` tasks that may still start for the first time.
    """

    tasks: int
    outcomes: int
    superseded: int
    live: bool
    once: int


class Outcome(NamedTuple):
    """What is known about one task: its encoded TaskResult, its progress, or both."""

    task: str
    packed: bytes | None
    progress: Progress | None
