"""Cancellation and the workflow's timeout, in this process and on stock RQ workers."""

from __future__ import annotations

import threading

import pytest

from distflow import Retry, Workflow
from distflow.events.notice import Notice
from distflow.runs.client import Client
from tests.support.stages import Stage
from tests.support.tasks import behaving
from tests.support.wait import wait_for

SIGNALLED = "cancelled by a signal"


@pytest.fixture
def signal() -> threading.Event:
    """Anything with ``is_set()`` serves."""
    return threading.Event()


def follow(dag: Workflow, name: str) -> None:
    """Add a task that waits for another, and so never runs in these tests."""
    dag.add("after", behaving.echo, depends_on=[name])


def test_cancelled_before_the_start(stage: Stage, signal: threading.Event) -> None:
    """A signal that is set already: nothing runs, and every task is cancelled and told of."""
    dag = Workflow("early")
    dag.add("first", behaving.echo)
    follow(dag, "first")
    signal.set()
    played = stage.play(dag, signal=signal)
    assert played.status == "cancelled"
    assert played.statuses() == {"first": "cancelled", "after": "cancelled"}
    assert played.results["first"].message == SIGNALLED
    assert stage.log.read_text() == ""
    assert played.events("first") == played.events("after") == ["task_end"]


def test_cancelled_during_a_condition(stage: Stage, signal: threading.Event) -> None:
    """A task whose condition is being asked does not start any more, although it holds."""
    dag = Workflow("asking")
    dag.add("asks", behaving.echo, condition=behaving.until_cancelled)
    follow(dag, "asks")
    join = stage.start(dag, signal=signal)
    stage.wait_for_line("?asks")
    signal.set()
    played = join()
    assert played.status == "cancelled"
    assert played.statuses() == {"asks": "cancelled", "after": "cancelled"}
    assert stage.lines("asks") == []
    assert played.results["asks"].message == "the run was cancelled before it started"


def test_cancelled_during_a_backoff(stage: Stage, signal: threading.Event) -> None:
    """A task that waits for its next try is cancelled at once."""
    dag = Workflow("waiting")
    dag.add("waits", behaving.behave, (["raise"],), retry=Retry(1, delay=3600.0))
    follow(dag, "waits")
    retried = threading.Event()
    builder = stage.builder().on("task_retry", lambda _notice: retried.set())
    join = stage.start(dag, signal=signal, builder=builder)
    assert retried.wait(20)
    signal.set()
    played = join()
    assert played.status == "cancelled"
    assert played.statuses() == {"waits": "cancelled", "after": "cancelled"}
    assert len(stage.lines("waits")) == 1
    assert played.events("waits") == ["task_start", "task_retry", "task_end"]


def test_cancelled_while_a_task_heeds_it(stage: Stage, signal: threading.Event) -> None:
    """``ctx.cancelled`` lets a task end by itself: what it did counts, and nothing follows."""
    dag = Workflow("heeding")
    dag.add("heeds", behaving.heed)
    follow(dag, "heeds")
    join = stage.start(dag, signal=signal)
    stage.wait_for_line("heeds", "begun")
    signal.set()
    played = join()
    assert played.status == "cancelled"
    assert played.statuses() == {"heeds": "success", "after": "cancelled"}
    assert played.results["heeds"].data == "stopped where it could"


def test_cancelled_while_a_task_ignores_it(stage: Stage, signal: threading.Event) -> None:
    """A task that goes on after the grace is given up: a thread abandoned, a work horse killed."""
    dag = Workflow("ignoring")
    dag.add("ignores", behaving.ignore, retry=Retry(3))
    dag.add("charges", behaving.ignore, effects="at_most_once")
    follow(dag, "ignores")
    join = stage.start(dag, signal=signal)
    stage.wait_for_line("ignores", "begun")
    stage.wait_for_line("charges", "begun")
    signal.set()
    played = join()
    # Of what may have had effects nobody knows how far it came.
    assert played.status == "blocked"
    statuses = {"ignores": "cancelled", "charges": "unknown", "after": "cancelled"}
    assert played.statuses() == statuses
    assert played.results["ignores"].message == "stopped while it ran"
    stage.open_gate()


def test_workflow_timeout(stage: Stage) -> None:
    """A run that takes too long is cancelled, and says so."""
    dag = Workflow("long")
    dag.add("quick", behaving.echo)
    dag.add("heeds", behaving.heed, depends_on=["quick"])
    follow(dag, "heeds")
    played = stage.play(dag, timeout=1.0)
    assert played.status == "cancelled"
    statuses = {"quick": "success", "heeds": "success", "after": "cancelled"}
    assert played.statuses() == statuses
    assert played.results["after"].message == "timed out after 1 s"


def test_a_failure_does_not_outlive_a_cancellation(stage: Stage, signal: threading.Event) -> None:
    """A task that fails while the run is being cancelled is not tried again."""
    dag = Workflow("failing")
    dag.add("heeds", behaving.heed_and_fail, retry=Retry(3))
    join = stage.start(dag, signal=signal)
    stage.wait_for_line("heeds", "begun")
    signal.set()
    played = join()
    assert played.statuses() == {"heeds": "cancelled"}
    assert stage.lines("heeds") == [["begun"], ["heeded"]]


def test_late_results_are_refused(here: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """What an abandoned thread still brings is refused: its task's next try has the word."""
    dag = Workflow("late")
    dag.add("slow", behaving.ignore_once, timeout=0.3, retry=Retry(1))
    # It holds the run open until the first try has ended.
    dag.add("waits", behaving.wait_for_line, ("slow", "late"), timeout=20.0)
    played = here.play(dag, concurrency=2)
    assert played.statuses() == {"slow": "success", "waits": "success"}
    assert (played.results["slow"].data, played.results["slow"].attempt) == ("second", 2)
    wait_for(
        lambda: "attempt 1: its outcome success came too late" in caplog.text, what="a warning"
    )


def test_an_interrupted_call_leaves_nothing_behind(here: Stage) -> None:
    """Ctrl-C ends ``execute``: what runs cannot be stopped, but nothing more begins."""

    def interrupt(_notice: Notice) -> None:
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    dag = Workflow("interrupted")
    for number in range(100):
        dag.add(f"t{number}", behaving.ignore)
    builder = here.builder().on("task_start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        here.play(dag, builder=builder)
    begun = {thread for thread in threading.enumerate() if thread not in before}
    here.open_gate()
    for thread in begun:
        thread.join(20)
    assert len(here.log.read_text().splitlines()) <= len(begun)


def test_cancelled_by_command(on_redis: Stage) -> None:
    """On Redis anybody may cancel: whoever leads the run stops it, with who it was."""
    dag = Workflow("commanded")
    dag.add("heeds", behaving.heed)
    follow(dag, "heeds")
    assert on_redis.redis is not None
    run = Client(on_redis.redis).submit(dag, {"log": str(on_redis.log)})
    on_redis.wait_for_line("heeds", "begun")
    run.cancel("by anna")
    assert run.wait(20) == "cancelled"
    assert run.results()["after"].message == "by anna"


def test_resumed_after_a_cancellation(on_redis: Stage) -> None:
    """What was cancelled is evaluated again, with a new budget of tries; its condition is asked
    again, once per generation.
    """
    dag = Workflow("resumed")
    steps = ["raise", "raise", "raise", "ok"]
    condition = behaving.always
    dag.add("tried", behaving.behave, (steps,), retry=Retry(1), condition=condition)
    dag.add("after", behaving.echo, ("ran",), depends_on=["tried"])
    assert on_redis.redis is not None
    run = Client(on_redis.redis).submit(dag, {"log": str(on_redis.log)})
    assert run.wait(20) == "failure"
    assert len(on_redis.lines("tried")) == 2
    wait_for(lambda: run.info().coordinator is None, what="the lease to be given up")
    run.resume()
    assert run.wait(20) == "success"
    assert run.results()["tried"].attempt == len(on_redis.lines("tried")) == 4
    assert len(on_redis.lines("?tried")) == 2
