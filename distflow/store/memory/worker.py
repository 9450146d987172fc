"""The memory store for workers: begin, claim, start, finish, beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distflow.core.claim import (
    DURABLE_BY_WAITING,
    NAMELESS,
    Advance,
    BatchOpening,
    ClaimReply,
    ClaimRequest,
    Code,
    Finish,
    Refused,
    Unknown,
    WorkerFacts,
)
from distflow.core.expansion import Expansion
from distflow.core.run import Beat, Claim, Event
from distflow.core.status import CLAIMED_RUNS, SATISFYING, UNSTARTED_RUNS, TaskStatus
from distflow.ports.worker import WorkerPort
from distflow.store.memory.server import MemoryBase, MemoryRun
from distflow.store.redis.keys import STAND_IN
from distflow.wire.codec import status_of


class MemoryWorkerStore(MemoryBase, WorkerPort):
    """The transitions that workers make."""

    def begin_batch(self, epoch: int, batch: str, worker: str, job: str) -> BatchOpening:
        with self.server.changed:
            run = self._find()
            if run is None:
                return BatchOpening(Code.GONE)
            if run.epoch != epoch:
                return BatchOpening(Code.STALE_EPOCH)
            if run.status not in CLAIMED_RUNS:
                return BatchOpening(Code.STOPPED)
            # A second worker that gets the same queue entry leaves the batch to the first.
            if batch in run.beats and run.beats[batch].worker != worker:
                return BatchOpening(Code.STOPPED)
            self._need_room()
            run.beats[batch] = Beat(worker, job, self.server.now_ms(), "")
            options = run.spec.options
            return BatchOpening(
                Code.OK,
                run.params,
                run.spec.origin,
                options.context or "",
                options.max_result_bytes,
                run.spec.server.durability == DURABLE_BY_WAITING,
            )

    def advance(  # noqa: PLR0913 - by name
        self,
        epoch: int,
        batch: str,
        finishes: Sequence[Finish] = (),
        claims: Sequence[ClaimRequest] = (),
        *,
        released: Sequence[tuple[str, str]] = (),
        ending: bool = False,
        unstarted: Sequence[str] = (),
        refused: Sequence[Refused] = (),
        by: WorkerFacts = NAMELESS,
        records: Sequence[tuple[str, str]] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> Advance:
        # There is no wait in which to call it.
        del meanwhile
        with self.server.changed:
            run = self._find()
            if run is None:
                gone = ClaimReply(Code.GONE)
                return Advance((Code.GONE,) * len(finishes), (gone,) * len(claims))
            now = self.server.now_ms()
            codes = tuple(_finish(run, done, now) for done in finishes)
            for task, token in released:
                _release(run, batch, task, token)
            for each in refused:
                run.keep_refusal(each, by)
                _release(run, batch, each.task, each.token, worker=by.name, note=each.words)
            full = self.server.full
            valid = run.epoch == epoch and run.expansions.has_all(records)
            replies = tuple(
                _claim(run, batch, wanted, now, valid=valid, full=full) for wanted in claims
            )
            if ending and run.beats.pop(batch, None) is not None:
                run.append_event(Event("", "batch_ended", batch=batch, unstarted=tuple(unstarted)))
            return Advance(codes, replies)

    def start_task(self, task: str, token: str, *, on_disk: bool = True) -> Code:
        # There is no disk to wait for.
        del on_disk
        with self.server.changed:
            run = self._find()
            if run is None:
                return Code.GONE
            claim = run.claims.get(task)
            if claim is None or claim.token != token:
                return Code.REFUSED
            self._need_room()
            if claim.started:
                return Code.GRANTED
            if run.status in UNSTARTED_RUNS:
                return Code.STOPPED
            run.claims[task] = claim._replace(started=self.server.now_ms())
            told = Event("", "started", task=task, attempt=claim.attempt, batch=claim.batch)
            run.append_event(told)
            return Code.GRANTED

    def beat(
        self, batch: str, worker: str, job: str, task: str, *, overdue: bool = False
    ) -> tuple[Code, str]:
        with self.server.changed:
            run = self._find()
            if run is None:
                return Code.GONE, ""
            # A batch that was given up must not come back to life.
            if batch not in run.beats:
                return Code.REFUSED, ""
            run.beats[batch] = Beat(worker, job, self.server.now_ms(), task, overdue)
            return Code.OK, run.status.value

    def write_chunk(self, task: str, token: str, number: int, packed: bytes) -> Code:
        with self.server.changed:
            run = self._find()
            if run is None:
                return Code.GONE
            claim = run.claims.get(task)
            if claim is None or claim.token != token:
                return Code.REFUSED
            self._need_room()
            run.expansions.write_chunk(token, number, packed)
            return Code.GRANTED

    def fetch_expansion(self, node: str) -> tuple[Expansion, bytes] | None:
        with self.server.changed:
            run = self._find()
            record = run.expansions.records.get(node) if run else None
            if run is None or record is None:
                return None
            return record, run.expansions.chunks[record.token][STAND_IN]

    def fetch_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        return [
            None if packed is None else status_of(packed) for packed in self.fetch_results(names)
        ]

    def save_note(self, task: str, token: str, packed: bytes) -> Code:
        with self.server.changed:
            run = self._find()
            if run is None:
                return Code.GONE
            claim = run.claims.get(task)
            # An attempt that was given up as unknown is still the last one.
            last = run.outcome(task) == TaskStatus.UNKNOWN and run.last_try(task).token == token
            if not (claim and claim.token == token) and not last:
                return Code.REFUSED
            self._need_room()
            run.notes[task] = packed
            return Code.OK

    def fetch_note(self, task: str) -> bytes | None:
        with self.server.changed:
            run = self._find()
            return run.notes.get(task) if run else None

    def fetch_unknown(self, task: str) -> Unknown | None:
        with self.server.changed:
            run = self._find()
            if run is None or run.outcome(task) != TaskStatus.UNKNOWN:
                return None
            return Unknown(run.results[task], run.last_try(task))

    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]:
        with self.server.changed:
            run = self._find()
            return [run.results.get(name) if run else None for name in names]

    def list_results(self) -> list[str]:
        with self.server.changed:
            run = self._find()
            return list(run.results) if run else []


def _finish(run: MemoryRun, done: Finish, now: int) -> Code:
    """Record an outcome, if its token holds the claim, or held it before the task became
    unknown.
    """
    claim = run.claims.get(done.task)
    if claim and claim.token == done.token:
        if done.growth is not None:
            chunks = run.graph.values()
            code = run.expansions.expand(done.task, done.token, done.growth, chunks, run.total)
            if code is not None:
                return code
            run.total += done.growth.children
        elif done.grows:
            run.expansions.drop_chunks(done.token)
        del run.claims[done.task]
    else:
        known = run.results.get(done.task)
        told = run.last_try(done.task).token == done.token
        # The reply to an earlier delivery of this outcome was lost.
        if known == done.packed or (known is None and done.kind == "wait" and told):
            return Code.RECORDED
        # Another claim, a reopening or a decision overtook this one: it is evidence, not an
        # outcome.
        unknown = run.outcome(done.task) == TaskStatus.UNKNOWN
        if known is None or not unknown or not told or done.growth is not None:
            run.remember_finish("refused", done, now)
            run.append_event(
                Event(
                    "",
                    "refused",
                    task=done.task,
                    status=done.status,
                    attempt=done.attempt,
                    worker=done.worker,
                )
            )
            return Code.REFUSED
        # The task was given up as unknown, and the worker that had it reports how it really ended.
        late = done._replace(status=TaskStatus.UNKNOWN.value, packed=known)
        run.remember_finish("late", late, now)
        run.take_outcome(done.task)
        run.unblock()
    if done.kind == "final":
        run.settle_final(done)
    else:
        run.settle_waiting(done, done.history_kind, done.token, now)
    return Code.RECORDED


def _release(
    run: MemoryRun, batch: str, task: str, token: str, *, worker: str = "", note: str = ""
) -> None:
    """Nothing happened: others may run the task."""
    held = run.claims.get(task)
    if held is not None and held.token == token:
        del run.claims[task]
        run.expansions.drop_chunks(token)
        told = Event("", "released", task, "", held.attempt, batch, worker, note=note)
        run.append_event(told)


def _claim(
    run: MemoryRun, batch: str, wanted: ClaimRequest, now: int, *, valid: bool, full: bool
) -> ClaimReply:
    """Grant a batch the claim on a task, or say why not. ``valid``: its coordinator still leads the
    run, with the expansions that the batch's tasks are of.
    """
    held = run.claims.get(wanted.task)
    # The reply to this claim was lost: the caller holds it, whatever happened since.
    if held and held.token == wanted.token:
        return ClaimReply(Code.GRANTED, held.attempt, held.iteration, held.base, held.lost)
    last = run.last_try(wanted.task)
    others = {claim.batch for claim in run.claims.values()} - {batch}
    limit = run.spec.options.concurrency
    if not valid:
        return ClaimReply(Code.STALE_EPOCH)
    # If the batch was given up, nobody would watch the claim.
    if run.status not in CLAIMED_RUNS or batch not in run.beats:
        return ClaimReply(Code.STOPPED)
    if held:
        return ClaimReply(Code.BUSY)
    if wanted.task in run.results:
        return ClaimReply(Code.DONE)
    if last.started or last.not_before > now or not _satisfied(run, wanted, batch):
        return ClaimReply(Code.NOT_READY)
    # A delayed delivery of a claim whose outcome was recorded already.
    if last.token == wanted.token:
        return ClaimReply(Code.NOT_READY)
    if full or (limit is not None and len(others) >= limit):
        return ClaimReply(Code.LIMIT)
    run.claims[wanted.task] = Claim(
        attempt=last.attempt,
        iteration=last.iteration,
        token=wanted.token,
        batch=batch,
        claimed=now,
        started=now if wanted.start else 0,
        base=last.base,
        lost=last.lost,
    )
    if not wanted.quiet:
        run.append_event(Event("", "claimed", task=wanted.task, attempt=last.attempt, batch=batch))
    return ClaimReply(Code.GRANTED, last.attempt, last.iteration, last.base, last.lost)


def _satisfied(run: MemoryRun, wanted: ClaimRequest, batch: str) -> bool:
    for dependency, tolerated in wanted.needs:
        status = run.outcome(dependency)
        if status is None and wanted.group:
            held = run.claims.get(dependency)
            if held is None or held.batch != batch:
                return False
        elif status not in SATISFYING[tolerated]:
            return False
    return True
