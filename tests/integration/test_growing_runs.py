"""Runs that grow come to what their programs mean in this process, and on RQ workers that fork and
that do not.

``DISTFLOW_GROWN`` says how many (30).
"""

from __future__ import annotations

import os
import random
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distflow import TaskResult, TaskRunnerBuilder, TaskStatus
from distflow.coordinator.executor import WorkflowExecutor
from distflow.core.status import RunStatus
from distflow.events.notice import Notice
from distflow.runs.client import Client
from distflow.runs.takeover import Taking
from tests.conftest import StartWorker
from tests.support.drawn import draw_program
from tests.support.growing_checks import (
    check_cut,
    check_order,
    check_tasks,
    check_value,
    known_of,
)
from tests.support.growing_scene import lead_in_steps
from tests.support.meaning import read
from tests.support.programs import Program, pack
from tests.support.redis_server import RedisServer
from tests.support.tasks.programmed import write
from tests.support.wait import stretched
from tests.support.worker_process import FAST, FORKING

EXAMPLES = int(os.environ.get("DISTFLOW_GROWN", "30"))


@pytest.fixture(scope="module")
def shared_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The witness of the examples that run one after another."""
    return tmp_path_factory.mktemp("growing") / "log"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.integers(0, 1 << 32))
def test_in_this_process(shared_log: Path, seed: int) -> None:
    """On threads: the same statuses, data and calls as by the rules."""
    shared_log.write_text("")
    program = draw_program(random.Random(seed))
    meant = read(program)
    ended: list[Notice] = []
    runner = TaskRunnerBuilder().on("workflow_end", ended.append).build()
    results = runner.execute(write(program, shared_log))
    check_tasks(meant, results, shared_log)
    assert [notice.status for notice in ended] == [meant.verdict]


def pack_programs(seeds: range) -> tuple[Program, Program]:
    """The programs of these seeds as workflows within one; those that are a success by themselves
    in the second.
    """
    drawn = {f"s{seed}": draw_program(random.Random(seed), f"s{seed}.") for seed in seeds}
    well = {
        name: program
        for name, program in drawn.items()
        if (alone := read(pack({name: program}))).verdict == "success" and alone.is_complete
    }
    mixed = {name: program for name, program in drawn.items() if name not in well}
    return pack(mixed), pack(well)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("worker_class", "seeds"),
    [(FORKING, range(max(2, EXAMPLES // 50))), (FAST, range(EXAMPLES, 2 * EXAMPLES))],
    ids=["forking", "fast"],
)
def test_on_workers(
    worker_class: str,
    seeds: range,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    """On two workers of a class: statuses, values, calls and their order, and what a workflow
    returned.
    """
    with redis_server.client() as connection:
        # What is compared here does not need to survive a power cut.
        connection.config_set("appendfsync", "everysec")
        client = Client(connection)
        for _ in range(2):
            start_worker(redis_server.url, worker_class=worker_class)
        logs = tmp_path / "mixed", tmp_path / "well"
        programs = pack_programs(seeds)
        runs = [client.submit(write(*pair)) for pair in zip(programs, logs, strict=True)]
        try:
            statuses = [run.wait(stretched(100)) for run in runs]
        finally:
            connection.config_set("appendfsync", "always")
        for program, log, run, status in zip(programs, logs, runs, statuses, strict=True):
            meant = read(program)
            check_tasks(meant, run.results(), log)
            check_order(run.graph(), log)
            assert status == meant.verdict
            assert run.info().total == len(meant.tasks)
            check_value(meant, run)
        assert statuses[1] == RunStatus.SUCCESS


@pytest.mark.timeout(400)
def test_on_workers_led_by_many(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Leaders die, and others take over; and a run that starts from an export of the midst of it
    does the rest, and nothing of what was done.
    """
    chance = random.Random(EXAMPLES)
    _mixed, program = pack_programs(range(2 * EXAMPLES, 5 * EXAMPLES // 2))
    meant, logs = read(program), (tmp_path / "first", tmp_path / "second")
    with redis_server.client() as connection:
        client = Client(connection)
        for _ in range(2):
            start_worker(redis_server.url, worker_class=FAST)
        run, cuts = client.create(write(program, logs[0])), []
        ended = False
        while not ended:
            executor = WorkflowExecutor(run.store, client.backend.dispatcher)
            steps = lead_in_steps(executor, run.store, client.backend, force=True)
            *_before, ended = islice(steps, chance.randint(1, 60))
            steps.close()
            cuts.append(run.snapshot())
        assert run.status() == meant.verdict
        check_tasks(meant, run.results(), logs[0])
        check_order(run.graph(), logs[0])
        check_value(meant, run)
        cut = chance.choice(cuts)
        check_cut(run.graph(), cut)
        taking = Taking(gap="run")
        again = client.create(write(program, logs[1]), snapshot=cut, taking=taking)
        again.resume()
        again.wait(stretched(100))
        known = known_of(meant, {name: at for name, at in cut.items() if stands(at)})
        meant = read(program, known)
        check_tasks(meant, again.results(), logs[1])
        assert again.status() == meant.verdict
        assert len(cuts) > 2


def stands(result: TaskResult) -> bool:
    """Whether a new run takes over the outcome."""
    return result.status in (TaskStatus.SUCCESS, TaskStatus.UNKNOWN) or result.started
