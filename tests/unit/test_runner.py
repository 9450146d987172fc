"""The task runner in this process: what it is given, what it tells, how it is ended."""

from __future__ import annotations

import importlib
import io
import json
import logging
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distflow import Retry, Snapshot, TaskResult, TaskRunnerBuilder, TaskStatus, Workflow
from distflow.core.status import RunStatus
from distflow.errors import InvalidInput
from distflow.events.hub import EventHub
from distflow.events.loggers import event_logger
from distflow.events.notice import Notice
from tests.support.stages import Stage
from tests.support.tasks import behaving

#: A plugin as an installed package brings it.
PLUGIN = """
class Recorder:
    name, version = "recorder", "1.2"
    seen = []
    def install(self, context):
        context.on("task_end", self.seen.append)

class Broken:
    name, version = "broken", "0"
    def install(self, context):
        raise OSError("no such device")
"""


#: Everything that a notice may say.
NOTICE = Notice(
    "task_end",
    "run-1",
    1_800_000_000.0,
    "a",
    "failure",
    2,
    "w1",
    0.25,
    "no\x1b[31m",
    simulated=True,
)


@pytest.fixture
def here(tmp_path: Path) -> Stage:
    """Plays in this process."""
    return Stage(tmp_path, None)


def chain() -> Workflow:
    """One task after another, so that the order of events is certain."""
    dag = Workflow("chain")
    dag.add("one", behaving.behave, (["raise", "ok"],), retry=Retry(1))
    dag.add("two", behaving.echo, (2,), effects="at_most_once", depends_on=["one"])
    dag.add("last", behaving.echo, (3,), depends_on=["two"])
    return dag


def known(**statuses: str) -> dict[str, TaskResult]:
    """What a mapping knows of tasks."""
    return {name: TaskResult(TaskStatus(status)) for name, status in statuses.items()}


# Telling


def test_unknown_events_are_refused() -> None:
    """A misspelt event is answered with those that there are."""
    with pytest.raises(InvalidInput, match="no event 'task_finish': there are workflow_start, "):
        TaskRunnerBuilder().on("task_finish", print)
    with pytest.raises(InvalidInput, match="the callback for task_end is 7, not a function"):
        TaskRunnerBuilder().on("task_end", 7)  # type: ignore[arg-type]


def test_other_loggers_are_refused() -> None:
    """A logger is text or json."""
    with pytest.raises(InvalidInput, match="'text' or 'json', not 'xml'"):
        TaskRunnerBuilder().with_logger("xml")  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["name", "version", "install"])
def test_what_is_no_plugin_is_refused(missing: str) -> None:
    """The attribute that a plugin lacks is named."""
    attributes: dict[str, Any] = {"name": "x", "version": "1", "install": print}
    del attributes[missing]
    thing = type("Thing", (), attributes)()
    with pytest.raises(InvalidInput, match=f"is no plugin: it has no '{missing}'"):
        TaskRunnerBuilder().use(thing)


def test_plugins_of_installed_packages(
    here: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Packages name plugins by entry point; one that cannot be installed is logged and left out,
    and building a second runner installs none twice.
    """
    site = tmp_path / "site"
    info = site / "recording_plugin-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "recording_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recording-plugin\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[distflow.plugins]\nbroken = recording_plugin:Broken\n"
        "absent = recording_plugin:Absent\nrecorder = recording_plugin:Recorder\n"
    )
    monkeypatch.syspath_prepend(str(site))
    builder = here.builder()
    builder.build()
    first_log = caplog.text
    for name in ("broken", "absent"):
        assert f"plugin {name} cannot be used" in first_log
    assert "no such device" in first_log
    played = here.play(chain(), builder=builder)
    recorder = importlib.import_module("recording_plugin").Recorder
    assert [notice.task for notice in recorder.seen] == ["one", "two", "last"]
    assert played.status == "success"
    assert "plugin recorder" not in caplog.text


def test_nothing_is_warned_of_when_all_goes_well(
    here: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that goes well logs no warning."""
    with caplog.at_level(logging.WARNING):
        here.play(chain())
    assert [r.getMessage() for r in caplog.records if r.name.startswith("distflow")] == []


def test_callbacks_come_and_go(here: Stage) -> None:
    """``on`` after the runner is built, ``off``, and both from a callback."""
    heard: list[str] = []
    runner = here.builder().build()

    def once(notice: Notice) -> None:
        heard.append(f"once {notice.task}")
        runner.off("task_end", once).on("task_end", later)

    def later(notice: Notice) -> None:
        heard.append(f"later {notice.task}")

    runner.on("task_end", once)
    runner.execute(chain(), {"log": str(here.log)})
    assert heard == ["once one", "later two", "later last"]
    with pytest.raises(InvalidInput, match="is not registered for task_end"):
        runner.off("task_end", once)
    with pytest.raises(InvalidInput, match="no event 'tusk_end'"):
        runner.off("tusk_end", once)


@pytest.mark.parametrize("kind", ["repair", "warning"])
def test_troubles_can_be_heard(kind: str) -> None:
    """What the command line prints of a run's troubles, plugins and callbacks hear too."""
    heard: list[str] = []
    hub = EventHub()
    hub.on(kind, lambda notice: heard.append(notice.message))
    hub(Notice(kind, "r", 0.0, message="worker w was not heard of for 4 s"))
    assert heard == ["worker w was not heard of for 4 s"]


def test_what_was_interrupted_here_is_over(here: Stage) -> None:
    """Ctrl-C ends a run in this process for good: what had not started then cannot have started
    since, and is done by who goes on.
    """
    runner = here.builder().build()

    def interrupt(notice: Notice) -> None:
        if notice.task == "first":
            raise KeyboardInterrupt

    runner.on("task_end", interrupt)
    dag = Workflow("interrupted")
    dag.add("first", behaving.echo, (1,))
    dag.add("second", behaving.echo, (2,), depends_on=["first"], effects="at_most_once")
    dag.add("third", behaving.echo, (3,), depends_on=["second"])
    with pytest.raises(KeyboardInterrupt):
        runner.execute(dag, {"log": str(here.log)})
    snapshot = runner.snapshot()
    assert (snapshot.live, list(snapshot)) == (False, ["first"])
    assert here.play(dag, known=snapshot).status == "success"
    assert [len(here.lines(name)) for name in ("first", "second", "third")] == [1, 1, 1]


def test_any_object_is_a_context_here(here: Stage) -> None:
    """In this process the context is the builder's object itself, before any factory."""
    dag = Workflow("context", context=behaving.broken)
    dag.add("greets", behaving.greeting)
    context = SimpleNamespace(greeting="hello")
    assert here.play(dag, builder=here.builder(context)).results["greets"].data == "hello"


def test_a_line_for_each_event() -> None:
    """For people without what a terminal would obey; for programs with all that is known."""
    text, lines = io.StringIO(), io.StringIO()
    event_logger("text", text)(NOTICE)
    event_logger("json", lines)(NOTICE)
    event_logger("json", lines)(Notice("workflow_start", "run-1", 1_800_000_000.0))
    said = text.getvalue()
    assert "run-1 task_end a failure attempt 2 0.250 s no" in said
    assert said.endswith("(simulated)\n")
    assert "\x1b" not in said
    end, start = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert (end["task"], end["attempt"], end["duration"], end["simulated"]) == ("a", 2, 0.25, True)
    assert (start["event"], start["task"], start["status"]) == ("workflow_start", None, None)
    assert "simulated" not in start


def test_a_callback_that_raises_is_no_concern_of_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor of the run: it is logged with its place."""
    heard: list[str] = []
    hub = EventHub()
    hub.on("task_end", lambda notice: heard[notice.attempt])  # type: ignore[arg-type]
    hub.on("task_end", lambda notice: heard.append(notice.task))
    hub(NOTICE)
    assert heard == ["a"]
    (record,) = caplog.records
    assert "task_end of run run-1" in record.getMessage()
    assert record.exc_info is not None


def test_a_plugin_that_cannot_be_installed_is_named() -> None:
    """By whoever gave it by hand, at once; it is not there then."""

    class Plugin:
        name, version = "mine", "1"
        error: Exception | None = OSError("no such device")

        def install(self, _context: Any) -> None:
            if self.error is not None:
                raise self.error

    plugin, hub = Plugin(), EventHub()
    with pytest.raises(InvalidInput, match=r"'mine'.*no such device"):
        hub.use(plugin)
    plugin.error = InvalidInput("it needs a host")
    with pytest.raises(InvalidInput, match=r"^it needs a host$"):
        hub.use(plugin)
    plugin.error = None
    hub.use(plugin)
    assert hub.plugins == {"mine": "1"}
    with pytest.raises(InvalidInput, match="'mine'"):
        hub.use(plugin)


# What a run begins with


def test_a_runner_knows_what_it_was_given(here: Stage) -> None:
    """Before there is a run, that is all; afterwards it is what became of the run."""
    assert (here.builder().build().snapshot(), here.builder().build().run_id) == (Snapshot(), None)
    runner = here.builder().with_snapshot(known(one="success"), "0f0f").build()
    assert (runner.snapshot().origin, list(runner.snapshot())) == ("0f0f", ["one"])
    results = runner.execute(chain(), {"log": str(here.log)})
    assert [result.status for result in results.values()] == [TaskStatus.SUCCESS] * 3
    assert here.lines("one") == []
    assert runner.run_id is not None
    after = runner.snapshot()
    assert (set(after), after.origin, after.live) == ({"one", "two", "last"}, "0f0f", False)


def test_what_waits_for_a_decision_is_pending(here: Stage) -> None:
    """It says for what it waits; what may run meanwhile does."""
    dag = chain()
    dag.add("beside", behaving.echo, (4,))
    snapshot = {"one": TaskResult(TaskStatus.SUCCESS), "two": TaskResult(TaskStatus.UNKNOWN)}
    played = here.play(dag, known=snapshot, origin="0f")
    assert played.status == RunStatus.BLOCKED
    assert played.statuses() == {
        "one": "success",
        "two": "unknown",
        "last": "pending",
        "beside": "success",
    }
    assert "'two'" in (played.results["last"].message or "")


def test_what_a_person_should_know_of_a_snapshot_is_logged(
    here: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys of tasks are other ones than they were."""
    dag = Workflow("plain")
    dag.add("one", behaving.echo, (1,))
    builder = here.builder().with_snapshot({}, new_keys=True)
    assert here.play(dag, builder=builder).status == "success"
    builder = here.builder().with_snapshot(known(one="success"), gap="run", without=["one"])
    assert len(here.play(dag, builder=builder).results) == 1
    assert len(here.lines("one")) == 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"snapshot": None}, "snapshot"),
        ({"snapshot": {}, "keep": 1}, "keep"),
        ({"snapshot": {}, "rerun_changed": "no"}, "rerun_changed"),
        ({"snapshot": {}, "new_keys": None}, "new_keys"),
        ({"snapshot": {}, "origin": 7}, "origin"),
    ],
)
def test_what_is_no_snapshot_is_refused(options: dict[str, Any], named: str) -> None:
    """By the name of the option, when it is given."""
    with pytest.raises(InvalidInput, match=named):
        TaskRunnerBuilder().with_snapshot(**options)


def test_what_is_asked_of_a_run_is_checked(here: Stage) -> None:
    """Before anything is begun."""
    runner, dag = here.builder().build(), chain()
    wrong: Any
    for wrong in ({"dry_run": 1}, {"signal": 1}, {"concurrency": 0}, {"timeout": -1.0}):
        (name,) = wrong
        with pytest.raises(InvalidInput, match=name):
            runner.execute(dag, {"log": str(here.log)}, **wrong)
    wrong = print
    with pytest.raises(InvalidInput, match="@workflow"):
        runner.execute(wrong)
    with pytest.raises(InvalidInput, match="dispatch"):
        here.builder().use_dispatcher(wrong)
    assert (runner.run_id, here.log.read_text()) == (None, "")


# Dry runs and ends


def test_a_dry_run_calls_nothing(here: Stage) -> None:
    """Conditions are asked, and what would happen is told, as simulated; what is done stays."""
    dag = chain()
    dag.add("left", behaving.echo, condition=behaving.never)
    played = here.play(dag, known=known(one="success"), origin="0f", dry_run=True)
    assert played.statuses() == {
        "one": "success",
        "two": "success",
        "last": "success",
        "left": "skipped",
    }
    assert "simulated" in (played.results["two"].message or "")
    assert played.results["one"].message is None
    assert {notice.simulated for notice in played.notices} == {True}
    assert [line[0] for line in here.log.read_text().splitlines()] == ["?"]
    assert list(played.snapshot) == ["one"]


def test_a_signal_that_is_set_cancels(here: Stage) -> None:
    """Whatever answers ``is_set`` is a signal."""
    signal = threading.Event()
    signal.set()
    played = here.play(chain(), signal=signal)
    assert played.status == RunStatus.CANCELLED
    assert set(played.statuses().values()) == {"cancelled"}
    assert here.log.read_text() == ""


def test_a_context_is_made_once_that_can_be_made(here: Stage) -> None:
    """For all threads; one that raises fails the tasks that need it."""
    for factory, statuses in ((behaving.remember, {"success"}), (behaving.broken, {"failure"})):
        dag = Workflow("context", context=factory)
        for number in range(3):
            dag.add(f"t{number}", behaving.greeting)
        played = here.play(dag, {"who": "anna"})
        assert set(played.statuses().values()) == statuses
    assert here.log.read_text().split() == ["factory"]
