"""What the store is told of a decision, and what a lost or late worker's task is said to be."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Finish, Growth, Progress
from distflow.core.model import Grow, Loop, Retry, TaskResult, class_names
from distflow.core.outcome import (
    Attempt,
    Outcome,
    decide,
    decide_lost,
    timed_out,
    to_finish,
    too_large,
)
from tests.support.judging import METRICS, RAISED, S, attempt, lose, task_of


def told(task: Any, at: Attempt, outcome: Outcome, **given: Any) -> tuple[TaskResult, Finish]:
    """What a worker decides, and tells."""
    values = {"metrics": METRICS, "worker": "w", "roll": 0.5, "host": "h", **given}
    decision = decide(task, at, outcome, **values)
    return decision.result, to_finish(decision, task, "token", b"packed")


def test_a_wait_is_told_with_its_delay_and_what_failed() -> None:
    """In milliseconds, rounded up; with who had it, for how long, and the try that follows."""
    task = task_of("at_most_once", retry=Retry(2, delay=1.2341))
    result, finish = told(
        task, attempt(3, iteration=2, base=2, lost=1), RAISED._replace(not_done=True)
    )
    assert finish == Finish(
        task="t",
        token="token",
        attempt=3,
        kind="wait",
        status="failure",
        packed=b"packed",
        worker="w",
        duration=2.5,
        delay_ms=1235,
        progress=Progress(4, 2, 2, 1),
        keep=True,
        note="ValueError: no",
    )
    assert result == TaskResult(
        S.FAILURE,
        message="no",
        error="ValueError: no",
        metrics=METRICS,
        attempt=3,
        worker="w",
        traceback="Traceback …",
        host="h",
    )


def test_what_is_not_known_is_told_as_nothing() -> None:
    """A task whose function was never called, in a process that registers nowhere."""
    outcome = Outcome(S.SKIPPED, message="its condition was false")
    result, finish = told(task_of(), attempt(), outcome, metrics=None, worker="", host="")
    assert finish == Finish(
        "t", "token", 1, "final", "skipped", b"packed", progress=Progress(2), keep=False
    )
    assert result == TaskResult(S.SKIPPED, message="its condition was false", attempt=1)


@pytest.mark.parametrize(
    ("outcome", "note"),
    [
        (Outcome(S.FAILURE, message="no", error="E: no"), "E: no"),
        (Outcome(S.FAILURE, message="no"), "no"),
        (Outcome(S.FAILURE), ""),
    ],
)
def test_who_watches_is_told_what_failed(outcome: Outcome, note: str) -> None:
    """The error, else the message."""
    assert told(task_of(retry=Retry(1)), attempt(), outcome)[1].note == note


def test_an_iteration_is_told_whole() -> None:
    """What the function returned goes to the history with the rest."""
    outcome = Outcome(S.SUCCESS, data=[1], message="nearly", met=False)
    result, finish = told(task_of(loop=Loop("m:u", 3, 1.5)), attempt(2), outcome)
    assert (finish.kind, finish.delay_ms, finish.progress) == ("wait", 1500, Progress(2, 2, 1))
    assert result == TaskResult(
        S.SUCCESS, message="nearly", data=[1], metrics=METRICS, attempt=2, worker="w", host="h"
    )


def test_a_timeout_is_a_timeout_error() -> None:
    """For Retry's classes as well as for people."""
    words = "TaskTimeout: ran longer than 2.5 s"
    assert timed_out(2.5) == Outcome(
        S.FAILURE,
        message=words,
        error=words,
        timed_out=True,
        raised=class_names(TimeoutError),
    )


@pytest.mark.parametrize(
    ("given", "message", "error"),
    [
        ({}, "its worker was lost", "WorkerLost: worker w was lost"),
        ({"worker": ""}, "its worker was lost", "WorkerLost: worker ? was lost"),
        ({"cause": "out of memory"}, "out of memory", "WorkerLost: out of memory"),
    ],
)
def test_a_loss_is_told_as_far_as_it_is_known(
    given: dict[str, Any], message: str, error: str
) -> None:
    """Who had the task, or what it died of; its number and its times stay."""
    values = {"worker": "w", "cancelling": False, "metrics": METRICS, "roll": 0.5, **given}
    result = decide_lost(task_of(), attempt(3), **values).result
    assert (result.status, result.message, result.error) == (S.FAILURE, message, error)
    assert (result.attempt, result.metrics, result.worker) == (3, METRICS, values["worker"] or None)
    again = decide_lost(task_of("idempotent"), attempt(3), **values)
    assert (again.kind, again.result) == ("wait", result)
    once = decide_lost(task_of("at_most_once"), attempt(3), **values)
    unknown = f"{message}: it had started, and nobody knows how it ended"
    assert (once.result.message, once.result.error) == (unknown, error)
    assert (once.result.metrics, once.result.worker) == (METRICS, result.worker)
    assert once.progress == Progress(4)


def test_a_task_that_is_lost_while_cancelling_says_so() -> None:
    """It has no error: nobody wanted it to go on."""
    decision = lose(task_of(), attempt(3, lost=2), cancelling=True)
    assert decision.result == TaskResult(
        S.CANCELLED, message="stopped while it ran", metrics=METRICS, attempt=3, worker="w"
    )
    assert decision.progress == Progress(4, lost=2)


def test_a_task_that_was_overdue_has_died_of_its_timeout() -> None:
    """Whoever ended it; one without a timeout is never overdue."""
    values: dict[str, Any] = {"worker": "w", "metrics": METRICS, "roll": 0.5, "overdue": True}
    found = [
        decide_lost(task, attempt(), cancelling=False, **values).result
        for task in (task_of(timeout=2.5), task_of(), task_of("at_most_once", timeout=2.5))
    ]
    assert [result.status for result in found] == [S.FAILURE, S.FAILURE, S.UNKNOWN]
    words = "TaskTimeout: ran longer than 2.5 s"
    assert [result.error for result in found] == [words, "WorkerLost: worker w was lost", words]
    assert (found[0].metrics, found[0].worker, found[0].attempt) == (METRICS, "w", 1)


def test_the_finish_of_a_growing_node_has_what_it_made() -> None:
    """If it has succeeded; in any case it says that its chunks are to go, or to stay."""
    task = task_of()._replace(grow=Grow("plan"))
    _, finish = told(task, attempt(), Outcome(S.SUCCESS))
    assert (finish.grows, finish.growth) == (True, None)
    decision = decide(task, attempt(), Outcome(S.SUCCESS), metrics=METRICS, worker="w", roll=0.5)
    growth = Growth(1, 2, ("q",))
    assert to_finish(decision, task, "token", b"", growth).growth == growth
    assert not told(task_of(), attempt(), Outcome(S.SUCCESS))[1].grows


@pytest.mark.parametrize("tolerated", [False, True])
@pytest.mark.parametrize("verify", [None, "m:v"])
def test_a_finish_says_what_a_failure_means(tolerated: bool, verify: str | None) -> None:
    """The store keeps no such facts about the children of a node."""
    task = task_of("at_most_once", continue_on_error=tolerated, verify=verify)
    _, finish = told(task, attempt(), RAISED)
    assert (finish.tolerated, finish.hooked) == (tolerated, verify is not None)


def test_a_node_that_has_no_room_fails_for_good() -> None:
    """Another try would make as many tasks."""
    task = task_of(retry=Retry(3))._replace(grow=Grow("plan"))
    result, finish = told(task, attempt(), too_large(1))
    assert finish.kind == "final"
    assert result.message == (
        "TooLarge: its 1 task would make the run larger than its max_tasks or max_graph_bytes: "
        "give each task more to do, or submit with a higher --max-tasks"
    )
