"""The memory store for people and verify hooks that decide on tasks."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.core.claim import Code, check_version
from distflow.core.resolution import Answer, Decision, Dependent, Resolution, said_tries
from distflow.core.run import Event, HistoryEntry
from distflow.core.status import TaskStatus
from distflow.ports.resolving import ResolvingPort
from distflow.store.memory.server import MemoryBase, MemoryRun
from distflow.store.redis.resolving import overtaken
from distflow.store.redis.worker import not_unknown


class MemoryResolvingStore(MemoryBase, ResolvingPort):
    """The decisions of people and of verify hooks."""

    def resolve_task(
        self,
        operation: str,
        decision: Answer,
        resolution: Resolution,
        who: str,
        note: str,
    ) -> TaskStatus:
        with self.server.changed:
            run, task = self._existing_version(), resolution.task
            # The reply to this decision was lost, and much may have happened since.
            decided = run.resolved.get(task) == operation
            if decided or _stands(run, task, resolution.packed, operation):
                return _status(run, task)
            # Decided already; or a slow hook was asked about an earlier attempt.
            if resolution.seen != run.results.get(task):
                raise not_unknown(task, run.outcome(task) or "")
            return _decide(run, operation, decision, resolution, who, note)

    def resolve_tasks(
        self,
        operation: str,
        decision: Decision,
        resolutions: Sequence[Resolution],
        who: str,
        note: str,
        *,
        skips: int | None = None,
    ) -> list[TaskStatus]:
        with self.server.changed:
            run = self._existing_version()
            statuses = [_status(run, item.task) for item in resolutions]
            if any(run.resolved.get(item.task) == operation for item in resolutions):
                return statuses
            if skips is not None and skips != run.count().get(TaskStatus.SKIPPED, 0):
                raise overtaken(self.run_id, Code.LOOK_AGAIN, "", "", "")
            stand = [_stands(run, item.task, item.packed, operation) for item in resolutions]
            for item, stands in zip(resolutions, stand, strict=True):
                if not stands:
                    self._check(run, item)
            return [
                status if stands else _decide(run, operation, decision, item, who, note)
                for item, stands, status in zip(resolutions, stand, statuses, strict=True)
            ]

    def _existing_version(self) -> MemoryRun:
        run = self._find()
        if run is None:
            raise self._missing()
        check_version(self.run_id, run.spec.version)
        return run

    def _check(self, run: MemoryRun, item: Resolution) -> None:
        status = run.outcome(item.task) or ""
        if _is_overtaken(run, item):
            raise overtaken(self.run_id, Code.WRONG_STATE, item.task, status, "")
        for dependent in item.dependents:
            if _has_begun(run, dependent):
                raise overtaken(self.run_id, Code.WRONG_STATE, item.task, status, dependent.task)
        lease = run.holder(self.server.now_ms())
        if item.leader == "absent" and lease is not None:
            raise overtaken(self.run_id, Code.HELD, item.task, lease.owner, "")


def _status(run: MemoryRun, task: str) -> TaskStatus:
    return run.outcome(task) or TaskStatus.READY


def _stands(run: MemoryRun, task: str, packed: bytes, operation: str) -> bool:
    known = run.results.get(task)
    if known is None:
        return run.last_try(task).token == operation
    return known == packed


def _is_overtaken(run: MemoryRun, item: Resolution) -> bool:
    known = run.results.get(item.task)
    if item.seen is not None:
        return item.seen != known
    # A claimed task counts as begun.
    decided = run.resolved.get(item.task)
    again = decided is not None and run.last_try(item.task).token == decided
    return known is not None or not again or item.task in run.claims


def _has_begun(run: MemoryRun, seen: Dependent) -> bool:
    status = run.outcome(seen.task) or ""
    tries = said_tries(run.progress.get(seen.task))
    return seen.task in run.claims or status != seen.status or tries != seen.tries


def _decide(
    run: MemoryRun, operation: str, decision: Answer, item: Resolution, who: str, note: str
) -> TaskStatus:
    """Write the result of a decision."""
    task = item.task
    known = run.results.get(task)
    run.resolved[task] = operation
    decides = bool(item.packed) or item.progress is not None
    kind = "resolved" if decides else "asked"
    at = run.now_ms() / 1000
    entry = HistoryEntry(at, kind, task, decision, by=who, note=note, packed=known)
    run.remember(entry, keep=True)
    if decides and known is not None:
        run.take_outcome(task)
    if item.progress is not None:
        run.progress[task] = item.progress
    elif decides:
        run.results[task] = item.packed
        run.progress.pop(task, None)
    status = _status(run, task)
    run.append_event(Event("", "resolved", task=task, status=status, worker=who, note=note))
    if decides:
        for name in item.skipped:
            if run.outcome(name) == TaskStatus.SKIPPED:
                del run.results[name]
        if item.leader != "stays":
            run.epoch += 1
            run.lease = None
        run.unblock()
    return status
