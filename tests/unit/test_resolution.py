"""What a person may decide of a task, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Progress
from distflow.core.model import Ref, Task, TaskResult
from distflow.core.resolution import (
    begun_already,
    decided_result,
    has_begun,
    is_dead_end,
    is_decidable,
    is_decided,
    leader_rule,
    retry_progress,
    said_tries,
    satisfies,
    takes_result,
)
from distflow.core.run import Claim, TaskCut
from distflow.core.status import TaskStatus

S = TaskStatus
CLAIM = Claim(1, 1, "token", "batch", 5, 0, 0, 0)
LAST = Progress(4, iteration=2, base=1, lost=2, not_before=99, token="old", started=True)


@pytest.mark.parametrize(
    ("before", "rule"),
    [
        (None, "stays"),
        (S.UNKNOWN, "stays"),
        (S.SUCCESS, "stays"),
        (S.FAILURE, "looks_again"),
        (S.SKIPPED, "looks_again"),
        (S.CANCELLED, "looks_again"),
    ],
)
def test_who_leads_reads_anew_what_it_may_have_worked_out(before: Any, rule: str) -> None:
    """What takes a dependency away is decided where nobody leads."""
    assert leader_rule(before, takes_away=False) == rule
    assert leader_rule(before, takes_away=True) == "absent"


def test_a_person_gives_a_new_budget_and_a_hook_does_not() -> None:
    """A task that kills its workers must end; its loop and its wait begin anew."""
    assert retry_progress(LAST, "op", by_hook=False) == Progress(4, base=3, lost=0, token="op")
    assert retry_progress(LAST, "op", by_hook=True) == Progress(4, base=1, lost=3, token="op")


def test_what_a_person_has_decided_is_an_outcome() -> None:
    """Done has data; a failure never starts again by itself; both say who and why."""
    assert decided_result("done", 3, [1], who="eva", note="") == TaskResult(
        S.SUCCESS, message="resolved by eva", data=[1], attempt=3
    )
    assert decided_result("fail", 3, [1], who="eva", note="no receipt") == TaskResult(
        S.FAILURE,
        message="resolved by eva: no receipt",
        error="resolved as failed",
        attempt=3,
        started=True,
    )


RESOLVED = decided_result("done", 1, None, who="eva", note="")


@pytest.mark.parametrize(
    ("result", "decided", "dead", "decidable"),
    [
        (RESOLVED, True, False, True),
        (decided_result("fail", 1, None, who="eva", note=""), True, True, True),
        (TaskResult(S.UNKNOWN, started=True, worker="w"), False, False, True),
        (TaskResult(S.FAILURE, started=True, worker="w"), False, True, True),
        (TaskResult(S.SKIPPED, started=True, worker="w"), False, True, True),
        (TaskResult(S.FAILURE, worker="w"), False, False, False),
        (TaskResult(S.SUCCESS, started=True, worker="w"), False, False, False),
        (TaskResult(S.SUCCESS), False, False, False),
        # A function may say the same words.
        (TaskResult(S.SUCCESS, message="resolved by eva", worker="w"), False, False, False),
        (TaskResult(S.SKIPPED, message="not resolved by eva"), False, False, False),
    ],
)
def test_what_may_be_decided(
    result: TaskResult, decided: bool, dead: bool, decidable: bool
) -> None:
    """What nobody knows, what nothing else can change, and what a person has said before."""
    assert is_decided(result) == decided
    assert is_dead_end(result) == dead
    assert is_decidable(result) == decidable


@pytest.mark.parametrize(
    ("status", "strict", "tolerant"),
    [
        (S.SUCCESS, True, True),
        (S.FAILURE, False, True),
        (S.SKIPPED, False, False),
        (S.CANCELLED, False, False),
        (S.UNKNOWN, False, False),
    ],
)
def test_which_outcomes_satisfy(status: TaskStatus, strict: bool, tolerant: bool) -> None:
    """Only a failure may be tolerated."""
    tasks = (Task("a", "m:f"), Task("a", "m:f", continue_on_error=True))
    assert [satisfies(task, status) for task in tasks] == [strict, tolerant]


@pytest.mark.parametrize(
    ("cut", "result", "begun"),
    [
        (TaskCut(None, None, None), None, False),
        (TaskCut(None, CLAIM, None), None, True),
        (TaskCut(None, None, Progress()), None, False),
        # A person's retry before anything was tried.
        (TaskCut(None, None, Progress(token="op", not_before=5)), None, False),
        (TaskCut(None, None, Progress(2)), None, True),
        (TaskCut(None, None, Progress(iteration=2)), None, True),
        (TaskCut(None, None, Progress(lost=1)), None, True),
        (TaskCut(b"", None, None), TaskResult(S.SKIPPED), False),
        (TaskCut(b"", None, None), TaskResult(S.CANCELLED), False),
        (TaskCut(b"", None, None), TaskResult(S.SKIPPED, worker="w"), True),
        (TaskCut(b"", None, None), TaskResult(S.FAILURE), True),
        (TaskCut(b"", None, Progress(2)), TaskResult(S.SKIPPED), True),
        (TaskCut(b"", CLAIM, None), TaskResult(S.SKIPPED), True),
    ],
)
def test_what_has_begun(cut: TaskCut, result: TaskResult | None, begun: bool) -> None:
    """A claim, a worker's outcome, or a try that ended: what a coordinator has skipped has not."""
    assert has_begun(cut, result) == begun


def test_tries_are_compared_as_one_text() -> None:
    """It changes with each try that ended, by attempt, iteration or lost worker."""
    assert said_tries(LAST) == "4:2:2"
    assert said_tries(None) == said_tries(Progress()) == "1:1:0"


@pytest.mark.parametrize(
    ("args", "kwargs", "takes"),
    [
        ((), {}, False),
        ((Ref("pay"),), {}, True),
        ((Ref("other"), "pay", 1), {"pay": "pay"}, False),
        ((Ref("pay"), Ref("other"), {"a": 1}, [2]), {"b": [3]}, True),
        (({"a": {"b": [Ref("pay")]}, "c": ["d"]}, 1), {}, True),
        (([1, (2, {3}, frozenset((4, Ref("pay"))))], [5], {"a": 6}), {}, True),
        ((), {"a": {Ref("pay")}}, True),
        ((Ref("pay"),), {"a": {"b": 1}, "c": [1]}, True),
    ],
)
def test_which_tasks_are_given_the_result(args: Any, kwargs: Any, takes: bool) -> None:
    """At any depth, whatever stands beside it."""
    assert takes_result(Task("ship", "m:f", args=args, kwargs=kwargs), "pay") == takes


def test_a_correction_that_comes_too_late_names_both_tasks() -> None:
    """And says until when it could have come."""
    assert str(begun_already("pay", "ship")) == (
        "task 'pay' was decided, and 'ship', which depends on it, has begun since: a decision can "
        "be corrected until then"
    )
