"""The store for submit, import and delete: creates and removes runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from distflow.core.claim import Code, Progress
from distflow.core.expansion import Expansion
from distflow.core.model import Task
from distflow.core.readings import Creation
from distflow.core.run import RunSpec
from distflow.core.status import RunStatus
from distflow.core.version import FIRST
from distflow.errors import DamagedRun, LookAgain, RunExists, WrongState
from distflow.faults import commit
from distflow.ports.creation import CreationPort
from distflow.store.redis.base import StoreBase, reading
from distflow.store.redis.keys import STAND_IN, active_key, active_keys, runs_key
from distflow.store.redis.scripts import ScriptCall, run_scripts
from distflow.wire.codec import encode_tasks, pack
from distflow.wire.expansion_record import encode_expansion
from distflow.wire.run_fields import encode_spec


class CreationStore(StoreBase, CreationPort):
    """The transitions that create and remove a run."""

    def create_run(
        self, spec: RunSpec, operation: str, tasks: Sequence[Task] | None = None
    ) -> None:
        fields = encode_spec(spec, None if tasks is None else _queues(tasks))
        packed = b"" if tasks is None else encode_tasks(tasks)
        if spec.version > FIRST:
            # A graph that grows later has more chunks than these.
            fields |= {"base_chunks": int(tasks is not None), "graph_bytes": len(packed)}
        flat = [part for pair in fields.items() for part in pair]
        status = (RunStatus.CREATING if tasks is None else RunStatus.RUNNING).value
        # The indices are in other slots. They are written first, so that no run is ever unlisted. A
        # run that exists keeps its place.
        calls = [
            ScriptCall("list_run", (runs_key(self.prefix),), (self.run_id,)),
            ScriptCall(
                "create_run",
                self._keys_after(self.keys.meta, self.keys.graph, self.keys.traits),
                (operation, status, len(tasks or ()), packed, pack(_traits(tasks or ())), *flat),
            ),
        ]
        active = ("SADD", active_key(self.prefix, spec.version), self.run_id)
        code = self._patiently(lambda: run_scripts(self.client, calls, before=[active]))[-1]
        if code == Code.EXISTS:
            raise RunExists(
                f"run {self.run_id!r} exists already: choose another --run-id, "
                f"or look at it with `distflow status {self.run_id}`"
            )

    def append_tasks(self, operation: str, chunk: int, tasks: Sequence[Task]) -> None:
        keys = (self.keys.meta, self.keys.graph, self.keys.traits)
        told = (encode_tasks(tasks), pack(_queues(tasks)), pack(_traits(tasks)))
        self._making(self._run("append_graph", keys, operation, chunk, *told))

    def hydrate(
        self, operation: str, outcomes: Iterable[tuple[str, bytes | None, Progress | None]]
    ) -> None:
        flat: list[str | bytes] = []
        for name, packed, progress in outcomes:
            flat += (name, packed or b"", pack(progress._asdict()) if progress else b"")
        keys = self.keys
        used = (keys.meta, keys.results, keys.progress, keys.troubles, keys.traits)
        self._making(self._run("hydrate", used, operation, *flat))

    def hydrate_notes(self, operation: str, notes: Sequence[tuple[str, bytes]]) -> None:
        flat = [part for pair in notes for part in pair]
        keys = (self.keys.meta, self.keys.saved)
        self._making(self._run("hydrate_notes", keys, operation, *flat))

    def hydrate_expansions(
        self,
        operation: str,
        expansions: Iterable[tuple[str, Expansion, Iterable[Sequence[Task]], bytes]],
    ) -> None:
        keys = self.keys
        used = (keys.meta, keys.graph, keys.traits, keys.expansions)
        for node, expansion, chunks, stand_in in expansions:
            record = encode_expansion(expansion)
            parts = ((encode_tasks(tasks), pack(_traits(tasks))) for tasks in chunks)
            last = (STAND_IN, (stand_in, pack([])))
            for number, part in chain(enumerate(parts), [last]):
                told = (operation, node, record, number, *part)
                self._making(self._run("hydrate_expansions", used, *told))

    def seal_run(self, operation: str, total: int) -> None:
        running = RunStatus.RUNNING.value
        self._making(self._run("seal_run", (self.keys.meta,), operation, total, running))

    @reading
    def read_creation(self) -> Creation | None:
        keys = self.keys

        def ask() -> list[Any]:
            pipeline = self.client.pipeline(transaction=False)
            pipeline.hmget(keys.meta, "status", "operation")
            for key in (keys.graph, keys.results, keys.progress, keys.saved):
                pipeline.hlen(key)
            replies: list[Any] = pipeline.execute()
            return replies

        (status, operation), chunks, outcomes, progress, notes = self._patiently(ask)
        if status != RunStatus.CREATING.value.encode():
            return None
        return Creation(operation.decode(), (chunks, outcomes, progress, notes))

    def discard_creation(self, operation: str, *, unlist: bool = False, made: bool = False) -> None:
        code = self._run("delete_run", self._deleted_keys, 1, operation, int(made))
        if code == Code.WRONG_STATE:
            raise LookAgain(f"run {self.run_id} was changed in the meantime: try again")
        if code != Code.GONE:
            self._require(code)
        self._note_deleted()
        if unlist:
            self._unlist()

    @property
    def _deleted_keys(self) -> tuple[str, ...]:
        return self._keys_after(self.keys.meta, self.keys.claims, self.keys.lease)

    def delete_run(self, *, force: bool = False) -> None:
        used = self._deleted_keys
        try:
            code = self._run("delete_run", used, int(force), "", 0)
            if code == Code.TOO_NEW:
                self._require(code)
        except DamagedRun:
            if not force:
                raise
            with commit("delete_damaged"):
                self._patiently(lambda: self.client.delete(*used))
            code = Code.OK
        if code in (Code.HELD, Code.BUSY):
            what = "is being coordinated" if code == Code.HELD else "has tasks at work"
            raise WrongState(
                f"run {self.run_id} {what}: cancel it first, or delete it with --force"
            )
        self._note_deleted()
        self._unlist()
        if code == Code.GONE:
            raise self._missing()

    def _unlist(self) -> None:
        """Take a run that was deleted off every list."""
        with commit("unlist"):
            self._patiently(lambda: self.client.zrem(runs_key(self.prefix), self.run_id))
        self.mark_active(None)
        # The lists lie in other slots. Somebody may have created the run anew since it was deleted,
        # and what they had listed is gone now: nobody would lead it.
        created_at, version = self._patiently(
            lambda: self.client.hmget(self.keys.meta, "created_at", "v")
        )
        if created_at is not None:
            self._run("list_run", (runs_key(self.prefix),), self.run_id)
            self.mark_active(int(version or 1))

    def mark_active(self, version: int | None) -> None:
        if version is not None:
            self._run("mark_active", (active_key(self.prefix, version),), self.run_id)
            return

        def unlist() -> None:
            with commit("mark_inactive"):
                pipeline = self.client.pipeline(transaction=False)
                for key in active_keys(self.prefix):
                    pipeline.srem(key, self.run_id)
                pipeline.execute()

        self._patiently(unlist)

    def _keys_after(self, *first: str) -> tuple[str, ...]:
        """Every key of the run, these first."""
        return (*first, *(key for key in self.keys.all() if key not in first))

    def _making(self, code: int) -> None:
        self._require(code)
        if code == Code.WRONG_STATE:
            raise WrongState(f"run {self.run_id} is not being created by this operation")


def _queues(tasks: Sequence[Task]) -> list[str]:
    return sorted({task.queue for task in tasks})


def _traits(tasks: Sequence[Task]) -> list[str]:
    """Tasks with traits, as task and traits in turn: see ``append_graph``."""
    return [
        part
        for task in tasks
        if task.continue_on_error or task.verify is not None
        for part in (task.name, "c" * task.continue_on_error + "v" * (task.verify is not None))
    ]
