"""The memory store as people and verify hooks use it, who decide."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.core.claim import Code, Progress, check_version
from distflow.core.resolution import Decision, Dependent, Resolution, said_tries
from distflow.core.run import Event, HistoryEntry
from distflow.core.status import REOPENED, TaskStatus
from distflow.ports.resolving import ResolvingPort
from distflow.store.memory.server import MemoryBase, MemoryRun
from distflow.store.redis.resolving import overtaken
from distflow.store.redis.worker import Answer, not_unknown
from distflow.wire.codec import status_of


class MemoryResolvingStore(MemoryBase, ResolvingPort):
    """The decisions of people and of verify hooks."""

    def resolve_task(
        self,
        operation: str,
        task: str,
        decision: Answer,
        packed: bytes,
        who: str,
        note: str,
        *,
        asked: bytes = b"",
    ) -> TaskStatus:
        with self.server.changed:
            run = self._existing_version()
            known = run.results.get(task)
            last = run.last_try(task)
            # The reply to this very decision was lost, and much may have happened since.
            if run.resolved.get(task) == operation or _stands(run, task, packed, operation):
                return _status(run, task)
            if known is None or status_of(known) != TaskStatus.UNKNOWN:
                raise not_unknown(task, "" if known is None else status_of(known))
            # A slow hook was asked about an earlier attempt.
            if asked and asked != known:
                raise not_unknown(task, TaskStatus.UNKNOWN)
            again = Progress(attempt=last.attempt, base=last.attempt - 1, token=operation)
            # A hook's decision gives no new budget: a task that kills its workers must end.
            if asked:
                again = again._replace(base=last.base, lost=last.lost + 1)
            item = Resolution(task, packed, known, again)
            return _decide(run, operation, decision, item, who, note)

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
                raise overtaken(self.run_id, Code.WRONG_STATE, "", "", "")
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
        if item.unled and lease is not None:
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
    # From its claim on it has begun.
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
    """Let a task be what was decided of it."""
    task = item.task
    known = run.results.get(task)
    run.resolved[task] = operation
    kind = "asked" if decision == "undecided" else "resolved"
    at = run.now_ms() / 1000
    entry = HistoryEntry(at, kind, task, decision, by=who, note=note, packed=known)
    run.remember(entry, keep=True)
    if decision == "retry":
        run.results.pop(task, None)
        if item.progress is not None:
            run.progress[task] = item.progress
    elif decision != "undecided":
        run.results[task] = item.packed
        run.progress.pop(task, None)
    status = _status(run, task)
    run.append_event(Event("", "resolved", task=task, status=status, worker=who, note=note))
    if decision != "undecided":
        for name in item.skipped:
            if run.outcome(name) == TaskStatus.SKIPPED:
                del run.results[name]
        # Whoever leads the run may have worked out what follows from the outcome that was.
        before = None if known is None else status_of(known)
        if item.unled or before in REOPENED:
            run.epoch += 1
            run.lease = None
        run.unblock()
    return status
