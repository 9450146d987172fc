"""The reading part of the store: changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgpack
from redis import exceptions as redis_errors
from redis.client import Pipeline

from distflow.core.claim import Progress, check_version
from distflow.core.expansion import Expansion
from distflow.core.model import Task
from distflow.core.readings import Problems, RunHead, RunReading, ServerInfo
from distflow.core.run import (
    Beat,
    Claim,
    HistoryEntry,
    Refusal,
    RunInfo,
    TaskCut,
)
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import LookAgain
from distflow.ports.reading import ReadingPort
from distflow.store.redis.base import StoreBase, parse_statuses, reading
from distflow.store.redis.keys import STAND_IN, chunk_field
from distflow.store.redis.scripts import load_into, queue_script
from distflow.wire.expansion_record import decode_expansion
from distflow.wire.run_fields import decode_info
from distflow.wire.tasks import decode_tasks

#: Scripts that are called in one round trip with other commands.
_INFO_SCRIPT, _STATUSES_SCRIPT = "read_info", "read_statuses"


class ReadingStore(StoreBase, ReadingPort):
    """The reads of a run."""

    @reading
    def read_info(self) -> RunInfo:
        return self._info(self._run("read_info", self._info_keys))

    @reading
    def read_head(self, *, with_tasks: bool = True, with_server: bool = True) -> RunHead:
        def ask(pipeline: Pipeline) -> None:
            self._ask_info(pipeline)
            pipeline.hget(self.keys.graph, "0" if with_tasks else "")
            pipeline.hlen(self.keys.progress)
            if with_server:
                pipeline.info("server")

        found, chunk, progress, *told = self._at_once(ask, may_refuse=int(with_server))
        info = self._info(found)
        tasks = decode_tasks(chunk) if chunk else []
        server = ServerInfo(info.as_of, _server_id(told[0])) if told else None
        return RunHead(info, tasks, progress, server)

    @reading
    def read_standing(self, names: Sequence[str]) -> RunReading:
        keys = self.keys

        def ask(pipeline: Pipeline) -> None:
            pipeline.xrevrange(keys.events, count=1)
            self._ask_info(pipeline)
            queue_script(pipeline, _STATUSES_SCRIPT, (keys.meta, keys.results), names)
            pipeline.hgetall(keys.claims)
            pipeline.hgetall(keys.progress)

        newest, found, statuses, claims, progress = self._at_once(ask)
        return RunReading(
            _newest_id(newest),
            self._info(found),
            parse_statuses(statuses),
            _claims(claims),
            _progresses(progress),
        )

    @property
    def _info_keys(self) -> tuple[str, ...]:
        return self.keys.meta, self.keys.claims, self.keys.lease

    def _ask_info(self, pipeline: Pipeline) -> None:
        queue_script(pipeline, _INFO_SCRIPT, self._info_keys)

    def _info(self, found: Sequence[Any]) -> RunInfo:
        """Parse the reply of the script ``read_info``."""
        flat, claimed, lease, now_ms = found
        if not flat:
            raise self._missing()
        self._note_seen()
        meta = dict(zip(flat[::2], flat[1::2], strict=True))
        leader = lease.decode().partition(" ")[2] if lease else None
        now = now_ms / 1000
        return decode_info(self.run_id, meta, claimed=claimed, coordinator=leader, now=now)

    def read_server(self) -> ServerInfo:
        def ask(pipeline: Pipeline) -> None:
            pipeline.time()
            pipeline.info("server")

        (seconds, micros), told = self._at_once(ask, may_refuse=1)
        return ServerInfo(seconds + micros / 1e6, _server_id(told))

    def last_event_id(self) -> str:
        return _newest_id(self._patiently(lambda: self.client.xrevrange(self.keys.events, count=1)))

    @reading
    def read_status(self) -> RunStatus:
        ask = partial(self.client.hmget, self.keys.meta, "status", "v")
        status, version = self._patiently(ask)
        if status is None:
            raise self._missing()
        self._note_seen()
        check_version(self.run_id, int(version or 1))
        return RunStatus(status.decode())

    def iter_tasks(self, start: int = 0) -> Iterator[list[Task]]:
        for index in range(start, self._count_base_chunks()):
            packed = self._read_graph(str(index))
            if packed is None:
                raise self._missing()
            yield self._decode_tasks(packed)

    @reading
    def _count_base_chunks(self) -> int:
        def ask(pipeline: Pipeline) -> None:
            pipeline.hget(self.keys.meta, "base_chunks")
            pipeline.hlen(self.keys.graph)

        base, written = self._at_once(ask)
        # A run of version 1 does not say: its graph has nothing else.
        return int(written if base is None else base)

    def _read_graph(self, field: str) -> bytes | None:
        found: bytes | None = self._patiently(lambda: self.client.hget(self.keys.graph, field))
        return found

    @reading
    def read_expansions(self) -> dict[str, Expansion]:
        found = self._patiently(lambda: self.client.hgetall(self.keys.expansions))
        records = {node.decode(): decode_expansion(packed) for node, packed in found.items()}
        return dict(sorted(records.items(), key=lambda item: item[1].seq))

    @reading
    def read_expansion(self, node: str) -> Expansion | None:
        packed = self._patiently(lambda: self.client.hget(self.keys.expansions, node))
        return None if packed is None else decode_expansion(packed)

    def read_chunk(self, token: str, number: int) -> list[Task]:
        packed = self._read_graph(chunk_field(token, number))
        if packed is not None:
            return self._decode_tasks(packed)
        # A deleted run has no status: that is another error.
        self.read_status()
        raise no_chunk(self.run_id, token, number)

    def read_stand_in(self, token: str) -> bytes | None:
        return self._read_graph(chunk_field(token, STAND_IN))

    def read_stand_ins(self, tokens: Sequence[str]) -> list[bytes | None]:
        if not tokens:
            return []
        wanted = [chunk_field(token, STAND_IN) for token in tokens]
        found: list[bytes | None] = self._patiently(
            lambda: self.client.hmget(self.keys.graph, wanted)
        )
        return found

    @reading
    def _decode_tasks(self, packed: bytes) -> list[Task]:
        return decode_tasks(packed)

    @reading
    def read_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        return self._read_statuses(names)

    def read_results(self, names: Sequence[str]) -> list[bytes | None]:
        if not names:
            return []
        return self._patiently(lambda: self.client.hmget(self.keys.results, list(names)))

    @reading
    def read_cut(self, names: Sequence[str]) -> list[TaskCut]:
        if not names:
            return []
        results, claims, progress, notes = self._read_cut(names)
        return [
            TaskCut(
                packed,
                None if claim is None else _claim(claim),
                None if known is None else _progress(known),
                note,
            )
            for packed, claim, known, note in zip(results, claims, progress, notes, strict=True)
        ]

    @reading
    def read_troubles(self, limit: int) -> Problems:
        keys = (self.keys.meta, self.keys.troubles, self.keys.traits)
        *names, tolerated_count, traits = self._run("read_troubles", keys, limit)
        unknown, failed, tolerated = ([name.decode() for name in some] for some in names)
        hooked = [name for name, its in zip(unknown, traits, strict=True) if b"v" in (its or b"")]
        return Problems(failed, tolerated, tolerated_count, unknown, hooked)

    @reading
    def read_claims(self) -> dict[str, Claim]:
        found = self._patiently(lambda: self.client.hgetall(self.keys.claims))
        return _claims(found)

    @reading
    def read_progress(self) -> dict[str, Progress]:
        found = self._patiently(lambda: self.client.hgetall(self.keys.progress))
        return _progresses(found)

    @reading
    def sample_progress(self, most: int) -> dict[str, Progress]:
        found: dict[bytes, bytes] = {}
        cursor = -1
        while cursor and len(found) < most:
            scan = partial(self.client.hscan, self.keys.progress, max(0, cursor), count=most)
            cursor, some = self._patiently(scan)
            found.update(some)
        return _progresses(found)

    @reading
    def read_beats(self) -> dict[str, Beat]:
        found = self._patiently(lambda: self.client.hgetall(self.keys.beats))
        return {batch.decode(): Beat(*msgpack.unpackb(packed)) for batch, packed in found.items()}

    @reading
    def read_refusals(self) -> list[Refusal]:
        found = self._patiently(lambda: self.client.hgetall(self.keys.refusals))
        refusals = [_refusal(key, packed) for key, packed in found.items()]
        return sorted(refusals, key=lambda refusal: (refusal.since, refusal.key))

    @reading
    def read_history(
        self, task: str | None = None, *, newest: int | None = None
    ) -> list[HistoryEntry]:
        found = self._patiently(lambda: self.client.xrevrange(self.keys.history, count=newest))
        entries = reversed(found)
        history = [_history_entry(fields) for _entry_id, fields in entries]
        return [entry for entry in history if task is None or entry.task == task]

    def _at_once(self, ask: Callable[[Pipeline], None], *, may_refuse: int = 0) -> list[Any]:
        """The replies to several reads in one round trip. The server may refuse the last
        ``may_refuse`` of them: their reply is then a ResponseError.
        """

        def call() -> list[Any]:
            pipeline = self.client.pipeline(transaction=False)
            ask(pipeline)
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            failed = [
                reply
                for reply in replies[: len(replies) - may_refuse]
                if isinstance(reply, Exception)
            ]
            if any(isinstance(reply, redis_errors.NoScriptError) for reply in failed):
                load_into(self.client, (_INFO_SCRIPT, _STATUSES_SCRIPT))
                return call()
            if failed:
                raise failed[0]
            return replies

        return self._patiently(call)


def no_chunk(run_id: str, token: str, number: int) -> LookAgain:
    """The error for a chunk that is gone, and the record of its expansion with it."""
    return LookAgain(f"run {run_id}: chunk {number} of the expansion {token} is not there any more")


def _claim(packed: bytes) -> Claim:
    return Claim(*msgpack.unpackb(packed))


def _progress(packed: bytes) -> Progress:
    fields: dict[str, Any] = msgpack.unpackb(packed)
    for name in ("attempt", "not_before"):
        if not isinstance(fields.get(name, 0), int):
            raise TypeError(f"progress: {name} is {fields[name]!r:.40}")
    return Progress(**fields)


def _refusal(key: bytes, packed: bytes) -> Refusal:
    known = msgpack.unpackb(packed)
    known["tasks"], known["since"] = tuple(known["tasks"]), known["since"] / 1000
    return Refusal(*msgpack.unpackb(key), **known)


def _claims(found: dict[bytes, bytes]) -> dict[str, Claim]:
    return {task.decode(): _claim(packed) for task, packed in found.items()}


def _progresses(found: dict[bytes, bytes]) -> dict[str, Progress]:
    return {task.decode(): _progress(packed) for task, packed in found.items()}


def _newest_id(newest: list[Any]) -> str:
    """The id of the newest event, from the reply of XREVRANGE."""
    return newest[0][0].decode() if newest else "0-0"


def _server_id(told: Any) -> str:
    """The id of the server process that answered; a managed Redis or an ACL may refuse to tell."""
    return "" if isinstance(told, Exception) else str(told.get("run_id", ""))


def _history_entry(fields: dict[bytes, bytes]) -> HistoryEntry:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode()

    return HistoryEntry(
        at=int(fields[b"at"]) / 1000,
        kind=text(b"kind"),
        task=text(b"task"),
        status=text(b"status"),
        attempt=int(fields.get(b"attempt", 0)),
        by=text(b"by"),
        note=text(b"note") or text(b"digest"),
        packed=fields.get(b"packed"),
    )
