"""Workers that cannot import what tasks need: real workers of each kind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from distflow import Client
from distflow.cli import main
from distflow.core.model import Task
from distflow.core.run import RunSpec
from distflow.core.status import RunStatus
from distflow.ids import new_run_id
from distflow.runs.run import Run
from distflow.store.redis.worker_notes import read_notes
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING, ROOT, SIMPLE

#: A module that some workers have. What it is asked for is written to a file.
MODULE = """
import os, time
import distflow

def note(log, name):
    with open(log, "a") as file:
        file.write(name + "\\n")
    time.sleep(0.02)
    return name

def fine(ctx):
    return True
"""


@pytest.fixture
def with_module(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a worker that has it."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "mf_shop.py").write_text(MODULE)
    yield {"PYTHONPATH": str(folder)}
    sys.modules.pop("mf_shop", None)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Client]:
    """Of the shared server."""
    with redis_server.client() as redis:
        yield Client(redis)


Submit = Callable[..., Run]


@pytest.fixture
def submit(client: Client, tmp_path: Path) -> Submit:
    """Leads a run of tasks that only some workers can run; who leads it cannot."""

    def submit(count: int, **fields: Any) -> Run:
        args = str(tmp_path / "log")
        effects: list[Any] = ["normal", "idempotent", "at_most_once"]
        tasks = [
            Task(f"t{n}", "mf_shop:note", (args, f"t{n}"), effects=effects[n % 3], **fields)
            for n in range(count)
        ]
        run = Run(client.engine, new_run_id())
        spec = RunSpec(run.run_id, "mf_shop:flow", {}, "origin")
        run.store.create_run(spec, "creation", tasks)
        run.lead_in_background(reopen=False)
        return run

    return submit


def look(url: str, *words: str) -> str:
    """What a command that looks prints."""
    done = CliRunner(env={"DISTFLOW_REDIS_URL": url}).invoke(main, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def held_misfits(url: str, run_id: str) -> list[dict[str, Any]]:
    """What each worker has refused, once all have."""
    misfits = json.loads(look(url, "status", run_id, "--json"))["misfits"]
    return [each for each in misfits if each["no_worker_can"]]


@pytest.mark.parametrize("misfit", [FORKING, FAST, SIMPLE])
def test_a_worker_without_the_module_ruins_nothing(
    misfit: str,
    submit: Submit,
    start_worker: StartWorker,
    with_module: dict[str, str],
) -> None:
    """Promise 9. It is there first, and draws the work: nothing fails, each task is called once,
    and its note names the worker. It rests, and ends at once all the same when it is told to.
    """
    run = submit(12, condition="mf_shop:fine")
    client = Client(run.engine.backend)
    url = client.redis.connection_pool.connection_kwargs["path"]
    bad = start_worker(f"unix://{url}", worker_class=misfit)
    wait_for(run.store.read_refusals, 20, "the first refusal")
    start_worker(f"unix://{url}", env=with_module)
    assert run.wait(timeout=60) == RunStatus.SUCCESS
    names = (Path(with_module["PYTHONPATH"]).parent / "log").read_text().split()
    assert sorted(names) == sorted(f"t{number}" for number in range(12))
    refused = [entry for entry in run.store.read_history() if entry.kind == "misfit"]
    assert {entry.by for entry in refused} == {bad.name}
    assert all(result.attempt == 1 for result in run.results().values())
    note = read_notes(client.redis, client.prefix)[bad.name]
    assert (note.pid, note.rests > 0) == (bad.pid, True)
    assert note.refusal == "mf_shop:note: ModuleNotFoundError: No module named 'mf_shop'"
    assert bad.stop(10) == 0


def test_what_no_worker_has_fails_in_their_words(
    client: Client, redis_server: RedisServer, start_worker: StartWorker, submit: Submit
) -> None:
    """Whatever it is, and however often it may be tried: after as long as is waited for another."""
    workers = [start_worker(redis_server.url), start_worker(redis_server.url, worker_class=FAST)]
    client.settings = replace(client.settings, misfit_seconds=2.0)
    run = submit(4)
    seen = wait_for(lambda: held_misfits(redis_server.url, run.run_id), 20, "both to refuse")
    assert {each["worker"] for each in seen} == {worker.name for worker in workers}
    assert {each["pid"] for each in seen} == {worker.pid for worker in workers}
    assert {each["error"] for each in seen} == {"ModuleNotFoundError: No module named 'mf_shop'"}
    assert {each["cannot_run"] for each in seen} == {"mf_shop:note"}
    told = look(redis_server.url, "status", run.run_id)
    assert "can run mf_shop:note: none of those there has mf_shop:note" in told
    assert f"misfit     worker {workers[0].name} on host " in told
    listed = {
        each["name"]: each for each in json.loads(look(redis_server.url, "workers", "--json"))
    }
    for worker in workers:
        mine = listed[worker.name]
        assert (mine["pid"], mine["queues"], mine["directory"]) == (
            worker.pid,
            ["default"],
            str(ROOT),
        )
        assert "No module named 'mf_shop'" in mine["refusal"]
        assert worker.name in look(redis_server.url, "workers")
    assert [each.name for each in client.workers()] == sorted(listed)
    assert run.wait(timeout=60) == RunStatus.FAILURE
    results = run.results()
    assert {result.status.value for result in results.values()} == {"failure"}
    for result in results.values():
        assert str(result.error).startswith("ModuleNotFoundError: No module named 'mf_shop' (")
        for worker in workers:
            assert f"worker {worker.name} on host " in str(result.error)
        assert not result.started


def test_code_that_comes_below_a_worker_is_found(
    redis_server: RedisServer,
    start_worker: StartWorker,
    with_module: dict[str, str],
    submit: Submit,
) -> None:
    """A deployment in place, below a worker whose child stays otherwise: nothing is restarted."""
    folder = Path(with_module["PYTHONPATH"])
    (folder / "mf_shop.py").rename(folder / "later")
    start_worker(redis_server.url, env=with_module, worker_class=FAST)
    run = submit(5)
    wait_for(run.store.read_refusals, 20, "the first refusal")
    (folder / "later").rename(folder / "mf_shop.py")
    assert run.wait(timeout=60) == RunStatus.SUCCESS
    assert run.store.read_refusals() == []
