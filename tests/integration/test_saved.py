"""ctx.save and ctx.saved, and hooks that read them, in this process and on stock workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distflow import Snapshot, Workflow
from distflow.errors import ClaimLost
from distflow.runs.takeover import Taking, take_over
from distflow.runs.transfer import export_run, import_run
from distflow.store.memory.store import MemoryRunStore, MemoryServer
from distflow_worker.context import SavedNote
from tests.support.stages import Stage
from tests.support.stores import claim, open_run
from tests.support.tasks import saving, verifying


def test_a_note_goes_from_attempt_to_attempt(stage: Stage) -> None:
    """Condition, attempts, iterations and the loop's own condition see what was saved last."""
    dag = Workflow("collect")
    dag.add("collect", saving.collect)
    played = stage.play(dag)
    assert played.results["collect"].data == [(1, 1), (2, 1), (2, 2)]


def test_what_cannot_be_saved(stage: Stage) -> None:
    """A note of 64 KiB encoded is one; a larger one, and what has no encoding, fail the task in one
    line, and what was saved before stays.
    """
    dag = Workflow("stuff")
    fits = 64 * 1024 - 3
    dag.add("fits", saving.stuff, (fits,))
    dag.add("large", saving.stuff, (fits + 1,))
    dag.add("lock", saving.save_a_lock)
    results = stage.play(dag).results
    assert results["fits"].data == fits
    assert results["large"].error == (
        "NotEncodable: ctx.save: 65,537 bytes encoded, more than 65,536; "
        "save where it is to be found"
    )
    assert str(results["lock"].error).startswith(
        "NotEncodable: ctx.save: ['lock']: builtins.object cannot be stored"
    )


def test_a_zombie_saves_nothing() -> None:
    """Whose task was given to another is told so, and what the other saved stays."""
    store = MemoryRunStore("run-1")
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    ours, theirs = SavedNote(store, "a", "t1"), SavedNote(store, "a", "t2")
    assert ours.load() is None
    ours.save("job 1")
    with pytest.raises(ClaimLost, match="task 'a' was given to another worker, or has ended"):
        theirs.save("job 2")
    assert (ours.load(), theirs.load(), SavedNote(store, "a").load()) == ("job 1",) * 3


def test_hooks_after_a_timeout(stage: Stage) -> None:
    """A charge that timed out is unknown, and its hook is asked: its answers mean the same
    everywhere, and an answer that cannot be used leaves the decision to a person.
    """
    names = ["done", "failed", "not_done", "cannot", "hangs", "saves", "unencodable"]
    played = stage.play(verifying.hanging(names, str(stage.log)))
    verifying.open_gates(stage.log)
    assert played.status == "blocked"
    assert played.statuses() == {
        "done": "success",
        "failed": "failure",
        "not_done": "success",
        **dict.fromkeys(names[3:], "unknown"),
    }
    assert played.results["done"].data == "job-1"
    assert played.results["not_done"].attempt == 2
    # What the first attempt saved is there for the second.
    charged = stage.lines("charge")
    assert ["not_done", "2", "job-1"] in charged
    assert len(charged) == len(names) + 1
    # The one that cannot be interrupted, too, is asked once.
    assert sorted(words[0] for words in stage.lines("verify")) == sorted(names)
    assert played.events("done") == ["task_start", "task_unknown", "task_resolved"]
    assert played.events("not_done")[1:] == [
        "task_unknown",
        "task_resolved",
        "task_start",
        "task_end",
    ]
    decided = [n for n in played.notices if (n.kind, n.task) == ("task_resolved", "failed")]
    assert decided[0].status == "failure"
    assert decided[0].message.startswith("by verify on ")
    assert decided[0].message.endswith(": the card was refused")


def test_a_hydrated_run_asks_again(stage: Stage, tmp_path: Path) -> None:
    """The snapshot brings the unknown task with what it had saved; its hook decides it there."""
    flow = verifying.hanging(["later"], str(stage.log))
    snapshot = stage.play(flow).snapshot
    assert snapshot["later"].status == "unknown"
    snapshot.dump(tmp_path / "snapshot")
    verifying.open_gates(stage.log)
    again = stage.play(flow, known=Snapshot.load(tmp_path / "snapshot"))
    assert (again.status, again.results["later"].data) == ("success", "job-1")
    assert len(stage.lines("charge")) == 1


def test_a_changed_task_begins_without_a_note(here: Stage) -> None:
    """What another function had saved would mislead this one; `--keep` says that it does not."""
    dag = Workflow("collect")
    dag.add("collect", saving.collect)
    known = Snapshot.from_packed(
        {}, origin="0123", fingerprints={"collect": "another"}, notes={"collect": b"\x01"}
    )
    assert here.play(dag, known=known).status == "success"
    assert take_over(known, dag.compile(), Taking(keep=True)).notes == [("collect", b"\x01")]
    unchanged = Snapshot.from_packed({}, origin="0123", notes={"collect": b"\x01", "gone": b"\x01"})
    assert here.play(dag, known=unchanged).status == "failure"


def test_notes_are_exported_and_imported(tmp_path: Path) -> None:
    """With the charge that was at work: who imports it can ask about it."""
    store = MemoryRunStore("run-1")
    epoch = open_run(store)
    claim(store, epoch, "a", "t1")
    store.save_note("a", "t1", b"\xa3job")
    path = tmp_path / "run.distflow"
    export_run(store, path)
    there = MemoryServer()
    assert import_run(path, lambda run_id: MemoryRunStore(run_id, server=there)) == "run-1"
    imported = MemoryRunStore("run-1", server=there)
    assert [imported.fetch_note(name) for name in ("a", "b")] == [b"\xa3job", None]
    loaded = Snapshot.load(path)
    assert loaded.notes == {"a": b"\xa3job"}
    loaded.dump(tmp_path / "again")
    assert Snapshot.load(tmp_path / "again").notes == loaded.notes
    assert json.loads(loaded.to_json())["saved"] == {"a": "job"}
