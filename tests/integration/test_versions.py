"""A run has the lowest version that can say what it says; one that is too new is left alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from distflow import Workflow
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core import version
from distflow.core.batches import Batch
from distflow.core.model import Task
from distflow.core.status import RunStatus
from distflow.dispatch.rq import RqDispatcher
from distflow.runs.client import Client
from distflow.runs.run import Run
from distflow.runs.run_writer import write_run
from tests.conftest import StartWorker
from tests.integration.cli_scene import Scene
from tests.support.cli import kill_cli, start_cli
from tests.support.redis_server import RedisServer
from tests.support.stores import make_spec
from tests.support.tasks import recording, stuck
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING

#: No distflow reads it.
NEWER = 99


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Client]:
    """Of the shared server; what is lost is found soon."""
    brisk = CoordinatorSettings(stale_seconds=1.5, watch_seconds=0.2, unbegun_seconds=1.0)
    with redis_server.client() as redis:
        yield Client(redis, settings=brisk)


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """The command line in front of the shared server, with a run that is too new on it."""
    scene = Scene(redis_server)
    spec = replace(make_spec(), version=NEWER)
    scene.store().create_run(spec, "creation", [Task("a", "pkg.tasks:work")])
    yield scene
    scene.close()


def chain(log: Path, **options: Any) -> Workflow:
    """Two tasks, each in a batch of its own."""
    flow = Workflow("chain")
    first = flow.add("first", stuck.nap, (str(log), 0.0), batch=False, **options)
    flow.add("last", stuck.nap, (str(log), 0.0), depends_on=[first], batch=False)
    return flow


def has_succeeded(run: Run) -> bool:
    """Whether the run has ended well."""
    return run.status() == RunStatus.SUCCESS


@pytest.mark.parametrize("worker_class", [FORKING, FAST])
def test_what_the_first_release_does_not_know_makes_a_run_version_2(
    client: Client,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    worker_class: str,
) -> None:
    """Suppose that it did not know priorities: a run without them is of version 1, one with them of
    version 2. Workers run both, and of both nothing is left listed in the end.
    """
    monkeypatch.setattr(version, "ADDED_FIELDS", {**version.ADDED_FIELDS, Task: ("priority",)})
    start_worker(redis_server.url, worker_class=worker_class)
    for number, priority in ((1, 0), (2, 7)):
        log = tmp_path / f"log{number}"
        run = client.submit(chain(log, priority=priority))
        assert run.info().version == number
        run.wait(40)
        assert run.status() == RunStatus.SUCCESS
        assert recording.lines(log) == [["first"], ["last"]]
    assert not list(client.redis.scan_iter("distflow:active*"))


def test_a_service_leads_runs_of_both_versions(
    client: Client, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """And leaves one that is too new alone, wherever it is listed."""
    runs: list[Run] = []
    for number in (1, 2, NEWER):
        run_id = f"v{number}"
        spec = replace(make_spec(run_id), version=number, detached=True)
        spec = replace(spec, options=replace(spec.options, context=None))
        write_run(client.store(run_id), spec, chain(tmp_path / run_id).compile())
        runs.append(Run(client.engine, run_id))
    *known, newer = runs
    # Somebody has moved it, say.
    newer.store.mark_active(2)
    before = client.redis.dump("distflow:{v99}:meta")
    start_worker(redis_server.url)
    service = start_cli(redis_server.url, "coordinator")
    try:
        for run in known:
            wait_for(partial(has_succeeded, run), 60, f"{run} to succeed")
            assert recording.lines(tmp_path / run.run_id) == [["first"], ["last"]]
    finally:
        kill_cli(service)
    assert client.redis.dump("distflow:{v99}:meta") == before
    assert not client.redis.exists("distflow:{v99}:lease")
    assert list(client.redis.scan_iter("rq:job:v99*")) == []


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_that_is_led_again_is_listed_by_its_version(
    client: Client, tmp_path: Path, number: int
) -> None:
    """Whoever leads it lists it again, since an index may have lost it: not where 0.1 looks, if
    that cannot read it.
    """
    spec = replace(make_spec(), version=number)
    write_run(client.store("run-1"), spec, chain(tmp_path / "log").compile())
    run = Run(client.engine, "run-1")
    run.store.release_lease("anna", run.store.acquire_lease("anna", 60.0))
    client.redis.delete("distflow:active", "distflow:active:2")
    executor = run.executor()
    try:
        executor.begin()
        listed = {name: client.redis.smembers(name) for name in client.redis.keys("*:active*")}
    finally:
        executor.end()
    assert listed == {{1: b"distflow:active", 2: b"distflow:active:2"}[number]: {b"run-1"}}


class NewerDispatcher(RqDispatcher):
    """Sends what only a newer worker reads, until it is told otherwise."""

    version = NEWER

    def dispatch(self, batches: Sequence[Batch]) -> None:
        """Send batches of that version."""
        super().dispatch([batch._replace(version=self.version) for batch in batches])


@pytest.mark.parametrize("worker_class", [FORKING, FAST])
def test_a_batch_of_a_version_that_a_worker_does_not_read(
    client: Client,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    worker_class: str,
) -> None:
    """It is refused before anything begins; the repair names the worker and what to do, and the
    batch is sent again.
    """
    log = tmp_path / "log"
    worker = start_worker(redis_server.url, worker_class=worker_class)
    run = client.create(chain(log))
    dispatcher = NewerDispatcher(client.redis, client.prefix)
    notes: list[str] = []

    def listener(notice: object) -> None:
        if getattr(notice, "kind", "") == "repair":
            notes.append(str(getattr(notice, "message", "")))
            dispatcher.version = 2

    executor = run.executor(listener=listener, dispatcher=dispatcher)
    assert executor.lead() == RunStatus.SUCCESS
    assert run.info().repairs == {"entry_refused": len(notes)}
    assert f"worker {worker.name}" in notes[0]
    assert (
        f"run {run.run_id} is of version {NEWER}, but this worker reads versions 1 and 2: "
        "it needs a newer distflow"
    ) in notes[0]
    assert recording.lines(log) == [["first"], ["last"]]
    assert [run.results()[task].attempt for task in ("first", "last")] == [1, 1]


@pytest.mark.parametrize(
    "words",
    [
        ("status", "run-1"),
        ("status", "run-1", "--json"),
        ("watch", "run-1"),
        ("show", "run-1", "a"),
        ("graph", "--run", "run-1"),
        ("resume", "run-1"),
        ("pause", "run-1"),
        ("cancel", "run-1"),
        ("resolve", "run-1", "a", "--retry"),
        ("export", "run-1", "-o", "FILE"),
        ("delete", "run-1"),
        ("delete", "run-1", "--force"),
    ],
)
def test_a_command_on_a_run_that_is_too_new(
    scene: Scene, tmp_path: Path, words: Sequence[str]
) -> None:
    """One line says what it is and what to use, and nothing is changed."""
    meta = "distflow:{run-1}:meta"
    before = scene.client.dump(meta)
    line = scene.refused(*(str(tmp_path / "file") if word == "FILE" else word for word in words))
    assert re.search(
        f"run run-1 is of version {NEWER}, and this distflow reads versions 1 and 2: "
        "a newer distflow made it, so use that one for it$",
        line,
    )
    assert scene.client.dump(meta) == before
    assert not (tmp_path / "file").exists()


def test_the_others_are_listed_beside_it(scene: Scene) -> None:
    """``runs`` and ``purge`` say that it is there, and go on with what they can read."""
    scene.open_run("a", run_id="run-2")
    listed = scene.cli("runs", "--json")
    assert [run["run_id"] for run in json.loads(listed.stdout)] == ["run-2"]
    purged = scene.cli("purge", "--older-than", "1s")
    for result in (listed, scene.cli("runs"), purged):
        assert result.exit_code == 0
        assert f"run run-1 is of version {NEWER}" in result.stderr
        assert result.stderr.count("newer distflow") == 1


@pytest.mark.parametrize("number", [1, 2])
def test_an_exported_run_keeps_its_version(
    client: Client, redis_server: RedisServer, tmp_path: Path, number: int
) -> None:
    """So does its file, which an older distflow refuses by name."""
    scene = Scene(redis_server)
    run_id, path = f"v{number}", tmp_path / "file"
    write_run(
        client.store(run_id), replace(make_spec(run_id), version=number), chain(path).compile()
    )
    assert scene.cli("export", run_id, "-o", path).exit_code == 0
    assert path.read_bytes().split(b"\n", 1)[1][:2] == bytes([0, number])
    done = scene.cli("import", path, "--run-id", "copy")
    assert done.exit_code == 0, done.output
    assert client.run("copy").info().version == number
    text = scene.cli("export", run_id, "--format", "json", "-o", "-").stdout
    assert json.loads(text)["version"] == number
    scene.close()
