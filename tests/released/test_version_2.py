"""A run of version 2 beside release 0.1: that stops cleanly, whatever it is asked to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from distflow.coordinator.settings import CoordinatorSettings
from distflow.runs.client import Client
from distflow.runs.run import Run, find_run
from distflow.runs.run_writer import write_run
from tests.conftest import StartWorker
from tests.released.playing import PATIENCE_SECONDS, has_ended, playing
from tests.support.cli import run_cli
from tests.support.redis_server import RedisServer
from tests.support.release import BESIDE, THIS, Release
from tests.support.stores import make_spec
from tests.support.tasks import released
from tests.support.tasks.recording import lines
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING

#: What 0.1 says of it.
SAID = "run 'r' holds no run that this version can read"

#: All that the chain of three tasks writes.
CHAIN = [["c0"], ["c1"], ["c2"]]


@pytest.fixture
def run(redis_server: RedisServer, tmp_path: Path) -> Iterator[Run]:
    """A run of version 2 that nobody leads."""
    with redis_server.client() as redis:
        brisk = CoordinatorSettings(stale_seconds=1.5, watch_seconds=0.2, unbegun_seconds=1.0)
        client = Client(redis, settings=brisk)
        spec = make_spec("r")
        spec = replace(spec, version=2, detached=True, options=replace(spec.options, context=None))
        write_run(client.store("r"), spec, released.chain(str(tmp_path / "log")).compile())
        yield Run(client.engine, "r")


def redis_of(run: Run) -> Redis:
    """Where it lives."""
    return Client(run.engine.backend).redis


def dump(redis: Redis) -> dict[bytes, Any]:
    """All that lies in Redis of runs."""
    return {key: redis.dump(key) for key in redis.scan_iter("distflow*")}


@pytest.mark.parametrize(
    "words",
    [
        ("status", "r"),
        ("watch", "r"),
        ("show", "r", "c0"),
        ("resume", "r"),
        ("resume", "r", "--force"),
        ("export", "r", "-o", "FILE"),
        ("purge", "--older-than", "1s"),
        ("runs",),
    ],
)
def test_a_command_of_0_1_changes_nothing(
    old: Release, run: Run, tmp_path: Path, redis_server: RedisServer, words: Sequence[str]
) -> None:
    """Commands on the run say that they cannot read it; lists leave it out."""
    file = tmp_path / "file"
    before = dump(redis_of(run))
    done = run_cli(
        redis_server.url, *(str(file) if word == "FILE" else word for word in words), release=old
    )
    assert dump(redis_of(run)) == before
    assert not file.exists()
    if words[0] in ("purge", "runs"):
        assert done.returncode == 0
        assert "\nr " not in done.stdout
    else:
        assert (done.returncode, done.stdout) == (2, "")
        assert SAID in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("word", "status"), [("pause", "paused"), ("cancel", "cancelling")])
def test_a_person_stops_it_by_0_1(
    old: Release, run: Run, redis_server: RedisServer, word: str, status: str
) -> None:
    """It is stopped, although 0.1 says then that it cannot read what it has stopped."""
    done = run_cli(redis_server.url, word, "r", release=old)
    assert (done.returncode, done.stderr) == (2, f"distflow: {SAID}\n")
    assert run.status() == status


def test_a_person_deletes_it_by_0_1(
    old: Release, run: Run, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Not while it is led or worked on; else it is gone, and what 0.1 does not know of it is no
    hindrance to the next run of that name.
    """
    url, store = redis_server.url, run.store
    epoch = store.acquire_lease("anna", 60.0)
    before = dump(redis_of(run))
    done = run_cli(url, "delete", "r", release=old)
    assert done.returncode == 2
    assert "run r is being coordinated: cancel it first" in done.stderr
    assert dump(redis_of(run)) == before
    store.release_lease("anna", epoch)
    assert SAID in run_cli(url, "delete", "r", release=old).stderr
    assert set(dump(redis_of(run))) == {b"distflow:active:2"}
    done = run_cli(url, "delete", "r", release=THIS)
    assert (done.returncode, dump(redis_of(run))) == (2, {})


@pytest.mark.parametrize("worker_class", [FORKING, FAST])
def test_a_worker_of_0_1_refuses_it(
    old: Release,
    run: Run,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    worker_class: str,
) -> None:
    """Before anything begins. The repair names the worker, and the next one runs the batch: no task
    has used up an attempt.
    """
    worker = start_worker(redis_server.url, worker_class=worker_class, release=old)
    notes: list[str] = []

    def listen(notice: Any) -> None:
        if notice.kind == "repair":
            notes.append(notice.message)

    run.lead_in_background(reopen=False, listener=listen)
    wait_for(lambda: notes, PATIENCE_SECONDS, "a repair")
    assert lines(tmp_path / "log") == []
    assert f"worker {worker.name}" in notes[0]
    assert "this worker speaks wire version 1, the coordinator 2" in notes[0]
    worker.stop()
    start_worker(redis_server.url)
    run.wait(PATIENCE_SECONDS)
    assert run.status() == "success"
    assert run.info().repairs["entry_refused"] >= 1
    assert lines(tmp_path / "log") == CHAIN
    assert {result.attempt for result in run.results().values()} == {1}


def test_a_service_of_0_1_does_not_see_it(
    old: Release,
    run: Run,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    """It leads a run of version 1 that was made later; the other stands until a newer service
    comes, and is led by that.
    """
    url = redis_server.url
    start_worker(url, release=BESIDE)
    before = redis_of(run).dump("distflow:{r}:meta")
    log = tmp_path / "log1"
    params = ["-p", f"log={log}"]
    with playing(url, "coordinator", release=old) as service:
        run_cli(url, "submit", f"{released.__name__}:chain", "--run-id", "r1", "--detach", *params)
        first = find_run(run.engine, "r1")
        wait_for(partial(has_ended, first), PATIENCE_SECONDS, f"{first} to end")
        assert lines(log) == CHAIN
        assert redis_of(run).dump("distflow:{r}:meta") == before
        with playing(url, "coordinator", release=BESIDE):
            wait_for(partial(has_ended, run), PATIENCE_SECONDS, f"{run} to end")
        assert lines(tmp_path / "log") == CHAIN
        assert service.poll() is None


def test_its_snapshot_is_refused_by_0_1(
    old: Release, run: Run, redis_server: RedisServer, tmp_path: Path
) -> None:
    """In one line, and nothing is written."""
    file = str(tmp_path / "file")
    assert run_cli(redis_server.url, "export", "r", "-o", file, release=THIS).returncode == 0
    before = dump(redis_of(run))
    done = run_cli(redis_server.url, "import", file, "--run-id", "copy", release=old)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "is a snapshot of version 2, and this distflow reads version 1" in done.stderr
    assert dump(redis_of(run)) == before
