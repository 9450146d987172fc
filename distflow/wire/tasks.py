"""The tasks of a graph, as a run and a snapshot keep them: read with a check, and weighed.

One task is encoded and decoded by ``codec.py``, since work horses do that too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distflow.core.model import Ref, Task
from distflow.core.options import WIRE_TYPES
from distflow.errors import Damaged
from distflow.wire.codec import (
    MALFORMED,
    check_types,
    decode_task,
    pack_decoded,
    unpack,
)
from distflow.wire.extensions import SCALARS

_TYPES: Mapping[str, type | tuple[type, ...]] = {"name": str, "function": str, **WIRE_TYPES}


def decode_tasks(packed: bytes) -> list[Task]:
    """A packed list of plain maps -> Tasks. Those share each text that is said more than once: a
    coordinator holds a million of them.

    Raises:
        Damaged: the bytes are no tasks.
    """
    texts: dict[str, str] = {}
    found: list[dict[str, Any]] = unpack(packed, opaque=True)
    try:
        for fields in found:
            check_types(fields, _TYPES)
            for key in ("name", "function"):
                if fields[key] is None:
                    raise TypeError(f"{key} is None")
                fields[key] = texts.setdefault(fields[key], fields[key])
            fields["depends_on"] = [texts.setdefault(n, n) for n in fields.get("depends_on", ())]
        return [decode_task(fields) for fields in found]
    except MALFORMED as error:
        raise Damaged(f"no tasks of a graph ({type(error).__name__}: {error})") from error


def weigh_arguments(task: Task) -> int:
    """About how many bytes a task's arguments have; cheap where they are short."""
    total = 0
    for value in (*task.args, *task.kwargs.values()):
        if type(value) is str or type(value) is bytes:
            total += len(value)
        elif type(value) not in SCALARS and type(value) is not Ref:
            total += len(pack_decoded(value))
    return total
