"""Registration: the worker that this process belongs to, and how long it rests after a refusal."""

from __future__ import annotations

import os
import socket
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import msgpack
from redis import Redis
from redis.exceptions import RedisError
from rq.version import VERSION

import distflow
from distflow import config
from distflow.core.claim import WorkerFacts
from distflow.rq_compat.rq_keys import worker_key
from distflow.store.redis.keys import workers_key

#: Writes notes: few batches need it.
_NOTES = "distflow.store.redis.worker_notes"

#: Seconds after which a note is written again; it is kept for a day.
_AGAIN_SECONDS = 3600.0

#: Seconds for which a long-lived process does not ask Redis about its worker again.
_KNOWN_SECONDS = 600.0

#: The longest rest of a worker, in seconds.
LONGEST_REST_SECONDS = 30.0

#: For long-lived processes: client -> (prefix, worker) -> registration.
_known: WeakKeyDictionary[Redis, dict[tuple[str, str], Registration]] = WeakKeyDictionary()


class Registration:
    """A worker's registration with RQ, and its note about itself. If Redis refuses to return or
    accept it, nothing ends.

    Args:
        client: its Redis.
        prefix: of distflow's keys.
        worker: its name.
    """

    def __init__(self, client: Redis, prefix: str, worker: str) -> None:
        self._client: Any = client
        self._prefix = prefix
        self._worker = worker
        self.read_at = time.monotonic()
        born, pid, host, packed = self._read()
        #: Whether everything about the worker is known.
        self.is_known = bool(born)
        directory = _directory()
        self.facts = WorkerFacts(
            worker, born, host or socket.gethostname(), int(pid or os.getpid()), directory
        )
        known = _parse(packed)
        self._rests = int(known["rests"]) if known.get("born") == born else 0
        as_now = (known.get("directory"), known.get("code")) == (directory, config.code())
        age = time.time() - known.get("at", 0) / 1000
        if known.get("born") != born or not as_now or age >= _AGAIN_SECONDS:
            self._write(known.get("refusal", "") if self._rests else "")

    def _read(self) -> tuple[str, str, str, bytes | None]:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hmget(worker_key(self._worker), "birth", "pid", "hostname")
        pipeline.hget(workers_key(self._prefix), self._worker)
        try:
            registered, packed = pipeline.execute(raise_on_error=False)
        except (RedisError, OSError):
            return "", "", "", None
        if isinstance(registered, Exception):
            return "", "", "", None
        born, pid, host = [(value or b"").decode(errors="backslashreplace") for value in registered]
        return born, pid, host, None if isinstance(packed, Exception) else packed

    def rest_seconds(self, refusal: str) -> float:
        """How long to rest after a batch: 1, 2, 4 ... 30 seconds if it had something that this
        worker cannot run, so that the worker does not attract all work of its queue; otherwise 0.

        Args:
            refusal: what was missing; empty for nothing.
        """
        if not refusal:
            if self._rests:
                self._rests = 0
                self._write("")
            return 0.0
        seconds: float = min(LONGEST_REST_SECONDS, 2.0 ** min(self._rests, 10))
        self._rests += 1
        self._write(refusal)
        return seconds

    def _write(self, refusal: str) -> None:
        facts, notes = self.facts, import_module(_NOTES)
        note = notes.WorkerNote(
            facts.born,
            facts.host,
            facts.pid,
            facts.directory,
            distflow=distflow.__version__,
            rq=VERSION,
            python=".".join(map(str, sys.version_info[:3])),
            code=config.code(),
            rests=self._rests,
            refusal=refusal,
        )
        try:
            notes.write_note(self._client, self._prefix, self._worker, note)
        except (RedisError, OSError):
            # The note is for people, and will be written again.
            self.is_known = False


def find_registration(client: Redis, prefix: str, worker: str) -> Registration:
    """The registration of this process's worker, cached in a long-lived process."""
    mine = _known.setdefault(client, {})
    found = mine.get((prefix, worker))
    is_old = found is not None and time.monotonic() - found.read_at > _KNOWN_SECONDS
    if found is None or is_old or not found.is_known:
        found = mine[prefix, worker] = Registration(client, prefix, worker)
    return found


def _parse(packed: bytes | None) -> dict[str, Any]:
    """Parse the note in Redis; empty if there is none that can be read."""
    try:
        known = msgpack.unpackb(packed or b"")
    except (ValueError, msgpack.UnpackException):
        return {}
    return known if isinstance(known, dict) and "rests" in known else {}


def _directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "?"
