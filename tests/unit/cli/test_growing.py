"""Runs that grow, as commands tell of them: a line per node, however many children it has."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distflow.core.model import Task
from distflow.core.status import RunStatus
from tests.support.command_line import WIDTH, MemoryScene
from tests.support.grown import PIPELINE, expand, grown_run, settle
from tests.support.stores import claim, make_spec

FAN_OUT = "tests.support.tasks.fan_out:fan_out"


def under_way(scene: MemoryScene, count: int = 100) -> None:
    """A run whose first stage is half done: two children have failed, and one is at work."""
    store = scene.store()
    store.create_run(replace(make_spec(), version=2), "made", PIPELINE)
    epoch = store.acquire_lease("anna", 60.0)
    grown_run(store, count)
    for number in range(37):
        status = "failure" if number in (3, 5) else "success"
        settle(store, f"clean[{number}]", status, data=None if number in (3, 5) else number)
    claim(store, epoch, "clean[40]", "t1")


def document(scene: MemoryScene, *words: str | Path) -> Any:
    """What a command prints with ``--json``."""
    return json.loads(scene.cli(*words, "--json").stdout)


def test_status_has_a_line_per_node(scene: MemoryScene) -> None:
    """The total has grown; children are counted."""
    under_way(scene)
    text = scene.cli("status", "run-1").stdout
    assert re.search(r"^tasks +38/204 done: .*1 running", text, re.MULTILINE) is None
    assert re.search(r"^tasks +40/204 done: 38 success, 2 failure, 1 running", text, re.MULTILINE)
    assert re.search(r"^map +clean: 37/100 done, 2 failed$", text, re.MULTILINE)
    assert re.search(r"^map +sizes: 0/100 done$", text, re.MULTILINE)
    assert "clean[7]" not in text
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert document(scene, "status", "run-1")["expansions"] == [
        {"node": "clean", "kind": "map", "children": 100, "done": 37, "failed": 2},
        {"node": "sizes", "kind": "map", "children": 100, "done": 0, "failed": 0},
    ]
    assert document(scene, "runs")[0]["tasks"]["total"] == 204


def test_nested_nodes(scene: MemoryScene) -> None:
    """A child that has added tasks is done when these are; the outer node comes first."""
    store = scene.store()
    plan = Task("train", "m:train", grow=PIPELINE[1].grow)
    store.create_run(replace(make_spec(), version=2), "made", [plan])
    children = [Task(f"train.part{number}", "m:part", grow=plan.grow) for number in range(12)]
    expand(store, "train", children, plan=True)
    for number in range(12):
        leaf = Task(f"train.part{number}[0]", "m:leaf")
        expand(store, f"train.part{number}", [leaf])
        if number < 5:
            settle(store, leaf.name)
    text = scene.cli("status", "run-1").stdout
    found = re.findall(r"^(?:map|plan) +(\S+): (.*)$", text, re.MULTILINE)
    assert found[:2] == [("train", "5/12 done"), ("train.part5", "0/1 done")]
    assert len(found) == 10
    assert "and 3 more: see --json" in text
    expansions = document(scene, "status", "run-1")["expansions"]
    assert [each["node"] for each in expansions] == ["train", *(task.name for task in children)]
    assert (expansions[0]["done"], expansions[1]["done"]) == (5, 1)
    for number in range(5, 12):
        settle(store, f"train.part{number}[0]")
    done = document(scene, "status", "run-1")["expansions"]
    assert all(each["done"] == each["children"] for each in done)


def test_show_a_node(scene: MemoryScene) -> None:
    """What it is, its children by status, and what it stands for once that is complete."""
    under_way(scene)
    text = scene.cli("show", "run-1", "clean").stdout
    assert re.search(r"^kind +map$", text, re.MULTILINE)
    assert re.search(r"^function +m:clean$", text, re.MULTILINE)
    children = re.search(r"^children +(.*)$", text, re.MULTILINE)
    assert children is not None
    assert children[1] == "100: 35 success, 2 failure, 62 pending, 1 running"
    assert "result" not in text
    shown = document(scene, "show", "run-1", "clean")
    assert (shown["kind"], shown["children"]["total"]) == ("map", 100)
    assert shown["result"]["data"] is None
    for number in range(100):
        settle(scene.store(), f"clean[{number}]", data="x" * 9)
    whole = scene.cli("show", "run-1", "clean").stdout
    (value,) = re.findall(r"^result +(.*)$", whole, re.MULTILINE)
    assert value.startswith('["xxxxxxxxx", "xxx')
    assert value.endswith("…")
    assert document(scene, "show", "run-1", "clean")["result"]["data"] == ["x" * 9] * 100


def test_show_a_child(scene: MemoryScene) -> None:
    """As any task."""
    under_way(scene)
    shown = document(scene, "show", "run-1", "sizes[7]")
    assert (shown["task"], shown["kind"], shown["children"]) == ("sizes[7]", "call", None)
    assert shown["dependencies"] == {"clean[7]": "success"}
    assert "no task 'sizes[100]'" in scene.refused("show", "run-1", "sizes[100]")


def test_what_waits_for_children_says_so(scene: MemoryScene) -> None:
    """A node that has run is not all that its dependents wait for; followers wait for less."""
    under_way(scene)
    shown = document(scene, "show", "run-1", "report")
    assert [(wait["kind"], wait["on"]) for wait in shown["waits"]] == [
        ("children", "clean"),
        ("children", "sizes"),
    ]
    text = scene.cli("show", "run-1", "report").stdout
    assert "waits for  the children of clean, the children of sizes\n" in text


def test_graph_of_a_run_that_has_grown(scene: MemoryScene) -> None:
    """The children of a node are one box."""
    under_way(scene)
    text = scene.cli("graph", "--run", "run-1", "--format", "text").stdout
    assert "clean: map, success, after files\n" in text
    assert "  100 children of clean: 37/100 done, 2 failed\n" in text
    mermaid = scene.cli("graph", "--run", "run-1").stdout
    assert "100 children of clean" in mermaid
    assert "clean#91;7" not in mermaid


def test_a_run_that_grows_is_led_and_followed(staffed: MemoryScene) -> None:
    """Submit runs what nodes add, and prints what the workflow returns."""
    done = staffed.cli("submit", FAN_OUT, "-p", "count=4", "--run-id", "r")
    assert (done.exit_code, done.stdout) == (0, "r\n"), done.output
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"run r: success after .*: 15 success", lines[-2])
    said = '{"rows": [0, 2, 4, 6], "sum": 16, "halves": {"low": 2, "high": 10}}'
    assert lines[-1] == f"result: {said}"
    expansions = document(staffed, "status", "r")["expansions"]
    assert [(each["node"], each["kind"], each["done"]) for each in expansions] == [
        ("clean", "map", 4),
        ("measure", "map", 4),
        ("halves", "plan", 2),
    ]
    results = document(staffed, "status", "r", "--tasks")["results"]
    assert results["clean[3]"]["data"] == 6


def test_a_failed_child_is_run_again(staffed: MemoryScene) -> None:
    """A resume evaluates what did not succeed again, and nothing else."""
    words = ("submit", FAN_OUT, "-p", "bad=1", "--run-id", "r")
    failed = staffed.cli(*words)
    assert failed.exit_code == 1, failed.output
    assert "failed: clean[1]" in failed.stderr
    resumed = staffed.cli("resume", "r")
    assert resumed.exit_code == 1
    assert "7 successes kept, 4 evaluated again (1 failure, 3 skipped)" in re.sub(
        r"\s+", " ", resumed.stderr
    )
    allowed = staffed.cli("submit", FAN_OUT, "-p", "bad=1", "-p", "allowed=1", "--json")
    assert allowed.exit_code == 0, allowed.output
    assert json.loads(allowed.stdout)["result"]["rows"] == [0, None, 4]


def test_export_import_and_resume(staffed: MemoryScene, tmp_path: Path) -> None:
    """What a node has added travels with the run, and is never added again."""
    file = tmp_path / "run"
    staffed.cli("submit", FAN_OUT, "-p", "bad=1", "--run-id", "r")
    exported = staffed.cli("export", "r", "-o", file)
    assert "11 tasks" in exported.stderr, exported.stderr
    assert staffed.cli("import", file, "--run-id", "copy").exit_code == 0
    assert staffed.cli("resume", "copy").exit_code == 1
    before = document(staffed, "status", "r", "--tasks")
    after = document(staffed, "status", "copy", "--tasks")
    assert after["expansions"] == before["expansions"]
    assert after["results"]["clean[0]"] == before["results"]["clean[0]"]
    assert after["results"]["clean"] == before["results"]["clean"]


def test_a_new_run_takes_over_what_nodes_have_added(staffed: MemoryScene, tmp_path: Path) -> None:
    """Children that succeeded are kept; a dry run counts them beside their node."""
    file = tmp_path / "run"
    staffed.cli("submit", FAN_OUT, "-p", "bad=1", "-p", "allowed=1", "--run-id", "r")
    staffed.cli("export", "r", "-o", file)
    words = ("submit", FAN_OUT, "-p", "bad=1", "-p", "allowed=1", "--snapshot", file)
    dry = staffed.cli(*words, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "keep\tclean\tmap tests.support.tasks.fan_out:clean\t3 children: 2 keep, 1 run" in (
        dry.stdout.splitlines()
    )
    again = staffed.cli(*words, "--run-id", "again")
    assert again.exit_code == 0, again.output
    assert staffed.store("again").read_expansions().keys() == {"clean", "measure", "halves"}


def test_a_dry_run_shows_what_nodes_are(scene: MemoryScene) -> None:
    """Nothing is added: nobody knows what would be."""
    dry = scene.cli("submit", FAN_OUT, "--dry-run")
    assert dry.stdout.splitlines() == [
        "run\tlist_files\ttests.support.tasks.fan_out:list_files",
        "run\tclean\tmap tests.support.tasks.fan_out:clean",
        "run\tmeasure\tmap tests.support.tasks.fan_out:measure",
        "run\tadd\ttests.support.tasks.fan_out:add",
        "run\thalves\tplan tests.support.tasks.fan_out:halves",
    ]
    assert dry.stderr.splitlines()[-1] == (
        "5 tasks would run, 3 of them would add tasks; nothing was written"
    )
    tasks = document(scene, "submit", FAN_OUT, "--dry-run")["tasks"]
    assert [(task["kind"], task["children"]) for task in tasks] == [
        *(("call", None), ("map", None), ("map", None), ("call", None), ("plan", None))
    ]


@pytest.mark.parametrize("decision", ["--fail", "--retry", "--done=7"])
def test_a_child_can_be_decided(scene: MemoryScene, decision: str) -> None:
    """An unknown child is decided like any task; what gathers it takes its value."""
    store = scene.store()
    store.create_run(replace(make_spec(), version=2), "made", PIPELINE)
    grown_run(store, 2)
    settle(store, "clean[1]", "unknown", started=True)
    store.set_status(RunStatus.BLOCKED, {RunStatus.RUNNING})
    assert "takes what 'clean[1]' returns" in scene.refused(
        "resolve", "run-1", "clean[1]", "--done"
    )
    done = scene.cli("resolve", "run-1", "clean[1]", decision)
    assert done.exit_code == 0, done.output
    assert document(scene, "show", "run-1", "clean[1]")["status"] in (
        "failure",
        "success",
        "pending",
    )


def test_delete_a_run_that_has_grown(scene: MemoryScene) -> None:
    """With all that it has added."""
    under_way(scene)
    scene.store().release_lease("anna", scene.store().read_info().epoch)
    assert scene.cli("delete", "run-1", "--force").exit_code == 0
    assert scene.backend.run_ids() == []


def test_watch_counts_children(scene: MemoryScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows the run of another sees how far they are."""
    monkeypatch.setattr("distflow.runs.session.FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr("distflow.cli.ui.progress._PLAIN_SECONDS", 0.01)
    under_way(scene)
    store = scene.store()

    def end() -> None:
        store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING})
        scene.leave(store, store.read_info().epoch)

    scene.during(end, said="clean 37/100 done, 2 failed; sizes 0/100 done")
    assert scene.cli("watch", "run-1").exit_code == 1


def test_a_plan_that_may_have_run_is_decided(staffed: MemoryScene, tmp_path: Path) -> None:
    """The import of a run that went on asks about it, since nobody knows what it has added."""
    file = tmp_path / "run"
    staffed.cli("submit", FAN_OUT, "--detach", "--run-id", "r")
    staffed.cli("export", "r", "-o", file)
    imported = staffed.cli("import", file, "--run-id", "copy")
    assert "task 'halves' comes in as unknown" in imported.stderr
    assert staffed.cli("resume", "copy").exit_code == 3
    decided = staffed.cli("resolve", "copy", "halves", "--retry")
    assert decided.exit_code == 0, decided.output
    ended = staffed.cli("resume", "copy", "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["result"]["halves"] == {"low": 0, "high": 6}
    staffed.cli("import", file, "--run-id", "plain")
    staffed.cli("resolve", "plain", "halves", '--done={"low": 1}')
    told = staffed.cli("resume", "plain", "--json")
    assert json.loads(told.stdout)["result"]["halves"] == {"low": 1}
    assert staffed.store("plain").read_expansions().keys() == {"clean", "measure"}
