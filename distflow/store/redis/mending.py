"""The store as whoever mends a run uses it."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from distflow.core.claim import NAMELESS, WorkerFacts, unread_jobs
from distflow.core.run import HeldTask, Refusal, Repair, Vitals
from distflow.faults import commit
from distflow.store.redis.base import StoreBase, reading
from distflow.store.redis.keys import active_key, active_keys, runs_key


class MendingStore(StoreBase):
    """What a coordinator looks at to find that something was lost, and how it tells of repairs."""

    def read_vitals(self) -> Vitals:
        keys = self.keys
        used = (keys.meta, keys.results, keys.claims, keys.events)
        outcomes, claims, newest, status, unknown = self._run("read_vitals", used)
        return Vitals(outcomes, claims, newest.decode(), status.decode(), unknown)

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

    @reading
    def read_refusals(self) -> list[Refusal]:
        found = self._patiently(lambda: self.client.hgetall(self.keys.refusals))
        refusals = [_refusal(key, packed) for key, packed in found.items()]
        return sorted(refusals, key=lambda refusal: (refusal.since, refusal.key))

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
            # A run that was deleted belongs into no index.
            if created_at is None or (active and listed is not None):
                return False, False
            with commit("restore_indices"):
                pipeline = self.client.pipeline(transaction=False)
                pipeline.sadd(active_key(self.prefix, int(version or 1)), run_id)
                pipeline.zadd(runs_key(self.prefix), {run_id: int(created_at) / 1000}, nx=True)
                pipeline.execute()
            return not active, listed is None

        return any(self._patiently(look))


def _refusal(key: bytes, packed: bytes) -> Refusal:
    known = msgpack.unpackb(packed)
    known["tasks"], known["since"] = tuple(known["tasks"]), known["since"] / 1000
    return Refusal(*msgpack.unpackb(key), **known)
