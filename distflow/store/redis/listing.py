"""Lists the runs on a Redis."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any

from redis import exceptions as redis_errors

from distflow.errors import InvalidInput
from distflow.ids import check_run_id
from distflow.store.redis.keys import DEFAULT_PREFIX, RunKeys, runs_key

#: Seconds to search for unlisted runs: a server may have millions of keys.
_SEARCH_SECONDS = 0.1

#: Keys per scan command.
_SCANNED_KEYS = 1000


def list_runs(client: Any, prefix: str = DEFAULT_PREFIX) -> list[str]:
    """Every run id, oldest first. Includes runs whose keys somebody restored (``RESTORE``) and that
    are not on the list of runs yet: their next coordinator puts them there.
    """
    listed = {
        run_id.decode(errors="backslashreplace"): score
        for run_id, score in client.zrange(runs_key(prefix), 0, -1, withscores=True)
    }
    found = _find_others(client, prefix, listed)
    return [run_id for run_id, _at in sorted((listed | found).items(), key=lambda run: run[1])]


def _find_others(client: Any, prefix: str, listed: dict[str, float]) -> dict[str, float]:
    """Unlisted runs, by the time of their creation."""
    # A user with limited rights may not scan other users' keys, and the server would log each
    # denied attempt.
    username = client.connection_pool.connection_kwargs.get("username")
    if username not in (None, "", "default"):
        return {}
    try:
        run_ids = _search(client, prefix) - listed.keys()
        return {run_id: _created_at(client, prefix, run_id) for run_id in run_ids}
    except redis_errors.ResponseError:
        return {}


def _search(client: Any, prefix: str) -> set[str]:
    escaped = re.sub(r"([*?\[\]\\^-])", r"\\\1", prefix)
    found: set[str] = set()
    until, cursor = time.monotonic() + _SEARCH_SECONDS, 0
    while True:
        cursor, keys = client.scan(cursor, match=f"{escaped}:{{*}}:meta", count=_SCANNED_KEYS)
        for key in keys:
            text = key.decode(errors="backslashreplace")
            name = text.removeprefix(f"{prefix}:{{").removesuffix("}:meta")
            try:
                found.add(check_run_id(name))
            except InvalidInput:
                # Not a key of distflow.
                continue
        if cursor == 0 or time.monotonic() >= until:
            return found


def _created_at(client: Any, prefix: str, run_id: str) -> float:
    created_at = None
    with suppress(redis_errors.ResponseError):
        created_at = client.hget(RunKeys(prefix, run_id).meta, "created_at")
    # A damaged run is listed, too; reading it reports the damage.
    return int(created_at) / 1000 if created_at and created_at.isdigit() else 0.0
