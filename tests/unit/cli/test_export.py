"""Runs leave by ``export`` and arrive by ``import``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distflow.core.model import Task
from tests.support.command_line import MemoryScene


def half_a_run(scene: MemoryScene) -> None:
    """A run that nobody leads: ``a`` is done, ``b`` has not run and may run at most once."""
    tasks = [Task("a", "pkg:work"), Task("b", "pkg:work", effects="at_most_once")]
    store, epoch = scene.open_graph(tasks)
    scene.settle(store, epoch, "a", "success", data=[1, 2])
    scene.leave(store, epoch)


def test_there_and_back(
    scene: MemoryScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes into a file of its name and comes out as another run with its outcomes."""
    monkeypatch.chdir(tmp_path)
    half_a_run(scene)
    exported = scene.cli("export", "run-1")
    assert exported.exit_code == 0, exported.stderr
    assert exported.stdout == ""
    assert "2 tasks (1 success)" in exported.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run-1.distflow"]
    imported = scene.cli("import", "run-1.distflow", "--run-id", "copy", "--gap", "run")
    assert imported.stdout == "copy\n"
    copy = json.loads(scene.cli("status", "copy", "--tasks", "--json").stdout)
    assert copy["results"]["a"]["data"] == [1, 2]
    assert copy["tasks"]["pending"] == 1
    assert copy["durability"] == "aof-always"


def test_import_of_a_live_run_names_the_gap(scene: MemoryScene, tmp_path: Path) -> None:
    """Where the original may go on, the export warns of that, and what it may have started comes
    in as unknown, which is told.
    """
    half_a_run(scene)
    file = tmp_path / "run"
    exported = scene.cli("export", "run-1", "-o", file)
    assert "warning: 1 at_most_once task had not started" in exported.stderr
    imported = scene.cli("import", file, "--run-id", "copy")
    assert "warning: the run continued after its snapshot, so task 'b'" in imported.stderr
    assert "continue it with `distflow resume copy`" in imported.stderr
    assert "distflow resolve copy b --done" in scene.cli("status", "copy").stdout
    document = json.loads(scene.cli("import", file, "--run-id", "copy2", "--json").stdout)
    assert document == {
        "run_id": "copy2",
        "gap": False,
        "unknown": 1,
        "resume": "distflow resume copy2",
    }
    assert "1 task that may run at most once" in scene.refused(
        "import", file, "--run-id", "no", "--gap", "refuse"
    )
    still = scene.cli("import", file, "--run-id", "still", "--gap", "run")
    assert "warning" not in still.stderr
    assert scene.store("still").read_statuses(["b"]) == [None]


def test_snapshot_drop(scene: MemoryScene, tmp_path: Path) -> None:
    """What became of a task is taken out of the file, or of a copy; what rests on it is named."""
    tasks = [Task("a", "pkg:work"), Task("b", "pkg:work", depends_on=("a",))]
    store, epoch = scene.open_graph(tasks)
    for name in ("a", "b"):
        scene.settle(store, epoch, name, "success")
    file, copy = tmp_path / "run", tmp_path / "copy"
    scene.cli("export", "run-1", "-o", file)
    before = file.read_bytes()
    dropped = scene.cli("snapshot", "drop", file, "a", "-o", copy, "--json")
    assert json.loads(dropped.stdout) == {
        "file": str(copy),
        "dropped": ["a"],
        "outcomes": 1,
        "resting": ["b"],
    }
    assert "warning: task 'b' is kept" in dropped.stderr
    assert "drop b as well" in dropped.stderr
    assert file.read_bytes() == before
    done = scene.cli("snapshot", "drop", file, "a", "b", "a")
    assert done.stdout == f"took 2 tasks out of {file}, which has 0 outcomes now\n"
    assert scene.cli("import", file, "--run-id", "copy").exit_code == 0
    assert scene.store("copy").read_statuses(["a", "b"]) == [None, None]
    assert "no task 'z'" in scene.refused("snapshot", "drop", file, "z")


def test_through_a_pipe(scene: MemoryScene) -> None:
    """``-`` is stdout for export and stdin for import."""
    half_a_run(scene)
    exported = scene.cli("export", "run-1", "-o", "-")
    assert scene.cli("import", "-", "--run-id", "b", given=exported.stdout_bytes).stdout == "b\n"


def test_export_summary(scene: MemoryScene, tmp_path: Path) -> None:
    """``--json`` tells what was written and where."""
    half_a_run(scene)
    file = tmp_path / "run"
    document = json.loads(scene.cli("export", "run-1", "-o", file, "--json").stdout)
    assert document["file"] == str(file)
    assert document["size"] == file.stat().st_size
    assert (document["tasks"], document["outcomes"]) == (2, {"success": 1})
    assert document["live"] is True


def test_export_for_reading(scene: MemoryScene, tmp_path: Path) -> None:
    """JSON can be read by anything, and is not imported."""
    half_a_run(scene)
    document = json.loads(scene.cli("export", "run-1", "--format", "json", "-o", "-").stdout)
    assert (document["format"], document["version"]) == ("distflow-snapshot", 1)
    assert document["results"]["a"]["data"] == [1, 2]
    file = tmp_path / "run.json"
    scene.cli("export", "run-1", "--format", "json", "-o", file)
    assert json.loads(file.read_text())["run_id"] == "run-1"
    assert str(file) in scene.refused("import", file, "--run-id", "copy")


def test_export_refuses(scene: MemoryScene, tmp_path: Path) -> None:
    """What cannot be written leaves nothing behind."""
    half_a_run(scene)
    assert "cannot be written" in scene.refused("export", "run-1", "-o", tmp_path / "no" / "run")
    assert "no run 'nope'" in scene.refused("export", "nope", "-o", tmp_path / "run")
    assert "give -o FILE" in scene.refused("export", "run-1", "-o", "-", "--json")
    assert list(tmp_path.iterdir()) == []


def test_import_refuses(scene: MemoryScene, tmp_path: Path) -> None:
    """A file that is none, a run that exists, a bad id: one line, and no run is made."""
    half_a_run(scene)
    file = tmp_path / "run"
    scene.cli("export", "run-1", "-o", file)
    torn = tmp_path / "torn"
    torn.write_bytes(file.read_bytes()[:-9])
    assert "run 'run-1' exists already" in scene.refused("import", file)
    assert "'a b'" in scene.refused("import", file, "--run-id", "a b")
    assert str(torn) in scene.refused("import", torn, "--run-id", "copy")
    assert "cannot be read" in scene.refused("import", tmp_path / "nope")
    assert [run["run_id"] for run in json.loads(scene.cli("runs", "--json").stdout)] == ["run-1"]


@pytest.mark.parametrize("durability", ["aof-everysec", "aof-always"])
def test_import_and_resume_warn_of_durability(
    staffed: MemoryScene, tmp_path: Path, durability: str
) -> None:
    """A server that may forget that an at-most-once task has started is named where such a task
    may yet start, as ``submit`` does.
    """
    half_a_run(staffed)
    file = tmp_path / "run"
    staffed.cli("export", "run-1", "-o", file)
    staffed.backend.facts = staffed.backend.facts._replace(durability=durability)
    imported = staffed.cli("import", file, "--run-id", "copy", "--gap", "run")
    resumed = staffed.cli("resume", "copy")
    for said in (imported.stderr, resumed.stderr):
        first = said.splitlines()[0]
        named = first.startswith("warning: b must run at most once") and durability in first
        assert named == (durability == "aof-everysec"), first
