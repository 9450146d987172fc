"""The soak, for some seconds; `make chaos` takes minutes. And its verdict, which can be bad."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from distflow import TaskResult, TaskStatus
from tests.chaos.soak.__main__ import soak
from tests.chaos.soak.faults import schedule
from tests.chaos.soak.flows import random_flow
from tests.chaos.soak.person import Deed
from tests.chaos.soak.planned import Planned
from tests.chaos.soak.verdict import Case, judge_task

SUCCESS = TaskStatus.SUCCESS


@pytest.mark.timeout(180)
def test_a_short_soak(tmp_path: Path) -> None:
    """Promises 1 to 4: random workflows come to their end while workers, coordinators and Redis
    are killed, frozen and restarted; nothing is lost, and nothing is done twice.
    """
    verdict = soak(5, 3.0, tmp_path, open_runs=1)
    assert verdict.broken == []
    assert verdict.counts["runs"] > 0
    assert verdict.counts["calls"] >= verdict.counts["runs"]


def test_a_seed_repeats_its_soak() -> None:
    """The same seed makes the same faults and workflows, another one others."""

    def drawn(seed: int) -> list[object]:
        tasks = [[*random_flow(seed, number, "log").workflow.compile().tasks] for number in (1, 2)]
        return [*itertools.islice(schedule(seed), 20), *tasks]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def deeds(*words: str, attempt: int = 1) -> list[Deed]:
    """What the witness saw of one attempt."""
    return [Deed(word, attempt, 1, "7:7") for word in words]


CALL = deeds("start", "end")
CHARGE = deeds("start", "effect", "end")


@pytest.mark.parametrize(
    ("kind", "attempt", "seen", "lost", "retried", "broken"),
    [
        ("normal", 1, CALL, 0, 0, []),
        ("normal", 1, [], 0, 0, ["loss", "count"]),
        ("normal", 1, CALL + CALL, 0, 0, ["double", "double"]),
        ("normal", 1, CALL + deeds("start", attempt=2), 0, 0, ["double"]),
        ("normal", 2, deeds("start", "end", attempt=2), 1, 0, []),
        ("normal", 2, deeds("start", "end", attempt=2), 0, 0, ["count"]),
        ("idempotent", 1, deeds("start") + CALL, 1, 0, []),
        ("idempotent", 1, CALL + CALL, 0, 0, ["double"]),
        ("charge", 1, CHARGE, 0, 0, []),
        ("charge", 1, CALL, 0, 0, ["loss"]),
        ("charge", 2, deeds("start") + deeds("start", "effect", "end", attempt=2), 1, 1, []),
        (
            "charge",
            2,
            deeds("start") + deeds("start", "effect", "end", attempt=2),
            1,
            0,
            ["double"],
        ),
        ("charge", 2, CHARGE + deeds("start", "effect", "end", attempt=2), 1, 1, ["double"]),
    ],
)
def test_the_verdict_notices(
    kind: str, attempt: int, seen: list[Deed], lost: int, retried: int, broken: list[str]
) -> None:
    """Of a task that is a success: calls that are missing, and those that are too many."""
    result = TaskResult(SUCCESS, attempt=attempt)
    case = Case(Planned(kind, SUCCESS), result, seen, lost, retried)
    assert [what for what, _why in judge_task(case)] == broken


@pytest.mark.parametrize(("error", "broken"), [("WorkerLost: w", []), ("ValueError", ["loss"])])
def test_the_verdict_knows_a_failure_by_a_lost_worker(error: str, broken: list[str]) -> None:
    """A task that was to fail may do so by losing its worker; of itself, it must have raised."""
    failed = TaskResult(TaskStatus.FAILURE, error=error, attempt=1)
    case = Case(Planned("doomed", TaskStatus.FAILURE), failed, deeds("start"), 1, 0)
    assert [kind for kind, _why in judge_task(case)] == broken


def test_the_verdict_notices_another_status() -> None:
    """A failure where there should be a success; and a call of what was to be skipped."""
    failed = Case(Planned("normal", SUCCESS), TaskResult(TaskStatus.FAILURE), CALL, 0, 0)
    assert [kind for kind, _why in judge_task(failed)] == ["loss"]
    skipped = TaskStatus.SKIPPED
    called = Case(Planned("never", skipped), TaskResult(skipped), CALL, 0, 0)
    assert [kind for kind, _why in judge_task(called)] == ["double"]
