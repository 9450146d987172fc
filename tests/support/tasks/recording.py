"""Workflows whose tasks write what they do to an append-only file: the witness of every test."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

from distflow import NotDone, Retry, TaskResult, TaskStatus, Workflow, task, workflow


def note(log: str, *words: object) -> None:
    """Append a line in one write, as several processes do at once."""
    descriptor = os.open(log, os.O_APPEND | os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(descriptor)


def lines(log: Path) -> list[list[str]]:
    """What was noted: a list of words per line."""
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def wait_for_file(path: str) -> None:
    """Hold a task until the test lets it go on."""
    while not Path(path).exists():
        time.sleep(0.01)


def step(log: str, seconds: float, parents: list[str | None], *, ctx) -> str:
    """Note the start, see that every dependency is there, and pass the own name on."""
    note(log, ctx.task, ctx.attempt)
    assert None not in parents
    time.sleep(seconds)
    return str(ctx.task)


def random_dag(seed: int = 0, size: int = 200, log: str = "", seconds: float = 0.0) -> Workflow:
    """Tasks with up to three dependencies each among those before them."""
    choose = random.Random(seed)
    dag = Workflow(f"random_{seed}")
    refs: list[Any] = []
    for number in range(size):
        parents = choose.sample(refs, min(len(refs), choose.randint(0, 3)))
        refs.append(dag.add(f"t{number}", step, (log, seconds, parents)))
    return dag


@workflow
def small_dag(log: str, size: int = 5):
    """A chain of as many steps."""
    last: list[Any] = []
    for _ in range(size):
        last = [chained(log, last)]


@task
def chained(log: str, before: list[Any], *, ctx) -> str:
    note(log, ctx.task)
    return str(ctx.task)


@task
def prepare(log: str) -> int:
    note(log, "prepare")
    return 7


@task(effects="at_most_once")
def charge(amount: int, log: str, gate: str, *, ctx) -> str:
    """Charge, note it, and hang until the gate opens."""
    note(log, "charge", ctx.key, os.getpid())
    wait_for_file(gate)
    note(log, "charged", ctx.key)
    return f"charged {amount}"


@task
def receipt(text: str, log: str) -> str:
    note(log, "receipt", text)
    return text


@workflow
def payment(log: str, gate: str):
    receipt(charge(prepare(log), log, gate), log)


@task
def hold(log: str, gate: str, *, ctx) -> int:
    note(log, ctx.task, ctx.attempt, os.getpid())
    wait_for_file(gate)
    return int(ctx.attempt)


@workflow
def holding(log: str, gate: str, effects: Any = "normal", lost: int = 0):
    """A task that hangs until the gate opens, and one that follows."""
    retry = Retry(lost=lost) if lost else None
    receipt(hold.options(effects=effects, retry=retry)(log, gate), log)


@task(effects="at_most_once", retry=Retry(attempts=3))
def careful(log: str, *, ctx) -> int:
    note(log, "careful", ctx.attempt)
    if ctx.attempt < 3:
        raise NotDone("the gateway did not answer the first packet")
    return int(ctx.attempt)


@task(effects="at_most_once", retry=Retry(attempts=3))
def reckless(log: str) -> None:
    note(log, "reckless")
    raise ValueError("after the money had moved")


@workflow
def effects(log: str):
    careful(log)
    reckless(log)


@task(retry=Retry(attempts=5, delay=600.0))
def stubborn(log: str, *, ctx) -> None:
    note(log, "stubborn", ctx.attempt)
    raise ValueError("not yet")


@workflow
def waiting(log: str):
    """A task that waits for its retry for ten minutes."""
    stubborn(log)


@task(continue_on_error=True)
def spoil() -> TaskResult:
    return TaskResult(TaskStatus.FAILURE, data=5)


@task
def echo(value: Any) -> list[Any]:
    return [value]


@workflow
def tolerated():
    """A failure that brings data, tolerated, and a task that takes its place."""
    echo(spoil())
