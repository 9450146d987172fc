"""A workflow means the same in this process, on RQ workers of three classes, and by a
plain reading of the rules: random DAGs, random behaviours, random snapshots.

``DISTFLOW_EXAMPLES`` says how many (500).
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distflow import Loop, Retry, Snapshot, TaskResult, TaskRunnerBuilder, TaskStatus, Workflow
from distflow.core.graph import Graph
from distflow.core.model import Effects, Task
from distflow.events.notice import Notice
from distflow.events.vocabulary import EVENTS
from distflow.runs.client import Client
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.reference import Meaning, interpret, verdict
from tests.support.tasks import behaving, recording
from tests.support.worker_process import FAST, FORKING, SIMPLE

EXAMPLES = int(os.environ.get("DISTFLOW_EXAMPLES", "500"))

#: Steps of tasks; those that let a run go on come more often.
STEPS = (
    *["ok"] * 12,
    *["raise", "again"] * 3,
    *["not_done", "bad until", "unencodable"],
    *behaving.RETURNED,
)
UNTIL = (behaving.until, behaving.until, behaving.until_anything)
CONDITIONS = (None,) * 15 + ("always", "always", "never", "raising")
KNOWN = (None,) * 12 + ("success",) * 5 + ("failure", "skipped", "cancelled") * 2 + ("unknown",)
EFFECTS: tuple[Effects, ...] = ("normal", "normal", "idempotent", "at_most_once")


class Case(NamedTuple):
    """A workflow and what is known of it."""

    tasks: list[Task]
    known: dict[str, TaskResult]


def make_case(choose: random.Random, prefix: str = "t") -> Case:
    """Up to 12 tasks, in an order of definition that says nothing about their dependencies."""
    names = [f"{prefix}{number}" for number in range(choose.randint(1, 12))]
    tasks, known = [], {}
    hydrated = choose.random() < 0.5
    for number, name in enumerate(names):
        parents = choose.sample(names[:number], min(number, choose.choice((0, 1, 1, 2, 3))))
        effects = choose.choice(EFFECTS)
        condition = choose.choice(CONDITIONS)
        looping = effects != "at_most_once" and choose.random() < 0.25
        tasks.append(
            Task(
                name=name,
                function="tests.support.tasks.behaving:behave",
                args=(tuple(choose.choices(STEPS, k=choose.randint(1, 3))),),
                depends_on=tuple(parents),
                retry=Retry(choose.randint(0, 2)) if choose.random() < 0.4 else None,
                loop=Loop(choose.choice(UNTIL), choose.randint(1, 3)) if looping else None,
                condition=condition and f"tests.support.tasks.behaving:{condition}",
                priority=choose.randint(-1, 1),
                continue_on_error=choose.random() < 0.35,
                effects=effects,
            )
        )
        status = choose.choice(KNOWN)
        if hydrated and status is not None:
            touched = effects == "at_most_once" and status in ("failure", "skipped", "cancelled")
            started = touched and choose.random() < 0.5
            known[name] = TaskResult(TaskStatus(status), attempt=1, started=started)
    choose.shuffle(tasks)
    return Case(tasks, known)


def pack_cases(seeds: Iterable[int]) -> Case:
    """Many cases as the components of one workflow."""
    cases = [make_case(random.Random(seed), f"s{seed}t") for seed in seeds]
    tasks = [task for case in cases for task in case.tasks]
    return Case(tasks, {name: result for case in cases for name, result in case.known.items()})


def build(case: Case, log: Path) -> Workflow:
    """The workflow as a user would write it."""
    dag = Workflow("random")
    for task in case.tasks:
        dag.add(
            task.name,
            behaving.behave,
            task.args,
            depends_on=task.depends_on,
            retry=task.retry,
            loop=task.loop,
            condition=task.condition,
            priority=task.priority,
            continue_on_error=task.continue_on_error,
            effects=task.effects,
        )
    return dag.build({"log": str(log)})


def check(
    case: Case, results: Mapping[str, TaskResult], status: str, log: Path, *, dry_run: bool = False
) -> dict[str, Meaning]:
    """Compare what became of every task with what the rules say; returns the latter."""
    lines = recording.lines(log)
    calls = Counter(line[0] for line in lines)
    meant = interpret(case.tasks, case.known, dry_run=dry_run)
    found = {
        task.name: Meaning(
            said(results.get(task.name)),
            calls[task.name],
            calls[f"?{task.name}"] + calls[f"!{task.name}"],
            meant[task.name].roots,
        )
        for task in case.tasks
    }
    differing = {
        task.name: (found[task.name], meant[task.name], task, case.known.get(task.name))
        for task in case.tasks
        if found[task.name] != meant[task.name]
    }
    assert not differing, differing
    assert status == verdict(case.tasks, meant)
    for name, meaning in meant.items():
        if name not in meaning.roots and meaning.roots:
            cause = re.fullmatch(r"not run: '(.+)' ended as (\w+)", results[name].message or "")
            assert cause, results[name]
            assert cause[1] in meaning.roots
            assert cause[2] == meant[cause[1]].status
    check_order(case.tasks, lines)
    return meant


def said(result: TaskResult | None) -> str:
    """What a task came to; empty where it waits still."""
    return "" if result is None or result.status == "pending" else result.status.value


def check_order(tasks: Sequence[Task], lines: Sequence[Sequence[str]]) -> None:
    """Nothing begins before the last call of any of its dependencies, and no call comes twice."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, line in enumerate(lines):
        name = line[0].lstrip("?!")
        first.setdefault(name, number)
        last[name] = number
    assert len({tuple(line) for line in lines}) == len(lines), "an attempt was repeated"
    for task in tasks:
        for parent in task.depends_on:
            if task.name in first and parent in last:
                assert last[parent] < first[task.name], f"{task.name} began before {parent} ended"


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
