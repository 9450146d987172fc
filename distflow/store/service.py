"""The Redis store as one coordinator of many runs uses it: what is asked of all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from redis import Redis

from distflow.core.claim import Code
from distflow.core.run import Event
from distflow.core.status import RunStatus
from distflow.errors import DistflowError
from distflow.faults import commit
from distflow.ports import Renewal, UnledRun
from distflow.store.absence import explain_gone, look_for
from distflow.store.base import refusal_of
from distflow.store.keys import DEFAULT_PREFIX, active_keys, coordinators_key, run_keys
from distflow.store.leading import parse_streams
from distflow.store.patience import call_patiently
from distflow.store.scripts import ScriptCall, run_script, run_scripts

_T = TypeVar("_T")

#: Keys that one command names: it must not hold Redis for long.
_KEYS_PER_COMMAND = 1000
_LEASES_PER_SCRIPT = 100

#: Seconds that an announcement of a coordinator holds at most.
_LONGEST_ANNOUNCEMENT_SECONDS = 60.0


class RedisServiceStore:
    """All runs on one Redis: see :class:`distflow.ports.ServicePort`.

    Args:
        client: the connection; its ``decode_responses`` must be off.
        prefix: first part of every key.
        patience_seconds: how long a call is tried again while Redis is away.
    """

    def __init__(
        self, client: Redis, prefix: str = DEFAULT_PREFIX, *, patience_seconds: float = 60.0
    ) -> None:
        self._client: Any = client
        self._prefix = prefix
        self._patience_seconds = patience_seconds
        #: When all leases were renewed last, on the monotonic clock: the runs were there then.
        self._renewed_at: float | None = None

    def announce(self, owner: str, ttl_seconds: float) -> None:
        """Say that a coordinator is there for detached and orphaned runs."""
        keys = (coordinators_key(self._prefix),)
        arguments = (owner, int(ttl_seconds * 1000), int(_LONGEST_ANNOUNCEMENT_SECONDS * 1000))
        self._patiently(partial(run_script, self._client, "announce", keys, arguments))

    def withdraw_announcement(self, owner: str) -> None:
        """Say that a coordinator is there no more."""
        with commit("withdraw_announcement"):
            self._patiently(lambda: self._client.zrem(coordinators_key(self._prefix), owner))

    def list_coordinators(self) -> list[str]:
        """Who is there for detached and orphaned runs."""

        def ask() -> list[bytes]:
            seconds, micros = self._client.time()
            now = seconds + micros / 1e6
            # What ends later is from before Redis's clock was set back.
            found: list[bytes] = self._client.zrangebyscore(
                coordinators_key(self._prefix), now, now + _LONGEST_ANNOUNCEMENT_SECONDS
            )
            return found

        return [owner.decode() for owner in self._patiently(ask)]

    def list_active(self) -> set[str]:
        """The ids of the runs that somebody should lead, and of some that stand still."""

        def ask() -> list[set[bytes]]:
            pipeline = self._client.pipeline(transaction=False)
            for key in active_keys(self._prefix):
                pipeline.smembers(key)
            replies: list[set[bytes]] = pipeline.execute()
            return replies

        return {run_id.decode() for found in self._patiently(ask) for run_id in found}

    def find_unled(self, run_ids: Sequence[str]) -> dict[str, UnledRun]:
        """Of these runs, those that exist and that nobody leads."""
        keys = {run_id: run_keys(self._prefix, run_id) for run_id in run_ids}
        unled: list[str] = []
        for start in range(0, len(run_ids), _KEYS_PER_COMMAND):
            chunk = run_ids[start : start + _KEYS_PER_COMMAND]
            leases = [keys[run_id].lease for run_id in chunk]
            held = self._patiently(partial(self._client.mget, leases))
            unled += [run_id for run_id, lease in zip(chunk, held, strict=True) if lease is None]
        if not unled:
            return {}

        def ask() -> list[Any]:
            pipeline = self._client.pipeline(transaction=False)
            for run_id in unled:
                pipeline.hmget(keys[run_id].meta, "status", "created_at", "detached", "epoch")
            pipeline.time()
            replies: list[Any] = pipeline.execute()
            return replies

        *found, (seconds, _micros) = self._patiently(ask)
        return {
            run_id: UnledRun(
                RunStatus(status.decode()),
                seconds - int(created_at or 0) / 1000,
                detached=detached is not None,
                led_before=epoch not in (None, b"0"),
            )
            for run_id, (status, created_at, detached, epoch) in zip(unled, found, strict=True)
            if status is not None
        }

    def shorten_leases(self, run_ids: Sequence[str]) -> None:
        """Let no lease of these runs be held for longer than its holder asked for: Redis's clock
        may have been set back.
        """
        for start in range(0, len(run_ids), _LEASES_PER_SCRIPT):
            names: list[str] = []
            for run_id in run_ids[start : start + _LEASES_PER_SCRIPT]:
                keys = run_keys(self._prefix, run_id)
                names += (keys.meta, keys.lease)
            self._patiently(partial(run_script, self._client, "shorten_leases", names, ()))

    def renew_leases(self, renewals: Sequence[Renewal]) -> list[DistflowError | None]:
        """Keep leases that one owner has; per lease None, or why it is lost."""
        answers: list[DistflowError | None] = []
        for start in range(0, len(renewals), _LEASES_PER_SCRIPT):
            chunk = renewals[start : start + _LEASES_PER_SCRIPT]
            names: list[str] = []
            arguments: list[str | int] = [chunk[0].owner, int(chunk[0].ttl_seconds * 1000)]
            for renewal in chunk:
                keys = run_keys(self._prefix, renewal.run_id)
                names += (keys.meta, keys.lease)
                arguments += (renewal.epoch, renewal.queued, renewal.waiting)
            call = partial(run_script, self._client, "renew_lease", names, arguments)
            answers += [
                self._explain(Code(code), renewal.run_id)
                for code, renewal in zip(self._patiently(call), chunk, strict=True)
            ]
        self._renewed_at = time.monotonic()
        return answers

    def _explain(self, code: Code, run_id: str) -> DistflowError | None:
        if code != Code.GONE:
            return refusal_of(code, run_id)
        return explain_gone(run_id, look_for(self._client, self._prefix, run_id, self._renewed_at))

    def release_leases(self, owner: str, epochs: Mapping[str, int]) -> None:
        """Give leases up, as far as they are still held: run id -> epoch."""
        calls = []
        for run_id, epoch in epochs.items():
            keys = run_keys(self._prefix, run_id)
            calls.append(ScriptCall("release_lease", (keys.meta, keys.lease), (owner, epoch)))
        if calls:
            self._patiently(lambda: run_scripts(self._client, calls))

    def read_events(
        self, after: Mapping[str, str], *, block_ms: int | None = None
    ) -> dict[str, list[Event]]:
        """The events of runs after an id each, oldest first; waits for one up to ``block_ms``."""
        if not after:
            return {}
        streams = {run_keys(self._prefix, run_id).events: last for run_id, last in after.items()}
        found = self._patiently(lambda: self._client.xread(streams, count=1000, block=block_ms))
        runs = dict(zip(streams, after, strict=True))
        return {runs[key]: events for key, events in parse_streams(found).items()}

    def _patiently(self, call: Callable[[], _T]) -> _T:
        return call_patiently(call, self._patience_seconds, self._client)
