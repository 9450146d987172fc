"""The memory store for coordinators, and for people at the command line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence

from distflow.core.claim import (
    NAMELESS,
    Code,
    Finish,
    Progress,
    WorkerFacts,
    check_version,
    unread_jobs,
)
from distflow.core.run import Event, HeldTask, HistoryEntry, RefusalKey, Repair, Vitals, event_order
from distflow.core.status import ENDED_RUNS, REOPENED, RunStatus, TaskStatus
from distflow.core.stopping import shortens_grace
from distflow.errors import LeaseHeld, WrongState
from distflow.ports.coordinator import CoordinatorPort
from distflow.store.memory.server import Lease, MemoryBase
from distflow.wire.codec import status_of

#: Most events per read.
_EVENTS_PER_READ = 1000


class MemoryCoordinatorStore(MemoryBase, CoordinatorPort):
    """The transitions that a coordinator makes, and how it notices losses."""

    def acquire_lease(self, owner: str, ttl_seconds: float, *, force: bool = False) -> int:
        with self.server.changed:
            run = self._existing()
            check_version(self.run_id, run.spec.version)
            now = self.server.now_ms()
            ttl_ms = int(ttl_seconds * 1000)
            expires = now + ttl_ms
            run.shorten_lease(now)
            holder = run.holder(now)
            # The caller holds the lease already: the reply to this call was lost.
            if holder and holder.owner == owner and holder.epoch == run.epoch:
                run.lease = holder._replace(expires=expires, ttl_ms=ttl_ms)
                return run.epoch
            if holder and not force:
                raise LeaseHeld(f"run {self.run_id} is led by {holder.owner}")
            first = run.epoch == 0
            # Epochs grow and never repeat, even if a clock goes back or a run is restored.
            run.epoch = max(run.epoch + 1, now)
            run.lease = Lease(owner, run.epoch, expires, ttl_ms)
            if first:
                run.started_at = run.clock_at = now
                run.rested = 0
                run.rest_at = None if run.rest_at is None else now
            else:
                note = f"epoch {run.epoch}"
                run.remember(HistoryEntry(now / 1000, "taken_over", by=owner, note=note))
            return run.epoch

    def renew_lease(
        self, owner: str, epoch: int, ttl_seconds: float, *, queued: int, waiting: int
    ) -> None:
        with self.server.changed:
            run = self._led(epoch)
            ttl_ms = int(ttl_seconds * 1000)
            run.lease = Lease(owner, epoch, self.server.now_ms() + ttl_ms, ttl_ms)
            run.queued, run.waiting = queued, waiting

    def release_lease(self, owner: str, epoch: int, *, is_over: bool = False) -> bool:
        with self.server.changed:
            if is_over:
                self.server.active.discard(self.run_id)
            run = self._find()
            holder = run and run.holder(self.server.now_ms())
            if run and holder and (holder.owner, holder.epoch) == (owner, epoch):
                run.lease = None
                run.queued = 0
            return run is not None and run.epoch == epoch

    def last_event_id(self) -> str:
        with self.server.changed:
            run = self._find()
            return run.events[-1].id if run and run.events else "0-0"

    def read_events(self, after: str, *, block_ms: int | None = None) -> list[Event]:
        def found() -> list[Event]:
            run = self._find()
            events = run.events if run else []
            last = event_order(after)
            first = bisect_right(events, last, key=lambda event: event_order(event.id))
            return events[first : first + _EVENTS_PER_READ]

        return self.server.wait_for(found, block_ms)

    def trim_events(self, epoch: int, first_kept: str) -> None:
        with self.server.changed:
            run = self._led(epoch)
            first = event_order(first_kept)
            run.events = [event for event in run.events if event_order(event.id) >= first]

    def settle_claim(self, epoch: int, batch: str, lost: Finish) -> Code:  # noqa: ARG002
        with self.server.changed:
            run = self._led(epoch)
            now = self.server.now_ms()
            # Not the token itself: a late outcome of this worker is refused.
            given_up = f"lost:{lost.token}"
            claim = run.claims.get(lost.task)
            if claim is None or claim.token != lost.token:
                # The reply to this call was lost.
                ours = run.results.get(lost.task) == lost.packed or (
                    lost.task not in run.results and run.last_try(lost.task).token == given_up
                )
                return Code.RECORDED if ours else Code.REFUSED
            del run.claims[lost.task]
            if lost.grows:
                run.expansions.drop_chunks(lost.token)
            if lost.kind == "final":
                run.remember_finish("lost", lost, now)
                run.settle_final(lost)
            else:
                run.settle_waiting(lost, "lost", given_up, now)
            return Code.RECORDED

    def end_batch(self, epoch: int, batch: str) -> Code:
        with self.server.changed:
            run = self._led(epoch)
            if any(claim.batch == batch for claim in run.claims.values()):
                return Code.BUSY
            run.beats.pop(batch, None)
            return Code.OK

    def settle_unheld(
        self,
        epoch: int,
        outcomes: Sequence[tuple[str, bytes]],
        *,
        forgotten: Sequence[RefusalKey] = (),
        tolerated: Collection[str] = (),
    ) -> set[str]:
        with self.server.changed:
            run = self._led(epoch)
            left: set[str] = set()
            for task, packed in outcomes:
                known = run.results.get(task)
                if known == packed:
                    continue
                if known is not None or task in run.claims:
                    left.add(task)
                    continue
                run.results[task] = packed
                run.progress.pop(task, None)
                if task in tolerated and status_of(packed) == TaskStatus.FAILURE:
                    run.troubles.tolerant.add(task)
            for key in forgotten:
                run.refusals.pop(key, None)
            return left

    def tolerate(self, epoch: int, names: Sequence[str]) -> None:
        with self.server.changed:
            run = self._led(epoch)
            run.troubles.judged.update(
                name for name in names if run.outcome(name) == TaskStatus.FAILURE
            )

    def read_vitals(self) -> Vitals:
        with self.server.changed:
            run = self._find()
            if run is None:
                return Vitals(0, 0, "0-0", "", 0)
            newest = run.events[-1].id if run.events else "0-0"
            return Vitals(
                outcomes=len(run.results),
                claims=len(run.claims),
                newest_event=newest,
                status=run.status.value,
                unknown=run.count().get(TaskStatus.UNKNOWN, 0),
                expansions=len(run.expansions.records),
            )

    def record_repair(
        self, epoch: int, operation: str, repair: Repair, *, by: WorkerFacts = NAMELESS
    ) -> None:
        with self.server.changed:
            run = self._led(epoch)
            # The reply to this call was lost.
            if run.repair_operation == operation:
                return
            run.repair_operation = operation
            run.repairs[repair.kind] += 1
            entry = HistoryEntry(
                self.server.now_ms() / 1000,
                "repaired",
                status=repair.kind,
                by=repair.worker,
                note=repair.note,
            )
            run.remember(entry)
            if by.name:
                run.keep_refusal(unread_jobs(repair.note), by)
            run.append_event(
                Event(
                    "",
                    "repaired",
                    status=repair.kind,
                    batch=repair.batch,
                    worker=repair.worker,
                    note=repair.note,
                )
            )

    def hold_tasks(self, epoch: int, held: Sequence[HeldTask]) -> None:
        with self.server.changed:
            self._led(epoch).held = tuple(held)

    def restore_indices(self) -> bool:
        server = self.server
        with server.changed:
            run = self._find()
            if run is None or (self.run_id in server.active and self.run_id in server.index):
                return False
            server.active.add(self.run_id)
            if self.run_id not in server.index:
                server.index.append(self.run_id)
                server.index.sort(key=lambda run_id: server.runs[run_id].created_at)
            return True

    def begin_reopen(self, epoch: int, operation: str) -> None:
        with self.server.changed:
            run = self._led(epoch)
            if run.status == RunStatus.CREATING:
                raise WrongState(
                    f"run {self.run_id} was never completely submitted: remove it with "
                    f"`distflow delete {self.run_id}`, and submit it again"
                )
            # A repeated call changes nothing, not even after its reopening has ended.
            if run.reopen_operation == operation:
                return
            self._need_room()
            # This one completes an earlier reopening that was cut off.
            if run.status != RunStatus.REOPENING:
                run.generation += 1
            run.status = RunStatus.REOPENING
            run.reopen_operation = operation
            run.reason = run.stop_at = None
            run.count_rest(self.server.now_ms())
            run.refusals.clear()

    def reopen_tasks(
        self, epoch: int, items: Sequence[tuple[str, TaskStatus | None, Progress, bool]]
    ) -> None:
        with self.server.changed:
            run = self._led(epoch)
            now = self.server.now_ms()
            if run.status != RunStatus.REOPENING:
                raise WrongState(f"run {self.run_id} is no longer being reopened")
            self._need_room()
            for task, seen, progress, keep in items:
                status = run.outcome(task)
                # An outcome that a live worker recorded since the caller looked belongs to this
                # generation.
                if status != seen or (status is not None and status not in REOPENED):
                    continue
                if status is not None:
                    packed = run.take_outcome(task)
                    entry = HistoryEntry(
                        now / 1000, "set_aside", task=task, status=status.value, packed=packed
                    )
                    run.remember(entry, keep=keep)
                elif task in run.claims:
                    continue
                run.progress[task] = progress

    def set_times(
        self,
        epoch: int,
        waits: Sequence[tuple[str, int, int]],
        *,
        clock_at: tuple[int, int] | None = None,
        stop_at: tuple[int, int] | None = None,
    ) -> None:
        with self.server.changed:
            run = self._led(epoch)
            for task, seen, right in waits:
                known = run.progress.get(task)
                if known is not None and known.not_before == seen:
                    run.progress[task] = known._replace(not_before=right)
            if clock_at is not None and run.clock_at == clock_at[0]:
                run.clock_at = clock_at[1]
            if stop_at is not None and run.stop_at == stop_at[0]:
                run.stop_at = stop_at[1]

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
        with self.server.changed:
            if epoch is None and self._find() is None:
                raise self._missing()
            run = self._existing() if epoch is None else self._led(epoch)
            check_version(self.run_id, run.spec.version)
            now = self.server.now_ms()
            grace = None if grace_seconds is None else int(grace_seconds * 1000)
            if run.status == new:
                if grace is not None and shortens_grace(grace, run.grace_left(now)):
                    run.stop_in(now, grace)
                return new
            if run.status not in allowed:
                raise WrongState(f"run {self.run_id} is {run.status}")
            run.status = new
            run.count_rest(now)
            run.reason = reason or run.reason
            run.ended_at = now if new in ENDED_RUNS else None
            if new in ENDED_RUNS:
                run.queued = run.waiting = 0
            if grace is not None:
                run.stop_in(now, grace)
            if restart_clock:
                run.clock_at = now
            run.append_event(Event("", "moved", status=new.value))
            return new
