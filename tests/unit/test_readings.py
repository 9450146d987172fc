"""What is read from how a run and its tasks stand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.picture import info_counts, shown_counts
from distflow.core.readings import KnownGraph, RunHead
from distflow.core.run import (
    Refusal,
    RefusalKey,
    RunInfo,
    ServerFacts,
    event_ms,
    event_order,
    live_counts,
)
from distflow.core.run_options import USUAL_OPTIONS
from distflow.core.status import RunStatus, TaskStatus

NO_COUNTS = {
    **dict.fromkeys(("success", "failure", "skipped", "cancelled", "unknown"), 0),
    **dict.fromkeys(("running", "queued", "waiting"), 0),
}

#: A run of ten tasks that began at 1000 s, is led for the first time, and is read 100 s later.
INFO = RunInfo(
    run_id="r",
    version=1,
    workflow="m:flow",
    status=RunStatus.RUNNING,
    params={},
    origin="0123",
    options=USUAL_OPTIONS,
    server=ServerFacts(durability="aof-always"),
    total=10,
    epoch=1_000_250,
    generation=1,
    created_at=990.0,
    started_at=1000.25,
    ended_at=None,
    counts=NO_COUNTS,
    coordinator="c",
    as_of=1100.25,
)
GRAPH = Graph.compile([Task(f"t{number}", "m:f") for number in range(10)])


def head_of(progress: int = 0, **fields: Any) -> RunHead:
    """What is read first of a run."""
    return RunHead(replace(INFO, **fields), [], progress, None)


@pytest.mark.parametrize(
    ("progress", "fields", "fresh"),
    [
        (0, {}, True),
        (0, {"epoch": 1_000_251}, False),
        (0, {"started_at": None}, False),
        (1, {}, False),
        (0, {"counts": {**NO_COUNTS, "skipped": 1}}, False),
    ],
)
def test_a_run_is_fresh_until_something_can_have_happened(
    progress: int, fields: dict[str, Any], fresh: bool
) -> None:
    """Nobody led it before, and it brought nothing along."""
    head = head_of(progress, **fields)
    assert head.is_fresh == fresh
    assert KnownGraph("0123", GRAPH).is_of(head) == fresh


@pytest.mark.parametrize(("origin", "total"), [("4567", 10), ("0123", 11)])
def test_another_run_of_the_same_id_has_another_graph(origin: str, total: int) -> None:
    """Its origin tells, or how many tasks it has."""
    assert not KnownGraph("0123", GRAPH).is_of(head_of(origin=origin, total=total))


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 100.0),
        ({"started_at": None}, None),
        ({"rested_seconds": 30.0}, 70.0),
        ({"rested_seconds": 300.0}, 0.0),
        ({"ended_at": 1050.25}, 50.0),
        ({"status": RunStatus.PAUSED, "rest_at": 1020.25, "ended_at": 1050.25}, 20.0),
        ({"status": RunStatus.PAUSED, "ended_at": 1050.25}, 50.0),
        # It went on since.
        ({"rest_at": 1020.25}, 100.0),
    ],
)
def test_a_run_runs_while_it_is_not_at_rest(fields: dict[str, Any], seconds: float | None) -> None:
    """From its start until now, its end or its rest, without what it rested before."""
    assert replace(INFO, **fields).run_seconds == seconds


def test_what_a_run_knows_of_itself() -> None:
    """Its durability is its server's; pending is what is counted nowhere else, never below 0."""
    assert INFO.durability == "aof-always"
    some = {**NO_COUNTS, "success": 4, "running": 2, "waiting": 1}
    assert replace(INFO, counts=some).pending == 3
    assert info_counts(replace(INFO, counts=some)) == {**some, "pending": 3}
    assert replace(INFO, counts={"success": 11}).pending == 0


def test_displays_have_one_word_for_tasks_at_work() -> None:
    """Claimed or started is running; ready is pending, as long as nobody carries it."""
    statuses = list(TaskStatus)
    numbers = {status: 10**place for place, status in enumerate(statuses)}
    shown = shown_counts(Counter(numbers))
    own = ("success", "failure", "skipped", "cancelled", "unknown", "queued", "waiting")
    assert shown == {
        **{name: numbers[TaskStatus(name)] for name in own},
        "running": numbers[TaskStatus.CLAIMED] + numbers[TaskStatus.STARTED],
        "pending": numbers[TaskStatus.PENDING] + numbers[TaskStatus.READY],
    }


@pytest.mark.parametrize(
    ("told", "led", "left"),
    [
        # running, queued and waiting as they are told, and as they may be of 10 with 4 outcomes
        ((2, 3, 1), True, (2, 3, 1)),
        ((2, 4, 2), True, (2, 2, 2)),
        ((2, 9, 9), True, (2, 0, 4)),
        ((9, 9, 9), True, (9, 0, 0)),
        # What a dead coordinator had queued is nobody's.
        ((2, 3, 1), False, (2, 0, 1)),
    ],
)
def test_what_was_told_earlier_is_no_more_than_what_is_left(
    told: tuple[int, int, int], led: bool, left: tuple[int, int, int]
) -> None:
    """Workers go on when the coordinator that counted has died."""
    outcomes = {"success": 3, "failure": 1}
    running, queued, waiting = told
    counts = live_counts(10, outcomes, running=running, queued=queued, waiting=waiting, led=led)
    assert counts == {**outcomes, **dict(zip(("running", "queued", "waiting"), left, strict=True))}


def test_events_are_sorted_by_number() -> None:
    """Not by text; what one millisecond told has parts."""
    ids = ["5-0", "12-0", "9-5", "12-10", "12-9", "7"]
    assert sorted(ids, key=event_order) == ["5-0", "7", "9-5", "12-0", "12-9", "12-10"]
    assert (event_order("12-10"), event_order("7"), event_ms("12-10")) == ((12, 10), (7, 0), 12)


def test_a_refusal_is_found_by_what_and_by_whom() -> None:
    """One worker says of one scope one thing; born anew it is another worker."""
    refusal = Refusal("task a", "w", "born", "m:f", "no", "", "h", 7, "/srv", ("a",), 5.0)
    assert refusal.key == RefusalKey("task a", "w", "born")
