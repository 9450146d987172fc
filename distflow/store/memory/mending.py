"""The memory store as whoever mends a run uses it."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.core.claim import NAMELESS, WorkerFacts, unread_jobs
from distflow.core.run import Event, HeldTask, HistoryEntry, Repair, Vitals
from distflow.core.status import TaskStatus
from distflow.store.memory.server import MemoryBase


class MemoryMendingStore(MemoryBase):
    """What a coordinator looks at to find that something was lost, and how it tells of repairs."""

    def read_vitals(self) -> Vitals:
        with self.server.changed:
            run = self._find()
            if run is None:
                return Vitals(0, 0, "0-0", "", 0)
            newest = run.events[-1].id if run.events else "0-0"
            counts = len(run.results), len(run.claims)
            return Vitals(*counts, newest, run.status.value, run.count().get(TaskStatus.UNKNOWN, 0))

    def record_repair(
        self, epoch: int, operation: str, repair: Repair, *, by: WorkerFacts = NAMELESS
    ) -> None:
        with self.server.changed:
            run = self._led(epoch)
            # The reply to this very call was lost.
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
