"""The chunks of an expansion: packed lists of encoded tasks, as the graph of a run has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from distflow.core.expansion import CHUNK_TASKS, MAX_TASK_BYTES
from distflow.errors import InvalidInput
from distflow.wire.codec import make_packer

#: Most bytes of a chunk; one of a single task may be larger.
CHUNK_BYTES = 8 * 1024 * 1024


def pack_chunks(tasks: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """The chunks of an expansion, at least one.

    Args:
        tasks: encoded with :func:`~distflow.wire.codec.encode_task`, dependencies before their
            dependents.

    Raises:
        InvalidInput: one of them is larger than a task may be.
    """
    packer = make_packer()
    packed: list[bytes] = []
    size, number = 0, 0
    for task in tasks:
        one = packer.pack(task)
        if len(one) > MAX_TASK_BYTES:
            raise InvalidInput(
                f"task {task['name']!r:.80} has {len(one):,} bytes encoded, more than "
                f"{MAX_TASK_BYTES:,}: store its arguments elsewhere and pass their location"
            )
        if len(packed) == CHUNK_TASKS or (packed and size + len(one) > CHUNK_BYTES):
            yield _join(packer, packed)
            packed, size, number = [], 0, number + 1
        packed.append(one)
        size += len(one)
    if packed or not number:
        yield _join(packer, packed)


def _join(packer: Any, packed: list[bytes]) -> bytes:
    header: bytes = packer.pack_array_header(len(packed))
    return header + b"".join(packed)
