"""The base of all parts of the Redis store: keys, scripts, and patience with Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from typing import Any, Concatenate, ParamSpec, TypeVar

from redis import Redis
from redis.exceptions import ResponseError

from distflow.core.claim import Code, check_version
from distflow.core.status import TaskStatus
from distflow.errors import (
    Damaged,
    DamagedRun,
    DistflowError,
    RunForgotten,
    RunGone,
    RunNotFound,
    StaleEpoch,
)
from distflow.store.redis.keys import DEFAULT_PREFIX, RunKeys
from distflow.store.redis.patience import call_patiently
from distflow.store.redis.scripts import run_script

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Store = TypeVar("_Store", bound="StoreBase")

#: What reading bytes raises that distflow did not write.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, OverflowError, Damaged)

#: How Redis reports that a key holds another kind of value, or that a script met one. A missing
#: right is a different error.
_WRONG_TYPE, _IN_SCRIPT, _NO_RIGHT = "WRONGTYPE", "user_script:", ("NOPERM", "permission", "access")

#: Names per call of a script: it must not block Redis for long.
_NAMES_PER_CALL = 4096

#: Imported only when a run is missing: work horses, which start for every job, need not pay for it.
_ABSENCE = "distflow.store.redis.absence"


class StoreBase:
    """One run on one Redis.

    Args:
        client: the connection; its ``decode_responses`` must be off.
        run_id: the run.
        prefix: first part of every key.
        patience_seconds: how long a call is retried while Redis is away. Scripts are idempotent
            under lost replies, so repeating a call is safe.
    """

    def __init__(
        self,
        client: Redis,
        run_id: str,
        *,
        prefix: str = DEFAULT_PREFIX,
        patience_seconds: float = 60.0,
    ) -> None:
        # redis-py's types cover clients of every kind; this one answers in bytes.
        self.client: Any = client
        self.run_id = run_id
        self.prefix = prefix
        self.keys = RunKeys(prefix, run_id)
        self.patience_seconds = patience_seconds
        #: When the run was last seen, on the monotonic clock; None before.
        self._seen_at: float | None = None
        #: Whether this store has deleted it.
        self._has_deleted = False

    def _run(self, script: str, keys: Sequence[str], *arguments: str | bytes | float) -> Any:
        return self._patiently(lambda: run_script(self.client, script, keys, arguments))

    def _read_cut(self, names: Sequence[str]) -> list[list[Any]]:
        """Outcomes, claims, progress and notes of tasks, packed; None where a task has none."""
        keys = self.keys
        used = (keys.meta, keys.results, keys.claims, keys.progress, keys.saved)
        found: list[list[Any]] = self._run("read_cut", used, *names)
        return found

    def _read_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        keys, found = (self.keys.meta, self.keys.results), []
        for start in range(0, len(names), _NAMES_PER_CALL):
            some = names[start : start + _NAMES_PER_CALL]
            found += parse_statuses(self._run("read_statuses", keys, *some))
        return found

    def _patiently(self, call: Callable[[], _T]) -> _T:
        try:
            return call_patiently(call, self.patience_seconds, self.client)
        except ResponseError as error:
            if is_damage(error):
                raise DamagedRun(self.run_id, error) from error
            raise

    def _require(self, code: int) -> None:
        """Raise the error for the code of a coordinator's or a person's call; OK and RECORDED
        pass.
        """
        if code == Code.GONE:
            raise self.explain_gone()
        self._note_seen()
        refusal = refusal_of(Code(code), self.run_id)
        if refusal is not None:
            raise refusal
        if code == Code.TOO_NEW:
            self._check_version()

    def _check_version(self) -> None:
        said = self._patiently(self._ask_version)
        try:
            version = int(said)
        except ValueError as error:
            raise DamagedRun(self.run_id, error) from error
        check_version(self.run_id, version)

    def _ask_version(self) -> bytes:
        found: bytes = self.client.hget(self.keys.meta, "v")
        return found

    def _note_seen(self) -> None:
        self._seen_at, self._has_deleted = time.monotonic(), False

    def _note_deleted(self) -> None:
        self._has_deleted = True

    def explain_gone(self) -> RunGone:
        if self._has_deleted:
            return RunGone(f"run {self.run_id} was deleted")
        gone: RunGone = import_module(_ABSENCE).explain_gone(self.run_id, self._look_for())
        return gone

    def _missing(self) -> RunNotFound:
        if self._seen_at is not None and not self._has_deleted:
            gone = self.explain_gone()
            if isinstance(gone, RunForgotten):
                return gone
        missing: RunNotFound = import_module(_ABSENCE).explain_missing(
            self.run_id, self._look_for()
        )
        return missing

    def _look_for(self) -> Any:
        look_for = import_module(_ABSENCE).look_for
        return look_for(self.client, self.prefix, self.run_id, self._seen_at)


#: Statuses as scripts return them; empty if there is no outcome.
_STATUSES: dict[bytes, TaskStatus | None] = {
    b"": None,
    **{status.value.encode(): status for status in TaskStatus},
}


def parse_statuses(found: Sequence[bytes]) -> list[TaskStatus | None]:
    """Statuses from the reply of the script ``read_statuses``."""
    return [_STATUSES[status or b""] for status in found]


def reading(
    method: Callable[Concatenate[_Store, _P], _T],
) -> Callable[Concatenate[_Store, _P], _T]:
    """Mark a method of a store that decodes what Redis holds.

    The method then raises DamagedRun for data that distflow did not write.
    """

    @wraps(method)
    def read(self: _Store, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return method(self, *args, **kwargs)
        except DamagedRun:
            raise
        except MALFORMED as error:
            raise DamagedRun(self.run_id, error) from error

    return read


def is_damage(error: ResponseError) -> bool:
    """Whether Redis, or a script there, met data that distflow did not write."""
    said = str(error)
    strange = _WRONG_TYPE in said or _IN_SCRIPT in said
    return strange and not any(word in said for word in _NO_RIGHT)


def refusal_of(code: Code, run_id: str) -> DistflowError | None:
    """The error for a coordinator's call that was refused although the run exists; None if it was
    not refused.
    """
    if code == Code.STALE_EPOCH:
        return StaleEpoch(f"run {run_id}: another coordinator has taken it over")
    return None
