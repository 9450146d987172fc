"""What the answers of a verify hook mean."""

from __future__ import annotations

from typing import Any

import pytest

from distflow import NotDone
from distflow.core.model import MAX_LOST, Metrics, TaskResult
from distflow.core.status import TaskStatus
from distflow.core.verdict import Verdict, decide_answer

UNKNOWN = TaskResult(
    TaskStatus.UNKNOWN,
    message="its worker was lost",
    error="WorkerLost: w1",
    metrics=Metrics(1.0, 3.0, 2.0),
    attempt=3,
    worker="w1",
    started=True,
)


def decide(answer: Any, lost: int = 0) -> Verdict:
    """The verdict on an answer about attempt 3."""
    return decide_answer(UNKNOWN, lost, answer, who="verify on w2")


def test_it_was_done() -> None:
    """Its data, and when and where the attempt ran; it may not say that it could start again."""
    verdict = decide(TaskResult(TaskStatus.SUCCESS, data={"id": 7}, attempt=99, started=True))
    assert (verdict.decision, verdict.note) == ("done", "it was done")
    assert verdict.result == TaskResult(
        TaskStatus.SUCCESS,
        message="verify on w2: it was done",
        data={"id": 7},
        metrics=UNKNOWN.metrics,
        attempt=3,
        worker="w1",
    )


@pytest.mark.parametrize(
    ("said", "note", "error"),
    [
        ({"message": "refused"}, "refused", "refused"),
        ({"error": "CardError: no"}, "CardError: no", "CardError: no"),
        ({"message": "refused", "error": "CardError: no"}, "refused", "CardError: no"),
        ({}, "it failed for good", "it failed for good"),
    ],
)
def test_it_failed_for_good(said: dict[str, str], note: str, error: str) -> None:
    """A failure that no resume starts again, in the hook's own words."""
    verdict = decide(TaskResult(TaskStatus.FAILURE, **said))  # type: ignore[arg-type]
    assert (verdict.decision, verdict.note) == ("fail", note)
    assert verdict.result is not None
    assert (verdict.result.error, verdict.result.started) == (error, True)
    assert verdict.result.message == f"verify on w2: {note}"


@pytest.mark.parametrize("lost", [0, MAX_LOST - 1])
def test_it_was_not_done(lost: int) -> None:
    """The class, an instance, with and without words: it runs again."""
    assert decide(NotDone, lost) == Verdict("retry", "it was not done")
    assert decide(NotDone("no such job"), lost) == Verdict("retry", "it was not done: no such job")


def test_not_done_must_end() -> None:
    """A charge that has cost three workers is left to a person."""
    verdict = decide(NotDone("no such job"), MAX_LOST)
    assert (verdict.decision, verdict.result) == ("undecided", None)
    assert "no such job" in verdict.note
    assert "after 3 such rounds" in verdict.note
    assert decide(NotDone, MAX_LOST).decision == "undecided"


def test_one_that_was_not_done_gives_no_reason_where_none_was_given() -> None:
    """Nor an empty pair of parentheses."""
    for answer in (NotDone, NotDone("")):
        assert decide(answer).note == "it was not done"
        note = decide(answer, lost=MAX_LOST).note
        assert note == f"it was not done; after {MAX_LOST} such rounds it is not run again"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "it cannot tell"),
        (True, "it returned a bool"),
        ("done", "it returned a str"),
        (ValueError, "it returned a type"),
        (TaskResult(TaskStatus.UNKNOWN), "it returned a TaskResult that is unknown"),
        (TaskResult(TaskStatus.SKIPPED), "it returned a TaskResult that is skipped"),
    ],
)
def test_anything_else_decides_nothing(answer: Any, said: str) -> None:
    """Cannot tell, and what cannot be understood: a person decides, and reads why."""
    verdict = decide(answer)
    assert (verdict.decision, verdict.result) == ("undecided", None)
    assert verdict.note.startswith(said)
