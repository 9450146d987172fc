"""Dry runs, events, plugins and loggers, in this process and on stock RQ workers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from distflow import Retry, TaskResult, TaskStatus, Workflow
from distflow.errors import InvalidInput
from distflow.events.notice import Notice
from distflow.events.plugins import PluginContext
from distflow.events.vocabulary import EVENTS
from tests.support.stages import Stage
from tests.support.tasks import behaving


def chain() -> Workflow:
    """One task after another, so that the order of events is certain."""
    dag = Workflow("chain")
    dag.add("flaky", behaving.behave, (["raise", "ok"],), retry=Retry(1))
    dag.add("charge", behaving.behave, (["ok"],), effects="at_most_once", depends_on=["flaky"])
    dag.add("never", behaving.echo, condition=behaving.never, depends_on=["charge"])
    dag.add("after", behaving.echo, depends_on=["never"])
    return dag


def written(stage: Stage) -> list[Any]:
    """The keys of runs, and of jobs of RQ."""
    patterns = ("distflow:runs", "distflow:{*", "rq:job:*")
    return sorted(
        key for each in patterns for key in (stage.redis.keys(each) if stage.redis else ())
    )


def test_a_dry_run_runs_nothing(stage: Stage) -> None:
    """A dry run goes through the graph in order, calls and writes nothing, and says so."""
    dag = Workflow("dry")
    dag.add("second", behaving.echo, depends_on=["first"])
    dag.add("first", behaving.behave, (["raise"],))
    before = written(stage)
    played = stage.play(dag, dry_run=True, known={"first": TaskResult(TaskStatus.FAILURE)})
    assert list(played.results) == ["first", "second"]
    assert played.statuses() == {"first": "success", "second": "success"}
    assert {result.message for result in played.results.values()} == {"simulated: a dry run"}
    assert played.snapshot["first"].status == "failure"
    assert stage.log.read_text() == ""
    assert written(stage) == before


def test_a_dry_run_asks_conditions_and_tells_what_would_be(stage: Stage) -> None:
    """What would be skipped is; events come as they would, and are marked."""
    played = stage.play(chain(), dry_run=True)
    assert played.statuses() == {
        "flaky": "success",
        "charge": "success",
        "never": "skipped",
        "after": "skipped",
    }
    assert stage.lines("?never") == [["1", "1"]]
    assert stage.log.read_text().count("\n") == 1
    assert [(notice.kind, notice.task) for notice in played.notices] == [
        ("workflow_start", ""),
        ("task_start", "flaky"),
        ("task_end", "flaky"),
        ("task_start", "charge"),
        ("task_end", "charge"),
        ("task_skipped", "never"),
        ("task_skipped", "after"),
        ("workflow_end", ""),
    ]
    assert all(notice.simulated for notice in played.notices)


def test_a_dry_run_keeps_what_is_done(stage: Stage) -> None:
    """What the snapshot has as success is shown as it is: a run would not run it either."""
    dag = Workflow("dry")
    dag.add("first", behaving.echo)
    known = {"first": TaskResult(TaskStatus.SUCCESS, data="kept")}
    assert stage.play(dag, dry_run=True, known=known).results == known


def test_events_come_in_order(stage: Stage) -> None:
    """What happens is told in order, with who and how long, and each task ends once."""
    played = stage.play(chain())
    run_id = played.notices[0].run_id
    assert {notice.run_id for notice in played.notices} == {run_id}
    assert [(notice.kind, notice.task, notice.status) for notice in played.notices] == [
        ("workflow_start", "", ""),
        ("task_start", "flaky", "running"),
        ("task_retry", "flaky", "failure"),
        ("task_start", "flaky", "running"),
        ("task_end", "flaky", "success"),
        ("task_start", "charge", "running"),
        ("task_end", "charge", "success"),
        ("task_skipped", "never", "skipped"),
        ("task_skipped", "after", "skipped"),
        ("workflow_end", "", "success"),
    ]
    times = [notice.at for notice in played.notices]
    assert times == sorted(times)
    ended = [notice for notice in played.notices if notice.kind == "task_end"]
    for notice in ended:
        result = played.results[notice.task]
        assert result.metrics is not None
        assert (notice.worker, notice.attempt) == (result.worker, result.attempt)
        assert notice.duration == pytest.approx(result.metrics.duration, abs=1e-3)


def test_a_callback_that_raises_hurts_nobody(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in a callback is logged; the others are called, and the run goes on."""

    def fail(notice: Notice) -> None:
        raise LookupError(f"a listener's own error at {notice.kind}")

    builder = stage.builder()
    for event in EVENTS:
        builder.on(event, fail)
    played = stage.play(chain(), builder=builder)
    assert played.status == "success"
    assert played.events("flaky")[-1] == "task_end"
    for kind in ("workflow_start", "task_retry", "task_skipped", "workflow_end"):
        assert f"a listener's own error at {kind}" in caplog.text


def test_json_logger(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object per line: run, task, event, time, status, duration."""
    played = stage.play(chain(), builder=stage.builder().with_logger("json"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["task"]) for line in lines] == [
        (notice.kind, notice.task or None) for notice in played.notices
    ]
    assert {line["run"] for line in lines} == {played.notices[0].run_id}
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", line["time"])
        for line in lines
    )
    (ended,) = (line for line in lines if (line["event"], line["task"]) == ("task_end", "flaky"))
    assert (ended["status"], ended["attempt"]) == ("success", 2)
    assert ended["duration"] == next(n.duration for n in played.notices if n.kind == "task_end")
    assert lines[-1]["status"] == "success"


def test_text_logger(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per event, with what a person looks for."""
    played = stage.play(chain(), builder=stage.builder().with_logger())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(played.notices)
    run_id = played.notices[0].run_id
    assert re.search(rf"{run_id} task_end flaky success attempt 2( \d+\.\d+ s)?$", lines[4])
    assert lines[8].endswith("task_skipped after skipped not run: 'never' ended as skipped")


class Listener:
    """A plugin that is given by hand."""

    name = "listener"
    version = "1.0"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def install(self, context: PluginContext) -> None:
        context.on("task_end", lambda notice: self.heard.append(notice.task))


def test_plugins_by_hand(stage: Stage) -> None:
    """A plugin registers what it listens to when it is installed; once."""
    listener = Listener()
    builder = stage.builder().use(listener)
    with pytest.raises(InvalidInput, match="plugin 'listener' is installed already"):
        builder.use(listener)
    stage.play(chain(), builder=builder)
    assert listener.heard == ["flaky", "charge"]
