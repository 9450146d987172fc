"""The Redis store for a service that leads many runs: questions about all of them at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from redis import Redis
from redis.exceptions import ResponseError

from distflow.core.claim import Code
from distflow.core.readings import UnledRun
from distflow.core.run import Event
from distflow.core.status import RunStatus
from distflow.errors import DamagedRun, DistflowError
from distflow.faults import commit
from distflow.ports.service import LONGEST_ANNOUNCEMENT_SECONDS, Renewal, ServicePort
from distflow.store.redis.absence import explain_gone, look_for
from distflow.store.redis.base import MALFORMED, is_damage, refusal_of
from distflow.store.redis.coordinator import parse_streams
from distflow.store.redis.keys import DEFAULT_PREFIX, active_keys, coordinators_key, run_keys
from distflow.store.redis.patience import call_patiently
from distflow.store.redis.scripts import ScriptCall, run_script, run_scripts

_T = TypeVar("_T")

#: Keys per command: it must not block Redis for long.
_KEYS_PER_COMMAND = 1000
_LEASES_PER_SCRIPT = 100


class RedisServiceStore(ServicePort):
    """All runs on one Redis.

    Args:
        client: the connection; its ``decode_responses`` must be off.
        prefix: first part of every key.
        patience_seconds: how long a call is retried while Redis is away.
    """

    def __init__(
        self, client: Redis, prefix: str = DEFAULT_PREFIX, *, patience_seconds: float = 60.0
    ) -> None:
        self._client: Any = client
        self._prefix = prefix
        self._patience_seconds = patience_seconds
        #: When all leases were last renewed, on the monotonic clock: the runs existed then.
        self._renewed_at: float | None = None

    def announce(self, owner: str, ttl_seconds: float) -> None:
        keys = (coordinators_key(self._prefix),)
        arguments = (owner, int(ttl_seconds * 1000), int(LONGEST_ANNOUNCEMENT_SECONDS * 1000))
        self._patiently(partial(run_script, self._client, "announce", keys, arguments))

    def withdraw_announcement(self, owner: str) -> None:
        with commit("withdraw_announcement"):
            self._patiently(lambda: self._client.zrem(coordinators_key(self._prefix), owner))

    def list_coordinators(self) -> list[str]:
        def ask() -> list[bytes]:
            seconds, micros = self._client.time()
            now = seconds + micros / 1e6
            found: list[bytes] = self._client.zrangebyscore(
                coordinators_key(self._prefix), now, now + LONGEST_ANNOUNCEMENT_SECONDS
            )
            return found

        return [owner.decode() for owner in self._patiently(ask)]

    def list_active(self) -> set[str]:
        def ask() -> list[set[bytes]]:
            pipeline = self._client.pipeline(transaction=False)
            for key in active_keys(self._prefix):
                pipeline.smembers(key)
            replies: list[set[bytes]] = pipeline.execute()
            return replies

        return {
            run_id.decode(errors="backslashreplace")
            for found in self._patiently(ask)
            for run_id in found
        }

    def find_unled(self, run_ids: Sequence[str]) -> dict[str, UnledRun]:
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
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            for reply in replies:
                damaged = isinstance(reply, ResponseError) and is_damage(reply)
                if isinstance(reply, Exception) and not damaged:
                    raise reply
            return replies

        *found, (seconds, _micros) = self._patiently(ask)
        runs = {run_id: _unled(told, seconds) for run_id, told in zip(unled, found, strict=True)}
        return {run_id: run for run_id, run in runs.items() if run is not None}

    def shorten_leases(self, run_ids: Sequence[str]) -> None:
        def shorten(some: Sequence[str]) -> list[None]:
            names = self._names_of(some)
            self._patiently(partial(run_script, self._client, "shorten_leases", names, ()))
            return [None] * len(some)

        for start in range(0, len(run_ids), _LEASES_PER_SCRIPT):
            _ask_of_each(run_ids[start : start + _LEASES_PER_SCRIPT], shorten)

    def renew_leases(self, renewals: Sequence[Renewal]) -> list[DistflowError | None]:
        of_run = {renewal.run_id: renewal for renewal in renewals}
        run_ids = list(of_run)

        def renew(some: Sequence[str]) -> list[DistflowError | None]:
            first = of_run[some[0]]
            arguments: list[str | int] = [first.owner, int(first.ttl_seconds * 1000)]
            for run_id in some:
                renewal = of_run[run_id]
                arguments += (renewal.epoch, renewal.queued, renewal.waiting)
            names = self._names_of(some)
            codes = self._patiently(
                partial(run_script, self._client, "renew_lease", names, arguments)
            )
            return [
                self._explain(Code(code), run_id) for code, run_id in zip(codes, some, strict=True)
            ]

        answers: list[DistflowError | None] = []
        for start in range(0, len(run_ids), _LEASES_PER_SCRIPT):
            answers += _ask_of_each(run_ids[start : start + _LEASES_PER_SCRIPT], renew)
        self._renewed_at = time.monotonic()
        return answers

    def _names_of(self, run_ids: Sequence[str]) -> list[str]:
        """Their keys ``meta`` and ``lease``."""
        names: list[str] = []
        for run_id in run_ids:
            keys = run_keys(self._prefix, run_id)
            names += (keys.meta, keys.lease)
        return names

    def _explain(self, code: Code, run_id: str) -> DistflowError | None:
        if code != Code.GONE:
            return refusal_of(code, run_id)
        return explain_gone(run_id, look_for(self._client, self._prefix, run_id, self._renewed_at))

    def release_leases(self, owner: str, epochs: Mapping[str, int]) -> None:
        def release(some: Sequence[str]) -> list[Any]:
            calls = [
                ScriptCall("release_lease", self._names_of([run_id]), (owner, epochs[run_id]))
                for run_id in some
            ]
            return self._patiently(lambda: run_scripts(self._client, calls))

        if epochs:
            _ask_of_each(list(epochs), release)

    def read_events(
        self, after: Mapping[str, str], *, block_ms: int | None = None
    ) -> dict[str, list[Event]]:
        if not after:
            return {}

        def read(some: Sequence[str], block: int | None = None) -> list[list[Event]]:
            streams = {run_keys(self._prefix, run_id).events: after[run_id] for run_id in some}
            found = self._patiently(lambda: self._client.xread(streams, count=1000, block=block))
            events = parse_streams(found)
            return [events.get(key, []) for key in streams]

        answers = _ask_of_each(list(after), partial(read, block=block_ms), alone=read)
        for answer in answers:
            if isinstance(answer, DamagedRun):
                # Events of the other runs will be read again.
                raise answer
        return {run_id: events for run_id, events in zip(after, answers, strict=True) if events}

    def _patiently(self, call: Callable[[], _T]) -> _T:
        return call_patiently(call, self._patience_seconds, self._client)


def _ask_of_each(
    run_ids: Sequence[str],
    ask: Callable[[Sequence[str]], list[Any]],
    alone: Callable[[Sequence[str]], list[Any]] | None = None,
) -> list[Any]:
    """The answer for each run. If one of them is damaged, each run is asked about alone, so that
    the others are not affected; the answer for the damaged one is a DamagedRun.

    Args:
        run_ids: at least one.
        ask: returns the answers for some runs.
        alone: the same for one run; None uses ``ask``.
    """
    try:
        return ask(run_ids)
    except (ResponseError, *MALFORMED) as error:
        if isinstance(error, ResponseError) and not is_damage(error):
            raise
        damage = error
    if len(run_ids) == 1:
        return [DamagedRun(run_ids[0], damage)]
    return [answer for run_id in run_ids for answer in _ask_of_each([run_id], alone or ask)]


def _unled(told: Any, seconds: int) -> UnledRun | None:
    """A run that nobody leads, from its ``meta``; None if there is none. A damaged one has no known
    status: whoever tries to lead it finds the damage and reports it.
    """
    try:
        if isinstance(told, Exception):
            raise told
        status, created_at, detached, epoch = told
        if status is None:
            return None
        return UnledRun(
            RunStatus(status.decode()),
            seconds - int(created_at or 0) / 1000,
            detached=detached is not None,
            led_before=epoch not in (None, b"0"),
        )
    except (ResponseError, *MALFORMED):
        return UnledRun(RunStatus.RUNNING, 0.0, detached=True, led_before=False)
