"""Runs of two versions lie beside each other, and of a newer one nothing is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from distflow.core.claim import READ_VERSIONS
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.resolution import Resolution
from distflow.core.run import RunSpec
from distflow.core.status import RunStatus
from distflow.errors import RunTooNew
from distflow.ports.run_store import RunStore
from distflow.runs.run_writer import write_run
from tests.support.stores import (
    RedisSubject,
    Subject,
    claim,
    final,
    finish,
    make_spec,
    open_run,
    resolve,
)

NEWER = READ_VERSIONS[-1] + 1


def spec_of(version: int, run_id: str = "run-1") -> RunSpec:
    """What a run of a version is created from."""
    return replace(make_spec(run_id), version=version)


@pytest.mark.parametrize("version", READ_VERSIONS)
def test_a_run_tells_its_version(subject: Subject, version: int) -> None:
    """Whoever leads it reads it: in short, and with all that it reads first."""
    subject.store.create_run(spec_of(version), "creation", [Task("a", "pkg.tasks:work")])
    assert subject.store.read_info().version == version
    assert subject.store.read_head().info.version == version
    assert subject.store.read_standing([]).info.version == version


@pytest.mark.parametrize("version", READ_VERSIONS)
def test_a_run_of_any_version_is_led(subject: Subject, version: int) -> None:
    """From the lease to the last outcome."""
    store = subject.store
    store.create_run(spec_of(version), "creation", [Task("a", "pkg.tasks:work")])
    epoch = store.acquire_lease("anna", 60.0)
    claim(store, epoch, "a", "t1")
    finish(store, epoch, final("a", "t1"))
    assert store.read_info().counts["success"] == 1
    store.set_status(RunStatus.SUCCESS, {RunStatus.RUNNING}, epoch=epoch)
    store.release_lease("anna", epoch, is_over=True)
    assert subject.list_active_runs() == []


def test_a_run_has_the_version_that_its_tasks_need(subject: Subject) -> None:
    """The least one: what 0.1 can read it may read. One that was said to be newer stays so."""
    graph = Graph.compile([Task("a", "pkg.tasks:work")])
    for version in READ_VERSIONS:
        store = subject.connect(f"v{version}")
        write_run(store, spec_of(version, store.run_id), graph)
        assert store.read_info().version == version


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.read_info(),
        lambda store: store.read_status(),
        lambda store: store.read_head(),
        lambda store: store.read_standing([]),
        lambda store: store.acquire_lease("bert", 60.0),
        lambda store: store.acquire_lease("bert", 60.0, force=True),
        lambda store: store.delete_run(force=True),
        lambda store: store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING}),
        lambda store: resolve(store, "op", "a", "retry", b"", "", ""),
        lambda store: store.resolve_tasks("op", "done", [Resolution("a", b"x", b"y")], "", ""),
    ],
)
def test_a_run_of_a_newer_version_is_left_alone(
    subject: Subject, read: Callable[[RunStore], object]
) -> None:
    """One line says which version it has, and what to do; nothing of it is changed."""
    store = subject.store
    store.create_run(spec_of(NEWER), "creation", [Task("a", "pkg.tasks:work")])
    before = subject.dump()
    with pytest.raises(RunTooNew) as refused:
        read(store)
    assert subject.dump() == before
    assert str(refused.value) == (
        f"run run-1 is of version {NEWER}, and this distflow reads versions 1 and 2: "
        "a newer distflow made it, so use that one for it"
    )


@pytest.mark.parametrize("version", READ_VERSIONS)
def test_a_run_is_listed_by_its_version(redis_subject: RedisSubject, version: int) -> None:
    """0.1 looks into the list of version 1 alone; an index that was lost is written again."""
    client, prefix = redis_subject.client, redis_subject.prefix
    keys = {1: f"{prefix}:active", 2: f"{prefix}:active:2"}
    store = redis_subject.store
    store.create_run(spec_of(version), "creation", [Task("a", "pkg.tasks:work")])

    def listed() -> dict[int, bool]:
        return {number: bool(client.sismember(key, "run-1")) for number, key in keys.items()}

    mine = {number: number == version for number in keys}
    assert listed() == mine
    store.mark_active(None)
    assert not any(listed().values())
    store.mark_active(version)
    assert listed() == mine
    client.delete(*keys.values())
    assert store.restore_indices()
    assert listed() == mine
    assert not store.restore_indices()
    store.delete_run(force=True)
    assert not any(listed().values())


def test_the_bytes_of_a_version(redis_subject: RedisSubject) -> None:
    """0.1 knows a run by ``wire``: one of version 2 has none, so that it is no run to it."""
    for version, fields in ((1, {b"wire": b"1"}), (2, {b"v": b"2"})):
        run_id = f"v{version}"
        redis_subject.connect(run_id).create_run(spec_of(version, run_id), "creation")
        meta = redis_subject.client.hgetall(f"{redis_subject.prefix}:{{{run_id}}}:meta")
        assert {name: meta[name] for name in (b"wire", b"v") if name in meta} == fields


def test_nothing_of_an_earlier_run_is_taken_over(redis_subject: RedisSubject) -> None:
    """A distflow that knows fewer keys leaves some behind when it deletes a run: they are none of
    the next one that has its name.
    """
    keys, client = redis_subject.keys, redis_subject.client
    left = [key for key in keys.all() if key != keys.meta]
    for key in left:
        client.hset(key, "a", "left behind")
    redis_subject.store.create_run(make_spec(), "creation", [Task("b", "pkg.tasks:work")])
    written = {keys.graph}
    assert {key for key in left if client.exists(key)} == written
    assert [task.name for tasks in redis_subject.store.iter_tasks() for task in tasks] == ["b"]


def test_a_creation_that_is_told_again_deletes_nothing(redis_subject: RedisSubject) -> None:
    """Its first reply was lost, and the run goes on already."""
    store = redis_subject.store
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    finish(store, epoch, final("a", "t1"))
    before = redis_subject.dump()
    store.create_run(make_spec(), "creation")
    assert redis_subject.dump() == before


def test_a_deletion_ends_what_another_began(redis_subject: RedisSubject) -> None:
    """A distflow that knows fewer keys has deleted the run: the rest goes by the next deletion."""
    keys, client, store = redis_subject.keys, redis_subject.client, redis_subject.store
    store.create_run(spec_of(2), "creation", [Task("a", "pkg.tasks:work")])
    client.hset(keys.saved, "a", "left behind")
    client.delete(keys.meta)
    with pytest.raises(Exception, match="there is no run 'run-1'"):
        store.delete_run()
    assert not [key for key in keys.all() if client.exists(key)]
    assert redis_subject.list_active_runs() == []
