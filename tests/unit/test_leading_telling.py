"""What a coordinator tells of tasks, and when, step by step."""

from __future__ import annotations

from distflow.core.claim import Code
from distflow.core.model import TaskResult
from distflow.core.status import RunStatus
from tests.support.leading import Leading, played
from tests.support.stores import (
    again,
    final,
    outcome,
    resolve,
)
from tests.unit.conftest import Lead


def test_a_task_that_was_claimed_in_a_group_is_told_as_begun(lead: Lead) -> None:
    """No event tells of such a claim: its end does, or the beat of its batch, if that is sooner."""
    led = lead(played("a"))
    worker = led.worker()
    (batch,) = led.transport.queued.values()
    led.transport.queued.clear()
    worker.begin(batch)
    worker.claim("a", quiet=True)
    led.step()
    assert [notice for notice in led.told if notice.kind == "task_start"] == []
    led.go_on(2.0)
    assert [notice.task for notice in led.told if notice.kind == "task_start"] == ["a"]
    assert list(led.running) == ["a"]
    worker.finish("a")
    led.step()
    assert [notice.kind for notice in led.told if notice.task == "a"] == ["task_start", "task_end"]


def test_a_task_that_ended_before_anybody_looked_is_told_as_begun(lead: Lead) -> None:
    """Its claim was told by nobody, and it was too short for a beat: both are told at its end."""
    led = lead(played("a"))
    (batch,) = led.transport.queued.values()
    worker = led.worker()
    worker.begin(batch)
    worker.claim("a", quiet=True)
    worker.finish("a")
    assert led.step() == RunStatus.SUCCESS
    assert [notice.kind for notice in led.told if notice.task == "a"] == ["task_start", "task_end"]


def test_a_late_outcome_is_no_second_begin(lead: Lead) -> None:
    """The worker of an unknown task tells how it really ended."""
    led = lead(played("a", "at_most_once"), played("b"))
    led.at_work("b", "other")
    worker = led.at_work("a")
    worker.die()
    led.go_on(6.0)
    assert worker.finish("a") == Code.RECORDED
    led.go_on(1.0)
    kinds = [notice.kind for notice in led.told if notice.task == "a"]
    assert kinds == ["task_start", "task_unknown", "task_end"]


def starts(led: Leading) -> list[str]:
    """The tasks of which was told that they started."""
    return [notice.task for notice in led.told if notice.kind == "task_start"]


def test_a_start_is_told_when_the_function_is_called(lead: Lead) -> None:
    """Of a task with a condition, or that runs at most once, not when it is claimed; of one that
    its condition left out, never.
    """
    led = lead(played("a", condition="m:c"), played("b", "at_most_once"))
    workers = {name: led.take(led.worker(name), name, start=False) for name in "ab"}
    led.step()
    assert starts(led) == []
    workers["b"].start("b")
    led.step()
    assert starts(led) == ["b"]
    workers["a"].tell(final("a", workers["a"].held["a"][0], "skipped")._replace(duration=0.0))
    workers["b"].finish("b")
    led.step()
    assert starts(led) == ["b"]


def test_a_start_that_nobody_told_of_is_told_at_the_end(lead: Lead) -> None:
    """Of a short task that is claimed quietly, and by a worker of 0.1; also where it is tried
    again, each time once.
    """
    led = lead(played("a", condition="m:c"))
    worker = led.take(led.worker(), "a")
    worker.tell(again("a", worker.held["a"][0])._replace(duration=0.25))
    led.step(1.0)
    assert starts(led) == ["a"]
    led.take(led.worker("w2"), "a").finish("a")
    led.step()
    assert starts(led) == ["a", "a"]


def test_who_takes_over_tells_of_no_start_twice(lead: Lead) -> None:
    """What had started was told of by its predecessor; what had not, it tells of."""
    led = lead(played("a", "at_most_once"), played("b"))
    worker = led.take(led.worker("w1"), "a", start=False)
    other = led.take(led.worker("w2"), "b")
    led.step()
    led.take_over()
    told = len(led.told)
    worker.start("a")
    other.finish("b")
    worker.finish("a")
    led.step()
    kinds = [(notice.kind, notice.task) for notice in led.told[told:] if notice.task]
    assert kinds == [("task_start", "a"), ("task_end", "b"), ("task_end", "a")]


def test_what_a_decision_says_is_told(lead: Lead) -> None:
    """By whom, and with which words."""
    led = lead(played("a", "at_most_once"), played("b"))
    led.at_work("b", "other")
    led.at_work("a").die()
    led.go_on(6.0)
    resolve(led.store, "p", "a", "done", outcome("success"), "anna", "seen on the statement")
    led.step()
    assert led.said("task_resolved") == ["by anna: seen on the statement"]
    assert isinstance(led.result("a"), TaskResult)
