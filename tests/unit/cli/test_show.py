"""What show and graph say of runs in every state."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from distflow.core.model import Task
from tests.support.command_line import MemoryScene, busy_run
from tests.support.stores import again, claim, final, finish


def test_no_such_run(scene: MemoryScene) -> None:
    """A run id that is not there is one line and exit 2, for each command that takes one."""
    for command in ("status", "watch", "export", "delete"):
        assert "no run 'nope'" in scene.refused(command, "nope")
    assert "no run 'nope'" in scene.refused("show", "nope", "a")
    assert "no run 'nope'" in scene.refused("graph", "--run", "nope")


def test_show_tells_the_story(scene: MemoryScene) -> None:
    """A task's result, error, traceback, worker and earlier attempts are shown."""
    store, epoch = scene.open_run("a")
    claim(store, epoch, "a", "t1")
    finish(store, epoch, again("a", "t1"))
    claim(store, epoch, "a", "t2")
    trace = "Traceback:\n  line 7"
    failed = final("a", "t2", "failure", attempt=2, error="ValueError: bad", traceback=trace)
    finish(store, epoch, failed)
    text = scene.cli("show", "run-1", "a").stdout
    assert re.search(r"^attempt +2$", text, re.MULTILINE)
    assert "ValueError: bad" in text
    assert "  Traceback:\n    line 7" in text
    assert re.search(r"retried, attempt 1: failure, by w1\n    OSError: no", text)
    document = json.loads(scene.cli("show", "run-1", "a", "--json").stdout)
    assert document["status"] == document["result"]["status"] == "failure"
    assert [entry["kind"] for entry in document["history"]] == ["retried"]
    assert document["history"][0]["result"]["error"] == "OSError: no"


def test_show_a_value(scene: MemoryScene) -> None:
    """A success shows what the function returned."""
    store, epoch = scene.open_run("a", "b")
    scene.settle(store, epoch, "a", "success", data={"rows": 3}, worker="w1")
    scene.settle(store, epoch, "b", "success", data=None)
    text = scene.cli("show", "run-1", "a").stdout
    assert '"rows": 3' in text
    assert re.search(r"^worker +w1$", text, re.MULTILINE)
    assert re.search(r"^result +null$", scene.cli("show", "run-1", "b").stdout, re.MULTILINE)


def test_show_a_task_at_work(scene: MemoryScene) -> None:
    """What a worker holds is shown with the worker, and what waits for a time with the time."""
    busy_run(scene)
    busy = json.loads(scene.cli("show", "run-1", "busy", "--json").stdout)
    assert (busy["status"], busy["claim"]["worker"]) == ("running", "worker-9")
    assert "worker-9" in scene.cli("show", "run-1", "busy").stdout
    later = json.loads(scene.cli("show", "run-1", "later", "--json").stdout)
    assert (later["status"], later["next_attempt"]) == ("waiting", 2)
    assert f"attempt 2 at {later['waits_until']}" in scene.cli("show", "run-1", "later").stdout


def test_show_dependencies(scene: MemoryScene) -> None:
    """A task that waits names the dependencies that it waits for."""
    tasks = [
        Task("a", "pkg.tasks:work"),
        Task("b", "pkg.tasks:work"),
        Task("c", "pkg.tasks:work", depends_on=("a", "b"), queue="gpu"),
    ]
    store, epoch = scene.open_graph(tasks)
    scene.settle(store, epoch, "a", "success")
    document = json.loads(scene.cli("show", "run-1", "c", "--json").stdout)
    assert document["dependencies"] == {"a": "success", "b": "pending"}
    assert re.search(r"^waits for +b$", scene.cli("show", "run-1", "c").stdout, re.MULTILINE)
    scene.settle(store, epoch, "b", "success")
    assert "a worker of queue 'gpu'" in scene.cli("show", "run-1", "c").stdout


def test_show_tells_the_outcome_first(scene: MemoryScene) -> None:
    """However many dependencies a task has, its result comes before them: first those that are no
    success.
    """
    names = [f"t{number}" for number in range(15)]
    sources = [Task(name, "pkg:f", continue_on_error=True) for name in names]
    store, epoch = scene.open_graph([*sources, Task("sum", "pkg:f", depends_on=tuple(names))])
    waiting = scene.cli("show", "run-1", "sum").stdout
    assert f"waits for  {', '.join(names)}\n" in waiting
    for name in names:
        scene.settle(store, epoch, name, "failure" if name == "t14" else "success")
    scene.settle(store, epoch, "sum", "success", data=7)
    lines = scene.cli("show", "run-1", "sum").stdout.splitlines()
    told = [line.split(maxsplit=2)[2] for line in lines if line.startswith("depends on")]
    assert told[:2] == ["t14: failure", "t0: success"]
    assert len(told) == len(names)
    labels = [line.split()[0] for line in lines]
    assert labels.index("result") < labels.index("depends")


def test_show_guesses_the_name(scene: MemoryScene) -> None:
    """A misspelt task is answered with the closest name."""
    scene.open_run("charge_3", "report")
    assert "did you mean 'charge_3'?" in scene.refused("show", "run-1", "charge3")


def test_graph_of_a_run(scene: MemoryScene) -> None:
    """A run is drawn as it stands, running tasks too, in both languages."""
    busy_run(scene)
    mermaid = scene.cli("graph", "--run", "run-1").stdout
    for label in ("done<br/>success", "busy<br/>running", "later<br/>waiting", "open<br/>pending"):
        assert f'["{label}"]' in mermaid
    dot = scene.cli("graph", "--run", "run-1", "--format", "dot").stdout
    assert 'label="lost\\nunknown", style=filled' in dot


def test_graph_of_a_workflow(scene: MemoryScene, tmp_path: Path) -> None:
    """A workflow is drawn without any Redis, to stdout or into a file."""
    words = ("graph", "tests.support.tasks.recording:payment", "-p", "log=l", "-p", "gate=g")
    text = scene.cli(*words).stdout
    assert 'n1["charge"]' in text
    assert "n0 --> n1" in text
    target = tmp_path / "dag.mmd"
    assert scene.cli(*words, "-o", target).exit_code == 0
    assert target.read_text() == text
    assert scene.cli(*words, "--format", "text").stdout.splitlines()[1].startswith("charge: after")
    assert scene.asked is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give MODULE:WORKFLOW or --run"),
        (("tests.support.tasks.recording:payment", "--run", "run-1"), "give MODULE:WORKFLOW or"),
        (("tests.support.tasks.recording:paymint",), "did you mean 'payment'?"),
        (("tests.support.tasks.recording:payment",), "log"),
        (("--run", "run-1", "-p", "log=l"), "-p goes with MODULE:WORKFLOW"),
    ],
)
def test_graph_usage(scene: MemoryScene, words: tuple[str, ...], said: str) -> None:
    """Bad input to graph is one line that names the mend."""
    assert said in scene.refused("graph", *words)
