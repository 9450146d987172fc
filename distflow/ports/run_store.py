"""What the layers above ask of a store and of a dispatcher.

A store answers with encoded TaskResults (``bytes``): what is only passed on is never decoded.
Every transition is atomic and idempotent under a lost reply: its caller makes the token or the
operation id and keeps it over its retries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Literal, Protocol

from distflow.core.claim import (
    NAMELESS,
    Advance,
    BatchOpening,
    ClaimRequest,
    Code,
    Finish,
    Progress,
    Refused,
    Unknown,
    WorkerFacts,
)
from distflow.core.model import Task
from distflow.core.readings import Problems, RunHead, RunReading, ServerInfo
from distflow.core.resolution import Decision, Resolution
from distflow.core.run import (
    Beat,
    Claim,
    Event,
    HeldTask,
    HistoryEntry,
    Refusal,
    RefusalKey,
    Repair,
    RunInfo,
    RunSpec,
    TaskCut,
    Vitals,
)
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import RunGone


class WorkerPort(Protocol):
    """What a worker asks of the store of a run."""

    run_id: str

    def begin_batch(self, epoch: int, batch: str, worker: str, job: str) -> BatchOpening: ...
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
        meanwhile: Callable[[], object] | None = None,
    ) -> Advance: ...
    def start_task(self, task: str, token: str, *, on_disk: bool = True) -> Code: ...
    def beat(
        self, batch: str, worker: str, job: str, task: str, *, overdue: bool = False
    ) -> tuple[Code, str]: ...
    def save_note(self, task: str, token: str, packed: bytes) -> Code: ...
    def fetch_note(self, task: str) -> bytes | None: ...
    def fetch_unknown(self, task: str) -> Unknown | None: ...
    def resolve_task(
        self,
        operation: str,
        task: str,
        decision: Literal["done", "fail", "retry", "undecided"],
        packed: bytes,
        who: str,
        note: str,
        *,
        asked: bytes = b"",
    ) -> TaskStatus: ...
    def explain_gone(self) -> RunGone: ...
    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]: ...
    def list_results(self) -> list[str]: ...


class RunStore(WorkerPort, Protocol):
    """Everything that is asked of the store of a run: see the Redis store for each method."""

    def create_run(
        self, spec: RunSpec, operation: str, tasks: Sequence[Task] | None = None
    ) -> None: ...
    def append_tasks(self, operation: str, chunk: int, tasks: Sequence[Task]) -> None: ...
    def hydrate(
        self, operation: str, outcomes: Iterable[tuple[str, bytes | None, Progress | None]]
    ) -> None: ...
    def hydrate_notes(self, operation: str, notes: Sequence[tuple[str, bytes]]) -> None: ...
    def seal_run(self, operation: str, total: int) -> None: ...
    def delete_run(self, *, force: bool = False) -> None: ...
    def mark_active(self, version: int | None) -> None: ...

    def resolve_tasks(
        self,
        operation: str,
        decision: Decision,
        resolutions: Sequence[Resolution],
        who: str,
        note: str,
        *,
        skips: int | None = None,
    ) -> list[TaskStatus]: ...

    def read_info(self) -> RunInfo: ...
    def read_status(self) -> RunStatus: ...
    def read_head(self, *, with_tasks: bool = True, with_server: bool = True) -> RunHead: ...
    def read_standing(self, names: Sequence[str]) -> RunReading: ...
    def iter_tasks(self, start: int = 0) -> Iterator[list[Task]]: ...
    def read_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]: ...
    def read_results(self, names: Sequence[str]) -> list[bytes | None]: ...
    def read_cut(self, names: Sequence[str]) -> list[TaskCut]: ...
    def read_troubles(self, limit: int) -> Problems: ...
    def read_claims(self) -> dict[str, Claim]: ...
    def read_progress(self) -> dict[str, Progress]: ...
    def sample_progress(self, most: int) -> dict[str, Progress]: ...
    def read_beats(self) -> dict[str, Beat]: ...
    def read_refusals(self) -> list[Refusal]: ...
    def read_history(
        self, task: str | None = None, *, newest: int | None = None
    ) -> list[HistoryEntry]: ...
    def read_server(self) -> ServerInfo: ...

    def acquire_lease(self, owner: str, ttl_seconds: float, *, force: bool = False) -> int: ...
    def renew_lease(
        self, owner: str, epoch: int, ttl_seconds: float, *, queued: int, waiting: int
    ) -> None: ...
    def release_lease(self, owner: str, epoch: int, *, is_over: bool = False) -> bool: ...
    def last_event_id(self) -> str: ...
    def read_events(self, after: str, *, block_ms: int | None = None) -> list[Event]: ...
    def trim_events(self, epoch: int, first_kept: str) -> None: ...
    def settle_claim(self, epoch: int, batch: str, lost: Finish) -> Code: ...
    def end_batch(self, epoch: int, batch: str) -> Code: ...
    def settle_unheld(
        self,
        epoch: int,
        outcomes: Sequence[tuple[str, bytes]],
        *,
        forgotten: Sequence[RefusalKey] = (),
    ) -> set[str]: ...
    def read_vitals(self) -> Vitals: ...
    def record_repair(
        self, epoch: int, operation: str, repair: Repair, *, by: WorkerFacts = NAMELESS
    ) -> None: ...
    def hold_tasks(self, epoch: int, held: Sequence[HeldTask]) -> None: ...
    def restore_indices(self) -> bool: ...
    def begin_reopen(self, epoch: int, operation: str) -> None: ...
    def reopen_tasks(
        self, epoch: int, items: Sequence[tuple[str, TaskStatus | None, Progress, bool]]
    ) -> None: ...
    def set_times(
        self,
        epoch: int,
        waits: Sequence[tuple[str, int, int]],
        *,
        clock_at: tuple[int, int] | None = None,
        stop_at: tuple[int, int] | None = None,
    ) -> None: ...
    def set_status(
        self,
        new: RunStatus,
        allowed: Collection[RunStatus],
        *,
        epoch: int | None = None,
        reason: str = "",
        restart_clock: bool = False,
        grace_seconds: float | None = None,
    ) -> RunStatus: ...
