"""Random workflows of random tasks, and whether what became of each is what the rules say."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from distflow import Loop, Retry, TaskResult, TaskStatus, Workflow
from distflow.core.model import Effects, Task
from tests.support.reference import Meaning, interpret, verdict
from tests.support.tasks import behaving, recording

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
