"""Reads what RQ wrote about jobs and workers, so that nothing in it can crash a coordinator.

Anybody with access to Redis may have changed it: it is shown to people, and decides nothing.
"""

from __future__ import annotations

import binascii
import re
import zlib
from base64 import b64decode
from collections.abc import Collection
from datetime import UTC, datetime

#: Most bytes read of an error's text: a small one may unpack to gigabytes.
_ERROR_BYTES = 1 << 20

#: The frame of a traceback in which a serializer reads: its file, and the code line.
_LOADS = re.compile(r'File "([^"\n]+)", line \d+, in loads\n +(\S.*)')
_JSON = "rq.serializers.JSONSerializer"


def to_text(value: bytes | None) -> str:
    """A name or id as text; empty if there is none."""
    return (value or b"").decode(errors="backslashreplace")


def to_jobs(current: bytes | None, executions: Collection[bytes]) -> frozenset[str]:
    """The ids of a worker's jobs. RQ 2.12 names one job, RQ 3 executions, ``<job id>:<their id>``:
    workers of both may serve one coordinator.
    """
    named = [each.rpartition(b":")[0] for each in executions]
    return frozenset(to_text(job) for job in (current, *named) if job)


def to_time(value: bytes | None) -> float:
    """RQ's date in Unix seconds; 0 if there is none."""
    try:
        return datetime.fromisoformat(to_text(value)).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def last_line(packed: bytes | None) -> str:
    """The last line of the traceback that RQ keeps of a failed job; empty if there is none."""
    lines = _unpack_error(packed).strip().splitlines()
    return lines[-1].strip() if lines else ""


def reading_serializer(packed: bytes | None) -> str:
    """The serializer that failed to read a job, from the traceback: RQ's own by name, another by
    its file; empty if something else failed.
    """
    found = _LOADS.search(_unpack_error(packed))
    if found is None:
        return ""
    path, call = found.groups()
    return _JSON if path.endswith("rq/serializers.py") and "json." in call else path


def _unpack_error(packed: bytes | None) -> str:
    try:
        text = zlib.decompressobj().decompress(b64decode(packed or b""), _ERROR_BYTES)
    except (zlib.error, binascii.Error):
        return ""
    return to_text(text)
