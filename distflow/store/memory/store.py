"""RunStore in memory: the reference model of the scripts, and the store of the in-process runner.

Each method does in plain Python what its script does on Redis; one contract suite runs on both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from distflow.core.claim import Progress, check_version
from distflow.core.expansion import Expansion
from distflow.core.model import Task
from distflow.core.readings import Creation, Problems, RunHead, RunReading, ServerInfo
from distflow.core.run import (
    Beat,
    Claim,
    HistoryEntry,
    Refusal,
    RunInfo,
    RunSpec,
    TaskCut,
    live_counts,
)
from distflow.core.status import OUTCOMES, RunStatus, TaskStatus
from distflow.errors import LookAgain, RunExists, WrongState
from distflow.ports.run_store import RunStore
from distflow.store.memory.coordinator import MemoryCoordinatorStore
from distflow.store.memory.resolving import MemoryResolvingStore
from distflow.store.memory.server import MemoryRun, MemoryServer
from distflow.store.memory.worker import MemoryWorkerStore
from distflow.store.redis.keys import STAND_IN
from distflow.store.redis.reading import no_chunk
from distflow.wire.codec import encode_tasks, pack
from distflow.wire.run_fields import as_kept, decode_spec, encode_spec

__all__ = ["MemoryRunStore", "MemoryServer"]


class MemoryRunStore(MemoryWorkerStore, MemoryResolvingStore, MemoryCoordinatorStore, RunStore):
    """One run in memory. Safe to share between threads."""

    def create_run(
        self, spec: RunSpec, operation: str, tasks: Sequence[Task] | None = None
    ) -> None:
        params = pack(dict(spec.params))
        kept = decode_spec(self.run_id, as_kept(encode_spec(spec)))
        with self.server.changed:
            now = self.server.now_ms()
            self._need_room()
            self.server.active.add(self.run_id)
            if self.run_id not in self.server.index:
                self.server.index.append(self.run_id)
            run = self._find()
            if run is None:
                server = self.server
                made = MemoryRun(kept, operation, params, now, server.changed, server.now_ms)
                self.server.runs[self.run_id] = made
                if tasks is not None:
                    made.graph[0] = list(tasks)
                    made.troubles.add_tasks(tasks)
                    made.total, made.status = len(tasks), RunStatus.RUNNING
            elif run.operation != operation:
                raise RunExists(
                    f"run {self.run_id!r} exists already: choose another --run-id, "
                    f"or look at it with `distflow status {self.run_id}`"
                )

    def append_tasks(self, operation: str, chunk: int, tasks: Sequence[Task]) -> None:
        with self.server.changed:
            run = self._being_made(operation)
            run.graph[chunk] = list(tasks)
            run.troubles.add_tasks(tasks)

    def hydrate(
        self, operation: str, outcomes: Iterable[tuple[str, bytes | None, Progress | None]]
    ) -> None:
        with self.server.changed:
            run = self._being_made(operation)
            for task, packed, progress in outcomes:
                if packed is not None:
                    run.results.setdefault(task, packed)
                if progress is not None:
                    run.progress[task] = progress

    def hydrate_notes(self, operation: str, notes: Sequence[tuple[str, bytes]]) -> None:
        with self.server.changed:
            self._being_made(operation).notes.update(notes)

    def hydrate_expansions(
        self,
        operation: str,
        expansions: Iterable[tuple[str, Expansion, Iterable[Sequence[Task]], bytes]],
    ) -> None:
        for node, expansion, chunks, stand_in in expansions:
            for number, tasks in enumerate(chunks):
                with self.server.changed:
                    run = self._being_made(operation)
                    run.expansions.write_chunk(expansion.token, number, encode_tasks(tasks))
                    run.troubles.add_tasks(tasks)
            with self.server.changed:
                run = self._being_made(operation)
                run.expansions.write_chunk(expansion.token, STAND_IN, stand_in)
                run.expansions.records[node] = expansion

    def seal_run(self, operation: str, total: int) -> None:
        with self.server.changed:
            run = self._existing()
            # The reply to this call was lost.
            if run.operation == operation and run.status != RunStatus.CREATING:
                return
            run = self._being_made(operation)
            run.status = RunStatus.RUNNING
            run.total = total

    def read_creation(self) -> Creation | None:
        with self.server.changed:
            run = self._find()
            if run is None or run.status != RunStatus.CREATING:
                return None
            written = len(run.graph), len(run.results), len(run.progress), len(run.notes)
            return Creation(run.operation, written)

    def discard_creation(self, operation: str, *, unlist: bool = False, made: bool = False) -> None:
        with self.server.changed:
            run = self._find()
            if run is None:
                return
            check_version(self.run_id, run.spec.version)
            is_unused = run.status == RunStatus.CREATING or (made and not run.epoch)
            if run.operation != operation or not is_unused:
                raise LookAgain(f"run {self.run_id} was changed in the meantime: try again")
            del self.server.runs[self.run_id]
            if unlist:
                self.server.active.discard(self.run_id)
                self.server.index.remove(self.run_id)

    def delete_run(self, *, force: bool = False) -> None:
        with self.server.changed:
            run = self._find()
            if run:
                check_version(self.run_id, run.spec.version)
            what = None
            if run and not force and run.holder(self.server.now_ms()):
                what = "is being coordinated"
            elif run and not force and run.claims:
                what = "has tasks at work"
            if what:
                raise WrongState(
                    f"run {self.run_id} {what}: cancel it first, or delete it with --force"
                )
            self.server.runs.pop(self.run_id, None)
            self.server.active.discard(self.run_id)
            if run is None:
                raise self._missing()
            self.server.index.remove(self.run_id)

    def mark_active(self, version: int | None) -> None:
        # One list is enough: only one release uses it.
        with self.server.changed:
            change = self.server.active.discard if version is None else self.server.active.add
            change(self.run_id)

    def read_server(self) -> ServerInfo:
        return ServerInfo(self.server.now_ms() / 1000, "memory")

    def read_info(self) -> RunInfo:
        with self.server.changed:
            run = self._find()
            if run is None:
                raise self._missing()
            check_version(self.run_id, run.spec.version)
            now = self.server.now_ms()
            lease = run.holder(now)
            grace_left = run.grace_left(now)
            by_outcome = run.count()
            counts = {status.value: by_outcome.get(status, 0) for status in OUTCOMES}
            counts = live_counts(
                run.total,
                counts,
                running=len(run.claims),
                queued=run.queued,
                waiting=run.waiting,
                led=lease is not None,
            )
            return RunInfo(
                run_id=self.run_id,
                version=run.spec.version,
                workflow=run.spec.workflow,
                status=run.status,
                params=dict(run.spec.params),
                origin=run.spec.origin,
                options=run.spec.options,
                server=run.spec.server,
                total=run.total,
                epoch=run.epoch,
                generation=run.generation,
                created_at=run.created_at / 1000,
                started_at=_seconds(run.started_at),
                ended_at=_seconds(run.ended_at),
                counts=counts,
                coordinator=lease.owner if lease else None,
                as_of=self.server.clock(),
                rest_at=_seconds(run.rest_at),
                rested_seconds=run.rested / 1000,
                clock_at=_seconds(run.clock_at),
                stop_at=None if grace_left is None else (now + grace_left) / 1000,
                reason=run.reason,
                repairs=dict(run.repairs),
                held=run.held if run.claims else (),
                queues=tuple(sorted(_queues(run))),
                returns=run.spec.returns,
            )

    def read_head(self, *, with_tasks: bool = True, with_server: bool = True) -> RunHead:
        info = self.read_info()
        tasks = next(self.iter_tasks(), []) if with_tasks else []
        progress = len(self.read_progress())
        return RunHead(info, tasks, progress, self.read_server() if with_server else None)

    def read_standing(self, names: Sequence[str]) -> RunReading:
        newest, info = self.last_event_id(), self.read_info()
        statuses = self.read_statuses(names)
        return RunReading(newest, info, statuses, self.read_claims(), self.read_progress())

    def read_status(self) -> RunStatus:
        with self.server.changed:
            run = self._find()
            if run is None:
                raise self._missing()
            check_version(self.run_id, run.spec.version)
            return run.status

    def iter_tasks(self, start: int = 0) -> Iterator[list[Task]]:
        with self.server.changed:
            run = self._find()
            chunks = [list(run.graph[index]) for index in sorted(run.graph)[start:]] if run else []
        yield from chunks

    def read_expansions(self) -> dict[str, Expansion]:
        with self.server.changed:
            run = self._find()
            return dict(run.expansions.records) if run else {}

    def read_expansion(self, node: str) -> Expansion | None:
        return self.read_expansions().get(node)

    def read_chunk(self, token: str, number: int) -> list[Task]:
        with self.server.changed:
            run = self._find()
            if run is None:
                raise self._missing()
            tasks = run.expansions.read_chunk(token, number)
        if tasks is None:
            raise no_chunk(self.run_id, token, number)
        return tasks

    def read_stand_in(self, token: str) -> bytes | None:
        with self.server.changed:
            run = self._find()
            return run.expansions.read_stand_in(token) if run else None

    def read_stand_ins(self, tokens: Sequence[str]) -> list[bytes | None]:
        return [self.read_stand_in(token) for token in tokens]

    def read_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        return self.fetch_statuses(names)

    def read_results(self, names: Sequence[str]) -> list[bytes | None]:
        return self.fetch_results(names)

    def read_cut(self, names: Sequence[str]) -> list[TaskCut]:
        with self.server.changed:
            run = self._find()
            if run is None:
                return [TaskCut(None, None, None) for _ in names]
            return [
                TaskCut(
                    run.results.get(name),
                    run.claims.get(name),
                    run.progress.get(name),
                    run.notes.get(name),
                )
                for name in names
            ]

    def read_troubles(self, limit: int) -> Problems:
        with self.server.changed:
            run = self._find()
            if run is None:
                return Problems([], [], 0, [], [])
            return run.troubles.read(run.results, limit)

    def read_claims(self) -> dict[str, Claim]:
        with self.server.changed:
            run = self._find()
            return dict(run.claims) if run else {}

    def read_progress(self) -> dict[str, Progress]:
        with self.server.changed:
            run = self._find()
            return dict(run.progress) if run else {}

    def sample_progress(self, most: int) -> dict[str, Progress]:
        return dict(islice(self.read_progress().items(), most))

    def read_beats(self) -> dict[str, Beat]:
        with self.server.changed:
            run = self._find()
            return dict(run.beats) if run else {}

    def read_refusals(self) -> list[Refusal]:
        with self.server.changed:
            run = self._find()
            found = list(run.refusals.values()) if run else []
        return sorted(found, key=lambda refusal: (refusal.since, refusal.key))

    def read_history(
        self, task: str | None = None, *, newest: int | None = None
    ) -> list[HistoryEntry]:
        with self.server.changed:
            run = self._find()
            history = [entry for entry, _kept in run.history] if run else []
        if newest is not None:
            history = history[max(0, len(history) - newest) :]
        return [entry for entry in history if task is None or entry.task == task]

    def _being_made(self, operation: str) -> MemoryRun:
        run = self._existing()
        # Another creation of the same name, or a frozen graph.
        if run.operation != operation or run.status != RunStatus.CREATING:
            raise WrongState(f"run {self.run_id} is not being created by this operation")
        self._need_room()
        return run


def _queues(run: MemoryRun) -> set[str]:
    """The queues of its tasks."""
    queues = {task.queue for tasks in run.graph.values() for task in tasks}
    return queues.union(*(record.queues for record in run.expansions.records.values()))


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
