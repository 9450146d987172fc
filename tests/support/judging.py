"""Attempts at tasks, and what is decided of their outcomes."""

from __future__ import annotations

from typing import Any

from distflow.core.model import Metrics, Task
from distflow.core.outcome import (
    Attempt,
    Decision,
    Outcome,
    decide,
    decide_lost,
)
from distflow.core.status import TaskStatus

S = TaskStatus
EFFECTS = ("normal", "idempotent", "at_most_once")
METRICS = Metrics(100.0, 102.5, 2.5)

OK = Outcome(S.SUCCESS, data=[1])
RAISED = Outcome(S.FAILURE, message="no", error="ValueError: no", traceback="Traceback …")
NOT_DONE = RAISED._replace(not_done=True)
TIMED_OUT = Outcome(S.FAILURE, error="TaskTimeout: …", timed_out=True)
PERMANENT = RAISED._replace(permanent=True)
AGAIN = OK._replace(met=False)
MET = OK._replace(met=True)


def task_of(effects: Any = "normal", **options: Any) -> Task:
    """A task with a policy, by its effects."""
    return Task("t", "m:f", effects=effects, **options)


def attempt(number: int = 1, *, started: bool = True, **fields: int) -> Attempt:
    """A first attempt, unless said otherwise."""
    values = {"iteration": 1, "base": 0, "lost": 0, **fields}
    return Attempt(number, started=started, **values)


def judge(task: Task, at: Attempt, outcome: Outcome, roll: float = 0.5) -> Decision:
    """What a worker decides; the roll stands for no jitter."""
    return decide(task, at, outcome, metrics=METRICS, worker="w", roll=roll)


def lose(task: Task, at: Attempt, *, cancelling: bool = False) -> Decision:
    """What a coordinator decides of a lost worker."""
    return decide_lost(task, at, worker="w", cancelling=cancelling, metrics=METRICS, roll=0.5)
