"""The store for workers: begin, claim, start, finish, beat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from copy import copy
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from msgpack import Packer, unpackb

from distflow.core.claim import (
    DURABLE_BY_WAITING,
    NAMELESS,
    Advance,
    BatchOpening,
    ClaimReply,
    ClaimRequest,
    Code,
    Finish,
    Progress,
    Refused,
    Unknown,
    WorkerFacts,
)
from distflow.core.status import TaskStatus
from distflow.errors import NotOnDisk, WrongState
from distflow.logs import get_logger
from distflow.store.redis.base import StoreBase
from distflow.store.redis.script_line import DiskReply, ScriptConnection
from distflow.wire.codec import pack, status_of

if TYPE_CHECKING:
    # Few jobs make decisions: the others need not pay for the import.
    from distflow.core.expansion import Expansion
    from distflow.core.resolution import Answer, Resolution

_log = get_logger("distflow.worker")

#: How long one WAITAOF waits: less than the socket timeout of a worker's connection.
_DISK_WAIT_MS = 2000

#: Imported only by work horses that gather the results of expansions.
_RECORDS = "distflow.wire.expansion_record"

#: What is noted of a run for people.
_TROUBLES = ("failure", "unknown")

#: A dict, since calling the enumeration takes longer, and each task needs it.
_CODES = {code.value: code for code in Code}


class WorkerStore(StoreBase):
    """The transitions that workers make.

    Their contracts are on :class:`distflow.ports.worker.WorkerPort`, which RedisRunStore inherits:
    a work horse, which imports this module for every job, does not pay for that one.
    """

    _connection: ScriptConnection | None = None

    #: Whether starts and outcomes of ``at_most_once`` tasks must be on disk; the run decides.
    _waits_for_disk = False

    #: Seconds to wait for the disk; None is the patience of every call.
    disk_seconds: float | None = None

    def with_patience(self, seconds: float) -> Self:
        """The same store, but calls give up after this many seconds. Waits for the disk stay as
        patient as before.
        """
        other = copy(self)
        other.patience_seconds, other.disk_seconds = seconds, self.patience_seconds
        return other

    @contextmanager
    def own_connection(self) -> Iterator[None]:
        """Give :meth:`advance` its own connection within a block: one thread at a time may call
        it.
        """
        self._connection = ScriptConnection(self.client, "advance", self._advanced_keys)
        try:
            yield
        finally:
            self._connection.close()
            self._connection = None

    @property
    def _advanced_keys(self) -> list[str]:
        names = (
            *("meta", "results", "claims", "progress", "beats", "events", "history"),
            *("troubles", "traits", "refusals", "graph", "expansions"),
        )
        return [getattr(self.keys, name) for name in names]

    def begin_batch(self, epoch: int, batch: str, worker: str, job: str) -> BatchOpening:
        keys = (self.keys.meta, self.keys.beats)
        code, *fields = self._run("begin_batch", keys, epoch, batch, worker, job)
        if code != Code.OK:
            return BatchOpening(Code(code))
        self._note_seen()
        params, origin, context, max_result_bytes, durability = fields
        self._waits_for_disk = durability.decode() == DURABLE_BY_WAITING
        return BatchOpening(
            Code.OK,
            params,
            origin.decode(),
            context.decode(),
            int(max_result_bytes),
            self._waits_for_disk,
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
        request: dict[str, object] = {
            "epoch": str(epoch),
            "batch": batch,
            "finishes": [finish_fields(finish) for finish in finishes],
            "claims": [_claim_fields(claim) for claim in claims],
        }
        if finishes:
            request["worker"] = finishes[0].worker
        if released:
            request["released"] = released
        if refused:
            request["refused"], request["by"] = refused, by
        if records:
            request["records"] = records
        if ending:
            request["ending"] = True
            request["unstarted"] = unstarted
        arguments = [Packer().pack(request), *[finish.packed for finish in finishes]]
        if self._waits_for_disk and any(finish.keep for finish in finishes):
            codes, replies = self._record_on_disk(arguments)
        elif self._connection is not None:
            codes, replies = self._call_own(self._connection, arguments, meanwhile)
        else:
            codes, replies = self._run("advance", self._advanced_keys, *arguments)
        return Advance(
            tuple([_CODES[code] for code in codes]),
            tuple([ClaimReply(_CODES[code], *numbers) for code, *numbers in replies]),
        )

    def _call_own(
        self,
        connection: ScriptConnection,
        arguments: Sequence[bytes],
        meanwhile: Callable[[], object] | None,
    ) -> Any:
        todo = [meanwhile] if meanwhile else []

        def call() -> Any:
            return connection.call(*arguments, meanwhile=todo.pop() if todo else None)

        return self._patiently(call)

    def start_task(self, task: str, token: str, *, on_disk: bool = True) -> Code:
        keys = (self.keys.meta, self.keys.claims, self.keys.events)
        if not (self._waits_for_disk and on_disk):
            return Code(self._run("start_task", keys, task, token))
        with closing(ScriptConnection(self.client, "start_task", keys)) as connection:
            told = self._call_to_disk(connection, (task.encode(), token.encode()))
        if told.reply == Code.GRANTED and not told.on_disk:
            raise NotOnDisk(f"Redis did not confirm that the start of {task!r} is {_missed(told)}")
        return Code(told.reply)

    def _record_on_disk(self, arguments: Sequence[bytes]) -> Any:
        """The reply to an ``advance`` once its writes are on disk. An outcome that does not get
        there still stands: if Redis loses it, the start, which is on disk, makes the task unknown.
        """
        if self._connection is not None:
            told = self._call_to_disk(self._connection, arguments)
        else:
            with closing(
                ScriptConnection(self.client, "advance", self._advanced_keys)
            ) as connection:
                told = self._call_to_disk(connection, arguments)
        if not told.on_disk:
            _log.warning("Redis did not confirm that an outcome is %s", _missed(told))
        return told.reply

    def _call_to_disk(self, connection: ScriptConnection, arguments: Sequence[bytes]) -> DiskReply:
        """Call again until the writes are on disk, the server cannot tell, or patience ends."""
        seconds = self.patience_seconds if self.disk_seconds is None else self.disk_seconds
        deadline = time.monotonic() + seconds
        while True:
            told = self._patiently(partial(connection.call_to_disk, _DISK_WAIT_MS, *arguments))
            if told.on_disk or told.refusal or time.monotonic() >= deadline:
                return told

    def beat(
        self, batch: str, worker: str, job: str, task: str, *, overdue: bool = False
    ) -> tuple[Code, str]:
        keys = (self.keys.meta, self.keys.beats)
        code, status = self._run("beat", keys, batch, worker, job, task, int(overdue))
        return Code(code), status.decode()

    def write_chunk(self, task: str, token: str, number: int, packed: bytes) -> Code:
        keys = (self.keys.meta, self.keys.graph, self.keys.claims)
        return Code(self._run("write_chunk", keys, task, token, number, packed))

    def fetch_expansion(self, node: str) -> tuple[Expansion, bytes] | None:
        keys = (self.keys.meta, self.keys.expansions, self.keys.graph)
        found = self._run("read_expansion", keys, node)
        if not found:
            return None
        record, stand_in = found
        records = import_module(_RECORDS)
        return records.decode_expansion(record), stand_in

    def fetch_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        return self._read_statuses(names)

    def save_note(self, task: str, token: str, packed: bytes) -> Code:
        keys = self.keys
        used = (keys.meta, keys.results, keys.claims, keys.progress, keys.saved)
        return Code(self._run("save_note", used, task, token, packed))

    def fetch_note(self, task: str) -> bytes | None:
        note: bytes | None = self._patiently(lambda: self.client.hget(self.keys.saved, task))
        return note

    def fetch_unknown(self, task: str) -> Unknown | None:
        (packed,), _claims, (progress,), _notes = self._read_cut((task,))
        if packed is None or status_of(packed) != TaskStatus.UNKNOWN:
            return None
        # An outcome from a snapshot may have no progress.
        return Unknown(packed, Progress(**unpackb(progress)) if progress else Progress())

    def resolve_task(
        self,
        operation: str,
        decision: Answer,
        resolution: Resolution,
        who: str,
        note: str,
    ) -> TaskStatus:
        code, *answers = self._run(
            "resolve_tasks",
            self.resolved_keys,
            *(operation, decision, who, note, ""),
            *resolution_fields(resolution),
        )
        if code == Code.GONE:
            raise self._missing()
        self._require(code)
        if code == Code.WRONG_STATE:
            raise not_unknown(resolution.task, answers[1].decode())
        return TaskStatus(answers[0].decode())

    @property
    def resolved_keys(self) -> tuple[str, ...]:
        """The keys that a decision reads and writes."""
        keys = self.keys
        return (
            *(keys.meta, keys.results, keys.claims, keys.progress, keys.events),
            *(keys.history, keys.troubles, keys.traits, keys.lease),
        )

    def fetch_origin(self) -> str | None:
        """The run's origin, which no other run with its id has; None if there is no such run."""
        origin = self._patiently(lambda: self.client.hget(self.keys.meta, "origin"))
        return None if origin is None else str(origin.decode())

    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]:
        if not names:
            return []
        return self._patiently(lambda: self.client.hmget(self.keys.results, list(names)))

    def list_results(self) -> list[str]:
        names = self._patiently(lambda: self.client.hkeys(self.keys.results))
        return [name.decode() for name in names]


def _missed(told: DiskReply) -> str:
    return f"on its disk: {told.refusal or 'WAITAOF still counts 0'}"


def not_unknown(task: str, status: str) -> WrongState:
    """The error for a task that cannot be decided: it has another status (empty for none), or is
    unknown in a later attempt.
    """
    what = status or "not ended"
    if status == TaskStatus.UNKNOWN:
        what = "unknown, but in a later attempt than the one that was asked about"
    return WrongState(f"task {task!r} is {what}: only an unknown task can be resolved")


def resolution_fields(known: Resolution) -> list[str | bytes | int]:
    """A decision on one task in the form that ``resolve_tasks`` takes."""
    progress = b"" if known.progress is None else pack(known.progress._asdict())
    seen = b"-" if known.seen is None else known.seen
    flat: list[str | bytes | int] = [known.task, seen, known.packed, progress, known.leader]
    flat += (len(known.dependents), *(part for one in known.dependents for part in one))
    flat += (len(known.skipped), *known.skipped)
    return flat


def finish_fields(finish: Finish) -> dict[str, object]:
    """A Finish as the scripts read it: without fields that they do not need. The packed result
    travels separately.
    """
    fields: dict[str, object] = {
        "task": finish.task,
        "token": finish.token,
        "attempt": finish.attempt,
        "status": finish.status,
        "duration": finish.duration,
    }
    if finish.keep:
        fields["keep"] = True
    if finish.kind == "wait":
        fields["kind"] = finish.kind
        fields["history"] = finish.history_kind
        fields["delay_ms"] = finish.delay_ms
        if finish.note:
            fields["note"] = finish.note
    if finish.kind == "wait" or finish.status == "unknown":
        fields["progress"] = finish.progress._asdict()
    if finish.grows:
        fields["grows"] = True
    if finish.growth is not None:
        fields["growth"] = finish.growth
    if finish.kind == "final" and finish.status in _TROUBLES:
        if finish.tolerated:
            fields["tolerated"] = True
        if finish.hooked:
            fields["hooked"] = True
    return fields


def _claim_fields(claim: ClaimRequest) -> dict[str, object]:
    task, token, start, needs, group, quiet = claim
    fields: dict[str, object] = {"task": task, "token": token}
    if start:
        fields["start"] = True
    if needs:
        fields["needs"] = needs
    if group:
        fields["group"] = True
    if quiet:
        fields["quiet"] = True
    return fields
