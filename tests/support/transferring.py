"""Runs that are made to be exported, and stores that a test may interfere with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redis import Redis

from distflow.core.model import Task
from distflow.core.run import RunSpec, ServerFacts, TaskCut
from distflow.core.run_options import RunOptions
from distflow.ids import new_token
from distflow.store.redis.store import RedisRunStore
from tests.support.stores import claim, final, finish

_OPTIONS = RunOptions(3, 60.0, "pkg.module:factory", 1000)


def make_run(store: RedisRunStore, tasks: Sequence[Task], chunk: int = 4096) -> int:
    """Create a run of tasks and lead it; returns the epoch."""
    params = {"day": "2026-01-01"}
    server = ServerFacts("aof-always")
    spec = RunSpec(store.run_id, "pkg.flows:etl", params, "0123abcd", _OPTIONS, server)
    store.create_run(spec, "creation")
    for number, start in enumerate(range(0, len(tasks), chunk)):
        store.append_tasks("creation", number, tasks[start : start + chunk])
    store.seal_run("creation", len(tasks))
    return store.acquire_lease("anna", 60.0)


def complete(store: RedisRunStore, epoch: int, task: str, status: str = "success") -> None:
    """Let a worker claim a task and record how it ended."""
    token = new_token()
    assert claim(store, epoch, task, token, batch=token).code.name == "GRANTED"
    finish(store, epoch, final(task, token, status), batch=token)


class HookedStore(RedisRunStore):
    """Calls a function after every cut."""

    def __init__(self, client: Redis, run_id: str, *, hook: Callable[[], None]) -> None:
        super().__init__(client, run_id, patience_seconds=5)
        self.hook = hook
        self.cuts: list[int] = []

    def read_cut(self, names: Sequence[str]) -> list[TaskCut]:
        found = super().read_cut(names)
        self.cuts.append(len(names))
        self.hook()
        return found
