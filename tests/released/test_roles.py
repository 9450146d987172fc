"""Release 0.1 and the distflow of this source on one Redis, in each role."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import StartWorker
from tests.released.playing import (
    CALLS,
    PATIENCE_SECONDS,
    a_run,
    check_ended,
    has_ended,
    mixed,
    playing,
    wait_until_half_done,
)
from tests.support.cli import kill_cli, run_cli
from tests.support.redis_server import RedisServer
from tests.support.release import BESIDE, THIS, Release
from tests.support.tasks.released import open_gates
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING

#: What may run twice did, what may not did not: its hook was asked, or a person. Each of the two
#: resumes evaluates a tolerated failure again.
CALLS_WHERE_ALL_WERE_KILLED = CALLS + Counter(hold=1, verify=1, spoil=2) - Counter(charged=1)

#: Either of the two is the newer one.
WHO = pytest.mark.parametrize("newer", ["first", "second"])


@pytest.mark.parametrize("worker_class", [FORKING, FAST])
def test_a_coordinator_of_0_1_leads_workers_of_today(
    old: Release,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    worker_class: str,
) -> None:
    """From submit to the end."""
    for _ in range(2):
        start_worker(redis_server.url, worker_class=worker_class, release=BESIDE)
    open_gates(tmp_path)
    done = run_cli(redis_server.url, *mixed(tmp_path), release=old)
    assert done.returncode == 0, done.stderr
    with a_run(redis_server.url) as run:
        check_ended(run, tmp_path)


@pytest.mark.parametrize("worker_class", [FORKING, FAST])
def test_a_coordinator_of_today_leads_workers_of_0_1(
    old: Release,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    worker_class: str,
) -> None:
    """From submit to the end."""
    for _ in range(2):
        start_worker(redis_server.url, worker_class=worker_class, release=old)
    open_gates(tmp_path)
    done = run_cli(redis_server.url, *mixed(tmp_path), release=THIS)
    assert done.returncode == 0, done.stderr
    with a_run(redis_server.url) as run:
        check_ended(run, tmp_path)


@WHO
def test_a_service_leads_what_the_other_submitted(
    old: Release, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path, newer: str
) -> None:
    """With a worker of each."""
    submits, leads = (THIS, old) if newer == "first" else (old, THIS)
    url = redis_server.url
    start_worker(url, release=old)
    start_worker(url, release=BESIDE, worker_class=FAST)
    open_gates(tmp_path)
    with playing(url, "coordinator", release=leads), a_run(url) as run:
        done = run_cli(url, *mixed(tmp_path), "--detach", release=submits)
        assert done.stdout == "r\n", done.stderr
        wait_for(partial(has_ended, run), PATIENCE_SECONDS, f"{run} to end")
        check_ended(run, tmp_path)


@WHO
def test_a_service_takes_over_from_the_other(
    old: Release, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path, newer: str
) -> None:
    """A coordinator is killed in the middle; the workers, some of each release, go on, and a
    service of the other release leads the run to its end. Nothing is called twice.
    """
    led, takes = (BESIDE, old) if newer == "first" else (old, BESIDE)
    url = redis_server.url
    for release in (old, BESIDE):
        for worker_class in (FORKING, FAST):
            start_worker(url, release=release, worker_class=worker_class)
    with playing(url, *mixed(tmp_path, delay=10.0), release=led) as first, a_run(url) as run:
        wait_until_half_done(run, tmp_path)
        epoch = run.info().epoch
        kill_cli(first)
        with playing(url, "coordinator", release=takes):
            wait_for(lambda: run.info().epoch > epoch, PATIENCE_SECONDS, "a take-over")
            open_gates(tmp_path)
            wait_for(partial(has_ended, run), PATIENCE_SECONDS, f"{run} to end")
        check_ended(run, tmp_path)


@pytest.mark.timeout(180)
@WHO
@pytest.mark.parametrize("way", ["resume", "import"])
def test_a_run_that_the_other_left_half_finished(
    old: Release,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    newer: str,
    way: str,
) -> None:
    """Its coordinator and all of its workers are killed: some tasks are done, one waits for its
    retry, one may run twice, one charge is unknown, another has a hook that knows. The other
    release resumes the run itself, or an import of what the first exported, with its own workers.
    Nothing that was done is done again.
    """
    begins, ends = (BESIDE, old) if newer == "first" else (old, THIS)
    url, file = redis_server.url, tmp_path / "file"
    workers = [start_worker(url, release=begins) for _ in range(4)]
    with playing(url, *mixed(tmp_path, delay=10.0), release=begins) as first, a_run(url) as run:
        wait_until_half_done(run, tmp_path)
        kill_cli(first)
        for worker in workers:
            worker.kill()
    goes_on = "r"
    if way == "import":
        goes_on = "copy"
        exported = run_cli(url, "export", "r", "-o", str(file), release=begins)
        assert exported.returncode == 0, exported.stderr
        imported = run_cli(url, "import", str(file), "--run-id", goes_on, release=ends)
        assert imported.returncode == 0, imported.stderr
    open_gates(tmp_path)
    for _ in range(2):
        start_worker(url, release=ends)
    resumed = run_cli(url, "resume", goes_on, release=ends)
    assert resumed.returncode == 3, resumed.stderr
    words = ["resolve", goes_on, "charge", "--done", '"charged"']
    decided = run_cli(url, *words, release=ends)
    assert decided.returncode == 0, decided.stderr
    resumed = run_cli(url, "resume", goes_on, release=ends)
    assert resumed.returncode == 0, resumed.stderr
    with a_run(url, goes_on) as run:
        check_ended(run, tmp_path, CALLS_WHERE_ALL_WERE_KILLED)


@WHO
def test_a_snapshot_of_the_other_saves_its_work(
    old: Release, redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path, newer: str
) -> None:
    """A new run that is submitted with the export of an ended one: the tasks are known again by
    their marks, and what had succeeded is not done again.
    """
    begins, ends = (BESIDE, old) if newer == "first" else (old, BESIDE)
    url, file = redis_server.url, str(tmp_path / "file")
    start_worker(url, release=old, worker_class=FAST)
    open_gates(tmp_path)
    for words, release in (
        (mixed(tmp_path), begins),
        (["export", "r", "-o", file], begins),
        ([*mixed(tmp_path, "next"), "--snapshot", file], ends),
    ):
        done = run_cli(url, *words, release=release)
        assert done.returncode == 0, done.stderr
    with a_run(url, "next") as run:
        # A tolerated failure is no success.
        check_ended(run, tmp_path, CALLS + Counter(spoil=1))
