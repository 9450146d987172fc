"""Notes that workers write about themselves, where RQ's registration says too little. Nothing is
decided by them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack
from redis import Redis

from distflow.store.redis.keys import workers_key
from distflow.store.redis.scripts import run_script

#: How long a note is kept: a day.
STAYS_MS = 24 * 3600 * 1000


class WorkerNote(NamedTuple):
    """A worker's note: written with its first batch, and now and then.

    ``born`` is RQ's time of its registration; ``pid`` is that of its process, not of a work horse.
    ``distflow``, ``rq`` and ``python`` are versions, ``code`` is ``DISTFLOW_CODE``. ``rests`` is
    how many batches in a row had something that it could not run, ``refusal`` what it lacked for
    the last one. ``at`` is Unix milliseconds on Redis's clock.
    """

    born: str
    host: str
    pid: int
    directory: str
    distflow: str = ""
    rq: str = ""
    python: str = ""
    code: str = ""
    rests: int = 0
    refusal: str = ""
    at: int = 0


def write_note(client: Redis, prefix: str, worker: str, note: WorkerNote) -> None:
    """Write the note of a worker, and remove notes older than a day.

    Raises:
        RedisError: Redis does not accept it.
    """
    packed = msgpack.packb(note._asdict())
    run_script(client, "note_worker", (workers_key(prefix),), (worker, packed, STAYS_MS))


def read_notes(client: Any, prefix: str) -> dict[str, WorkerNote]:
    """The notes of all workers, by name.

    Raises:
        RedisError: Redis does not answer.
    """
    found = {
        name.decode(errors="backslashreplace"): parse_note(packed)
        for name, packed in client.hgetall(workers_key(prefix)).items()
    }
    return {name: note for name, note in found.items() if note is not None}


def parse_note(packed: bytes) -> WorkerNote | None:
    """Parse a note from Redis; None if another release wrote it in another form."""
    try:
        return WorkerNote(**msgpack.unpackb(packed))
    except (TypeError, ValueError, msgpack.UnpackException):
        return None
