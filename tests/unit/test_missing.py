"""What Redis has lost of a run: found by what its coordinator knew, named, and never made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from distflow.coordinator.missing import Known, find_missing, name_missing
from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.readings import RunReading, ServerInfo
from distflow.core.run import Claim, Event, RunSpec
from distflow.core.status import RunStatus, TaskStatus
from distflow.store.memory.store import MemoryRunStore
from tests.support.leading import Leading, played
from tests.unit.conftest import Lead

GRAPH = Graph.compile([Task("a", "m:f"), Task("b", "m:f")])

HELD = Claim(1, 1, "token", "batch", 5, 0, 0, 0)
STARTED = HELD._replace(started=6)
OTHER = HELD._replace(token="other")


def known(
    status: TaskStatus,
    *,
    claims: Mapping[str, Claim] | None = None,
    run: RunStatus = RunStatus.RUNNING,
) -> Known:
    """Of task ``a`` its status, of ``b`` that it is done; event 7-0 was the last."""
    return Known([status, TaskStatus.SUCCESS], claims or {}, run, "7-0")


def found(
    status: TaskStatus | None = None,
    *,
    last: TaskStatus | None = TaskStatus.SUCCESS,
    event: str = "7-0",
    **parts: Any,
) -> RunReading:
    """What is there of ``a``, and by default that ``b`` is done."""
    store = MemoryRunStore("r")
    store.create_run(RunSpec("r", "m:flow", {}, "origin"), "creation", GRAPH.tasks)
    return RunReading(
        event, store.read_info(), [status, last], parts.get("claims", {}), parts.get("progress", {})
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (known(TaskStatus.SUCCESS), found(TaskStatus.SUCCESS)),
        (known(TaskStatus.UNKNOWN), found(TaskStatus.SUCCESS)),
        (known(TaskStatus.CLAIMED), found(TaskStatus.SUCCESS, event="9-0")),
        (known(TaskStatus.CLAIMED), found(claims={"a": HELD})),
        (known(TaskStatus.CLAIMED), found(progress={"a": Progress(2)})),
        (known(TaskStatus.STARTED, claims={"a": STARTED}), found(claims={"a": STARTED})),
        # It was given back, and another has it: its start is its own.
        (known(TaskStatus.STARTED, claims={"a": STARTED}), found(claims={"a": OTHER})),
        (known(TaskStatus.WAITING), found(progress={"a": Progress(2)})),
        # Nothing was recorded of it: a batch on its way is no more than a plan.
        (known(TaskStatus.QUEUED), found()),
        (known(TaskStatus.READY), found()),
    ],
)
def test_what_is_there_or_went_on_is_not_missing(before: Known, after: RunReading) -> None:
    """A restart that lost nothing."""
    assert find_missing(GRAPH, before, after, (), restarted=True) == []


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [
        (known(TaskStatus.SUCCESS), found(), ["a: success"]),
        (known(TaskStatus.SUCCESS), found(last=None), ["a: success", "b: success"]),
        (known(TaskStatus.SKIPPED), found(claims={"a": HELD}), ["a: skipped"]),
        (known(TaskStatus.UNKNOWN), found(), ["a: unknown"]),
        (known(TaskStatus.CLAIMED), found(), ["a: claim"]),
        (known(TaskStatus.STARTED, claims={"a": STARTED}), found(claims={"a": HELD}), ["a: start"]),
        (known(TaskStatus.WAITING), found(), ["a: retry"]),
        # The claim that came before it is back.
        (known(TaskStatus.WAITING), found(claims={"a": HELD}), ["a: retry"]),
        (
            known(TaskStatus.READY, run=RunStatus.CANCELLING),
            found(),
            ["the run's status cancelling"],
        ),
        (known(TaskStatus.READY), found(event="6-9"), ["events up to 7-0"]),
    ],
)
def test_what_is_gone_is_named(before: Known, after: RunReading, missing: list[str]) -> None:
    """Redis came back with older data."""
    assert find_missing(GRAPH, before, after, (), restarted=True) == missing


@pytest.mark.parametrize(
    ("before", "event"),
    [
        (known(TaskStatus.UNKNOWN), Event("8-0", "resolved", "a", "ready")),
        (known(TaskStatus.CLAIMED), Event("8-0", "released", "a")),
        (known(TaskStatus.READY, run=RunStatus.PAUSED), Event("8-0", "moved", status="running")),
    ],
)
def test_what_an_event_tells_of_is_not_missing(before: Known, event: Event) -> None:
    """It happened after the last event that was applied."""
    after = found(event="8-0")
    assert find_missing(GRAPH, before, after, (event,), restarted=True) == []
    assert find_missing(GRAPH, before, after, (), restarted=True) != []


def test_under_the_same_process_only_outcomes_are_missed() -> None:
    """Somebody may have deleted the events that tell what became of the rest."""
    for status in (TaskStatus.CLAIMED, TaskStatus.WAITING, TaskStatus.UNKNOWN):
        before = known(status, run=RunStatus.PAUSED)
        assert find_missing(GRAPH, before, found(event="0-0"), (), restarted=False) == []
    assert find_missing(GRAPH, known(TaskStatus.FAILURE), found(), (), restarted=False) == [
        "a: failure"
    ]


def test_many_are_counted() -> None:
    """A million tasks do not fill the log."""
    assert name_missing([f"t{number}: claim" for number in range(13)]).endswith(
        "t9: claim and 3 more"
    )


# As a coordinator tells it


def restart(leading: Leading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of Redis answers from now on."""
    server = ServerInfo(leading.clock.unix(), "another")
    monkeypatch.setattr(leading.store, "read_server", lambda: server)


def repairs(leading: Leading) -> list[str]:
    """The repairs that were told; the counters know of the same, and of no others."""
    said = leading.said("repair")
    assert sum(leading.info.repairs.values()) == len(said)
    return said


def test_a_restart_is_told_once(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is missing: it is no loss."""
    leading = lead(played("a"), played("b"))
    leading.at_work("a")
    restart(leading, monkeypatch)
    assert leading.go_on(5.0) is None
    assert leading.info.repairs == {"redis_restarted": 1}
    assert repairs(leading) == [
        "Redis restarted: no recorded data is missing; the run is read again"
    ]


def test_a_start_that_is_forgotten_is_named(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark without which a charge could begin a second time; what was read of the claims after
    the restart proves nothing.
    """
    leading = lead(played("charge", "at_most_once"))
    leading.at_work("charge")
    # The claims are looked at more often than the server.
    monkeypatch.setattr(leading.executor._tools.server, "_watch_seconds", 3.0)
    run = leading.server.runs["run-1"]
    run.claims["charge"] = run.claims["charge"]._replace(started=0)
    restart(leading, monkeypatch)
    assert leading.go_on(5.0) is None
    assert leading.info.repairs == {"data_lost": 1}
    assert repairs(leading) == [
        "Redis restarted; Redis has lost charge: start; the run is read again"
    ]


def test_outcomes_that_are_gone_run_again(lead: Lead) -> None:
    """Under the same process of Redis too."""
    leading = lead(played("a"), played("b"))
    leading.at_work("b", "other")
    leading.at_work("a").finish("a")
    leading.step()
    leading.server.runs["run-1"].results.clear()
    assert leading.go_on(15.0) is None
    assert leading.info.repairs == {"data_lost": 1}
    assert repairs(leading) == [
        "events were lost; Redis has lost a: success; the run is read again"
    ]
    assert leading.sent_with("a") == 2
