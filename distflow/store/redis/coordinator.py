"""The store for coordinators, and for people at the command line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

import msgpack

from distflow.core.claim import NAMELESS, Code, Finish, Progress, WorkerFacts, unread_jobs
from distflow.core.run import Event, HeldTask, RefusalKey, Repair, Vitals
from distflow.core.status import ENDED_RUNS, RunStatus, TaskStatus
from distflow.core.stopping import shortens_grace, stop_moment
from distflow.errors import LeaseHeld, LookAgain, WrongState
from distflow.faults import commit
from distflow.ports.coordinator import CoordinatorPort
from distflow.store.redis.base import StoreBase
from distflow.store.redis.keys import active_key, active_keys, runs_key
from distflow.store.redis.scripts import ScriptCall, run_scripts
from distflow.store.redis.worker import finish_fields
from distflow.wire.codec import pack
from distflow.wire.run_fields import asked_grace

#: How often cancelling is retried while others cancel the same run.
_LOOKS = 20

#: Names per call of a script: it must not block Redis for long.
_NAMES_PER_CALL = 1000


class CoordinatorStore(StoreBase, CoordinatorPort):
    """The transitions that a coordinator makes, and how it notices losses."""

    def acquire_lease(self, owner: str, ttl_seconds: float, *, force: bool = False) -> int:
        keys = (self.keys.meta, self.keys.lease, self.keys.history)
        ttl_ms = int(ttl_seconds * 1000)
        code, *rest = self._run("acquire_lease", keys, owner, ttl_ms, int(force))
        self._require(code)
        if code == Code.HELD:
            raise LeaseHeld(f"run {self.run_id} is led by {rest[0].decode()}")
        return int(rest[0])

    def renew_lease(
        self, owner: str, epoch: int, ttl_seconds: float, *, queued: int, waiting: int
    ) -> None:
        keys = (self.keys.meta, self.keys.lease)
        ttl_ms = int(ttl_seconds * 1000)
        codes = self._run("renew_lease", keys, owner, ttl_ms, epoch, queued, waiting)
        self._require(codes[0])

    def release_lease(self, owner: str, epoch: int, *, is_over: bool = False) -> bool:
        call = ScriptCall("release_lease", (self.keys.meta, self.keys.lease), (owner, epoch))
        lists = active_keys(self.prefix) if is_over else []
        unlist = [("SREM", key, self.run_id) for key in lists]
        replies = self._patiently(lambda: run_scripts(self.client, [call], before=unlist))
        return bool(replies[0] == Code.OK)

    def read_events(self, after: str, *, block_ms: int | None = None) -> list[Event]:
        found = self._patiently(
            lambda: self.client.xread({self.keys.events: after}, count=1000, block=block_ms)
        )
        return parse_streams(found).get(self.keys.events, [])

    def trim_events(self, epoch: int, first_kept: str) -> None:
        keys = (self.keys.meta, self.keys.events)
        self._require(self._run("trim_events", keys, epoch, first_kept))

    def settle_claim(self, epoch: int, batch: str, lost: Finish) -> Code:
        keys = self.keys
        request = msgpack.packb({**finish_fields(lost), "batch": batch, "worker": lost.worker})
        code = self._run(
            "settle_claim",
            (
                keys.meta,
                keys.results,
                keys.claims,
                keys.progress,
                keys.beats,
                keys.events,
                keys.history,
                keys.troubles,
                keys.traits,
                keys.graph,
            ),
            epoch,
            request,
            lost.packed,
        )
        self._require(code)
        return Code(code)

    def end_batch(self, epoch: int, batch: str) -> Code:
        keys = (self.keys.meta, self.keys.beats, self.keys.claims)
        code = self._run("end_batch", keys, epoch, batch)
        self._require(code)
        return Code(code)

    def settle_unheld(
        self,
        epoch: int,
        outcomes: Sequence[tuple[str, bytes]],
        *,
        forgotten: Sequence[RefusalKey] = (),
        tolerated: Collection[str] = (),
    ) -> set[str]:
        keys = self.keys
        used = (
            *(keys.meta, keys.results, keys.claims, keys.progress),
            *(keys.troubles, keys.traits, keys.refusals),
        )
        left: set[str] = set()
        for start in range(0, max(1, len(outcomes)), _NAMES_PER_CALL):
            chunk = outcomes[start : start + _NAMES_PER_CALL]
            is_last = start + _NAMES_PER_CALL >= len(outcomes)
            flat = [part for pair in chunk for part in pair]
            told = msgpack.packb(forgotten if is_last else ())
            soft = msgpack.packb([name for name, _packed in chunk if name in tolerated])
            code, indices = self._run("settle_unheld", used, epoch, told, soft, *flat)
            self._require(code)
            left.update(chunk[index][0] for index in indices)
        return left

    def tolerate(self, epoch: int, names: Sequence[str]) -> None:
        keys = (self.keys.meta, self.keys.troubles)
        for start in range(0, max(1, len(names)), _NAMES_PER_CALL):
            some = names[start : start + _NAMES_PER_CALL]
            self._require(self._run("tolerate", keys, epoch, *some))

    def read_vitals(self) -> Vitals:
        keys = self.keys
        used = (keys.meta, keys.results, keys.claims, keys.events, keys.expansions)
        outcomes, claims, newest, status, *more = self._run("read_vitals", used)
        return Vitals(outcomes, claims, newest.decode(), status.decode(), *more)

    def record_repair(
        self, epoch: int, operation: str, repair: Repair, *, by: WorkerFacts = NAMELESS
    ) -> None:
        keys = (self.keys.meta, self.keys.events, self.keys.history, self.keys.refusals)
        refused = unread_jobs(repair.note)
        what = (refused.task, refused.scope, refused.what, refused.words, refused.trace)
        unread = msgpack.packb((by, what)) if by.name else b""
        self._require(self._run("record_repair", keys, epoch, operation, *repair, unread))

    def hold_tasks(self, epoch: int, held: Sequence[HeldTask]) -> None:
        packed = msgpack.packb([[task, worker, int(at * 1000)] for task, worker, at in held])
        self._require(self._run("hold_tasks", (self.keys.meta,), epoch, packed if held else b""))

    def restore_indices(self) -> bool:
        run_id = self.run_id

        def look() -> tuple[bool, bool]:
            pipeline = self.client.pipeline(transaction=False)
            pipeline.hmget(self.keys.meta, "created_at", "v")
            pipeline.zscore(runs_key(self.prefix), run_id)
            for key in active_keys(self.prefix):
                pipeline.sismember(key, run_id)
            (created_at, version), listed, *lists = pipeline.execute()
            active = any(lists)
            # A deleted run belongs in no index.
            if created_at is None or (active and listed is not None):
                return False, False
            with commit("restore_indices"):
                pipeline = self.client.pipeline(transaction=False)
                pipeline.sadd(active_key(self.prefix, int(version or 1)), run_id)
                pipeline.zadd(runs_key(self.prefix), {run_id: int(created_at) / 1000}, nx=True)
                pipeline.execute()
            return not active, listed is None

        return any(self._patiently(look))

    def begin_reopen(self, epoch: int, operation: str) -> None:
        code = self._run("begin_reopen", (self.keys.meta, self.keys.refusals), epoch, operation)
        self._require(code)
        if code == Code.WRONG_STATE:
            raise WrongState(
                f"run {self.run_id} was never completely submitted: remove it with "
                f"`distflow delete {self.run_id}`, and submit it again"
            )

    def reopen_tasks(
        self, epoch: int, items: Sequence[tuple[str, TaskStatus | None, Progress, bool]]
    ) -> None:
        keys = self.keys
        used = (
            *(keys.meta, keys.results, keys.claims),
            *(keys.progress, keys.history, keys.troubles),
        )
        for start in range(0, len(items), _NAMES_PER_CALL):
            flat: list[str | bytes | int] = []
            for name, seen, progress, keep in items[start : start + _NAMES_PER_CALL]:
                flat += (name, seen or "", pack(progress._asdict()), int(keep))
            code = self._run("reopen_tasks", used, epoch, *flat)
            self._require(code)
            if code == Code.WRONG_STATE:
                raise WrongState(f"run {self.run_id} is no longer being reopened")

    def set_times(
        self,
        epoch: int,
        waits: Sequence[tuple[str, int, int]],
        *,
        clock_at: tuple[int, int] | None = None,
        stop_at: tuple[int, int] | None = None,
    ) -> None:
        moved: list[tuple[str, int, int]] = [
            (f":{task}", seen, right) for task, seen, right in waits
        ]
        for name, times in (("clock_at", clock_at), ("stop_at", stop_at)):
            if times is not None:
                moved.append((name, *times))
        keys = (self.keys.meta, self.keys.progress)
        for start in range(0, len(moved), _NAMES_PER_CALL):
            flat = [part for some in moved[start : start + _NAMES_PER_CALL] for part in some]
            self._require(self._run("set_times", keys, epoch, *flat))

    def set_status(
        self,
        new: RunStatus,
        allowed: Collection[RunStatus],
        *,
        epoch: int | None = None,
        reason: str = "",
        restart_clock: bool = False,
        grace_seconds: float | None = None,
    ) -> RunStatus:
        grace = None if grace_seconds is None else int(grace_seconds * 1000)
        seen = ""
        for _look in range(_LOOKS):
            code, status, *stop = self._run(
                "set_status",
                (self.keys.meta, self.keys.events),
                "" if epoch is None else epoch,
                new.value,
                reason,
                int(new in ENDED_RUNS),
                int(restart_clock),
                "" if grace is None else grace,
                seen,
                *(status.value for status in allowed),
            )
            if code != Code.LOOK_AGAIN or grace is None:
                break
            seen, behind, now = (part.decode() for part in stop)
            if not shortens_grace(grace, _left(seen, behind, int(now))):
                return new
        else:
            raise LookAgain(f"others are cancelling run {self.run_id} at the same time: try again")
        if code == Code.GONE and epoch is None:
            raise self._missing()
        self._require(code)
        if code == Code.WRONG_STATE:
            raise WrongState(f"run {self.run_id} is {status.decode()}")
        return new


def _left(stop_at: str, behind: str, now: int) -> int | None:
    """What is left of the grace period in meta, in ms; None if there is none."""
    return stop_moment(int(stop_at), asked_grace(stop_at, behind), now) - now if stop_at else None


def parse_streams(found: Any) -> dict[str, list[Event]]:
    """Parse the reply of XREAD: the events of each stream, by its key."""
    # RESP2 replies [[key, entries]], RESP3 {key: [entries]}.
    if isinstance(found, dict):
        streams = [(key, chain.from_iterable(parts)) for key, parts in found.items()]
    else:
        streams = found or []
    return {
        key.decode(): [
            Event(entry_id.decode(), *told)
            for entry_id, fields in entries
            for told in msgpack.unpackb(fields[b"e"], use_list=False)
        ]
        for key, entries in streams
    }
