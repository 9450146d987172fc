"""A workflow means the same in this process, on RQ workers of three classes, and by a
plain reading of the rules: random DAGs, random behaviours, random snapshots.

``DISTFLOW_EXAMPLES`` says how many (500).
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distflow import Snapshot, TaskResult, TaskRunnerBuilder
from distflow.core.graph import Graph
from distflow.events.notice import Notice
from distflow.events.vocabulary import EVENTS
from distflow.runs.client import Client
from tests.conftest import StartWorker
from tests.support.cases import Case, build, check, make_case, pack_cases
from tests.support.redis_server import RedisServer
from tests.support.worker_process import FAST, FORKING, SIMPLE

EXAMPLES = int(os.environ.get("DISTFLOW_EXAMPLES", "500"))


def play_here(
    case: Case, log: Path, *, dry_run: bool = False
) -> tuple[dict[str, TaskResult], str, list[Notice]]:
    """Run a case in this process: its results, how it ended, and what was told."""
    log.write_text("")
    notices: list[Notice] = []
    builder = TaskRunnerBuilder().with_snapshot(Snapshot(case.known, origin="0f"))
    for event in EVENTS:
        builder.on(event, notices.append)
    results = builder.build().execute(build(case, log), dry_run=dry_run)
    (end,) = [notice for notice in notices if notice.kind == "workflow_end"]
    return results, end.status, notices


@pytest.fixture(scope="module")
def shared_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The witness of the examples that run one after another."""
    return tmp_path_factory.mktemp("equivalence") / "log"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.randoms(use_true_random=False))
def test_in_this_process(shared_log: Path, choose: random.Random) -> None:
    """In this process every task ends as the rules say, after as many calls."""
    case = make_case(choose)
    results, status, _notices = play_here(case, shared_log)
    check(case, results, status, shared_log)


@settings(
    max_examples=EXAMPLES // 5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.randoms(use_true_random=False))
def test_a_dry_run(shared_log: Path, choose: random.Random) -> None:
    """Conditions are asked as in a run whose tasks all succeed; nothing is called, and every event
    says that it is of a dry run.
    """
    case = make_case(choose)
    results, status, notices = play_here(case, shared_log, dry_run=True)
    check(case, results, status, shared_log, dry_run=True)
    assert list(results) == [
        case.tasks[index].name for index in Graph.compile(case.tasks).reading_order()
    ]
    assert all(notice.simulated for notice in notices)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("worker_class", "seeds"),
    [
        (SIMPLE, range(EXAMPLES)),
        (FORKING, range(EXAMPLES, EXAMPLES + EXAMPLES // 20)),
        (FAST, range(2 * EXAMPLES, 2 * EXAMPLES + EXAMPLES // 5)),
    ],
    ids=["simple", "forking", "fast"],
)
def test_on_workers(
    worker_class: str,
    seeds: range,
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    """On two workers of a class, in this process and by the rules: the same statuses and calls."""
    with redis_server.client() as connection:
        # What is compared here does not need to survive a power cut.
        connection.config_set("appendfsync", "everysec")
        client = Client(connection)
        for _ in range(2):
            start_worker(redis_server.url, worker_class=worker_class)
        started = []
        for part in range(4):
            case, log = pack_cases(seeds[part::4]), tmp_path / f"log{part}"
            known = Snapshot(case.known, origin="0f")
            started.append((case, log, client.submit(build(case, log), snapshot=known)))
        try:
            for case, log, run in started:
                status = run.wait(240).value
                meant = check(case, run.results(), status, log)
                results, here, _notices = play_here(case, tmp_path / "here")
                assert here == status
                assert check(case, results, here, tmp_path / "here") == meant
        finally:
            connection.config_set("appendfsync", "always")
