"""Expansions that a new run takes over from a snapshot, and those that it does not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from distflow.core.graph import Graph
from distflow.core.model import Expanded, Ref, Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.errors import SnapshotInvalid
from distflow.runs.exporter import Exporter
from distflow.runs.takeover import Takeover, Taking, take_over
from distflow.snapshot import Snapshot
from distflow.snapshot.reader import SnapshotReader
from distflow.store.memory.store import MemoryRunStore
from distflow.wire.codec import status_of
from tests.support.grown import PIPELINE, grown_run, settle
from tests.support.stores import make_spec

S = TaskStatus
FILES, CLEAN, SIZES, REPORT = PIPELINE
CHILDREN = [f"{node}[{number}]" for node in ("clean", "sizes") for number in range(3)]


def once(node: Task) -> Task:
    """The same node, whose children may run at most once."""
    assert node.grow is not None
    assert node.grow.child is not None
    child = node.grow.child._replace(effects="at_most_once")
    return node._replace(grow=node.grow._replace(child=child))


def changed(node: Task) -> Task:
    """The same node, whose children call something else."""
    assert node.grow is not None
    assert node.grow.child is not None
    child = node.grow.child._replace(function="m:other")
    return node._replace(grow=node.grow._replace(child=child))


def snapshot_of(
    tasks: Sequence[Task] = PIPELINE, *, over: bool = True, **ends: dict[str, Any]
) -> Snapshot:
    """The snapshot of a pipeline with three elements, that all ended well but for ``ends``."""
    store = MemoryRunStore("run-1")
    store.create_run(replace(make_spec(), version=2), "made", tasks)
    grown_run(store, tasks=tasks)
    for name in [*CHILDREN, "report"]:
        fields = ends.get(name.replace("[", "_").rstrip("]"), {"status": "success", "data": name})
        if fields:
            settle(store, name, **fields)
    stream = io.BytesIO()
    Exporter(store, stream, is_over=over).write()
    return Snapshot.read(SnapshotReader(stream, "file"))


def take(
    snapshot: Snapshot, tasks: Sequence[Task] = PIPELINE, taking: Taking | None = None
) -> Takeover:
    """What a run of these tasks takes."""
    return take_over(snapshot, Graph.compile(tasks), taking)


def names(taken: Takeover) -> set[str]:
    """Of the outcomes that are taken."""
    return {name for name, _packed, _progress in taken.outcomes}


def nodes(taken: Takeover) -> list[str]:
    """Of the expansions that are taken."""
    return [saved.node for saved in taken.expansions]


def test_everything_stands() -> None:
    """Where nothing has changed nothing runs again."""
    taken = take(snapshot_of())
    assert nodes(taken) == ["clean", "sizes"]
    assert names(taken) == {"files", "clean", "sizes", "report", *CHILDREN}
    assert taken.warnings == []


def test_children_that_have_not_ended_run() -> None:
    """The expansion stands; what had no success in it is evaluated again."""
    bad = {"status": "failure", "error": "E: x"}
    taken = take(snapshot_of(clean_1=bad, sizes_1={}, report={}))
    assert nodes(taken) == ["clean", "sizes"]
    assert names(taken) == {"files", "clean", "sizes", *CHILDREN} - {"clean[1]", "sizes[1]"}


def test_what_is_above_does_not_stand() -> None:
    """A node whose source runs again may have other elements: it is evaluated again, and what it
    had added goes away, with what follows that.
    """
    taken = take(snapshot_of(), taking=Taking(without=["files"]))
    assert (nodes(taken), names(taken)) == ([], {"report"})
    assert taken.warnings[0] == (
        "tasks 'clean', 'sizes' run again, with all that was added, since something that they rest "
        "on runs again"
    )
    assert "task 'report' is kept, although what it rests on runs again" in taken.warnings[-1]


def test_a_node_that_is_left_out() -> None:
    """Goes away with its children, and so does what follows it element by element."""
    taken = take(snapshot_of(), taking=Taking(without=["clean"]))
    assert (nodes(taken), names(taken)) == ([], {"files", "report"})
    taken = take(snapshot_of(), taking=Taking(without=["sizes"]))
    kept = {"files", "report", "clean", "clean[0]", "clean[1]", "clean[2]"}
    assert (nodes(taken), names(taken)) == (["clean"], kept)


def test_a_child_that_is_left_out() -> None:
    """It alone runs again; whatever rests on it is named."""
    taken = take(snapshot_of(), taking=Taking(without=["clean[1]"]))
    assert nodes(taken) == ["clean", "sizes"]
    assert names(taken) == {"files", "clean", "sizes", "report", *CHILDREN} - {"clean[1]"}
    assert "tasks 'report', 'sizes[1]' are kept, although" in taken.warnings[-1]


def test_a_child_that_is_left_out_with_all_downstream() -> None:
    """With ``rerun_changed``: its followers and what gathers, nothing beside them."""
    taking = Taking(without=["clean[1]"], rerun_changed=True)
    taken = take(snapshot_of(), taking=taking)
    assert nodes(taken) == ["clean", "sizes"]
    again = {"clean[1]", "sizes[1]", "report"}
    assert names(taken) == {"files", "clean", "sizes", *CHILDREN} - again


@pytest.mark.parametrize("keep", [False, True])
def test_a_node_that_has_changed(keep: bool) -> None:
    """It is refused, or evaluated again with all downstream: kept children would be others."""
    tasks = (FILES, changed(CLEAN), SIZES, REPORT)
    with pytest.raises(SnapshotInvalid, match="task 'clean' has changed since the snapshot"):
        take(snapshot_of(), tasks)
    taken = take(snapshot_of(), tasks, Taking(keep=keep, rerun_changed=not keep))
    assert (nodes(taken), names(taken)) == ([], {"files"})


def test_a_source_that_has_changed() -> None:
    """What is downstream of it runs again, whoever added it."""
    tasks = (FILES._replace(function="m:other"), CLEAN, SIZES, REPORT)
    taken = take(snapshot_of(), tasks, Taking(rerun_changed=True))
    assert (nodes(taken), names(taken)) == ([], set())
    # With ``keep`` a changed source is a success that stands.
    taken = take(snapshot_of(), tasks, Taking(keep=True))
    assert nodes(taken) == ["clean", "sizes"]


def test_children_that_may_run_at_most_once_do_not_go_away() -> None:
    """Their node would add them again, and they would run a second time."""
    tasks = (FILES, once(CLEAN), SIZES, REPORT)
    snapshot = snapshot_of(tasks)
    assert nodes(take(snapshot, tasks)) == ["clean", "sizes"]
    for taking in (Taking(without=["files"]), Taking(without=["clean"])):
        with pytest.raises(SnapshotInvalid) as refused:
            take(snapshot, tasks, taking)
        assert str(refused.value).startswith("tasks 'clean[0]', 'clean[1]', 'clean[2]' may run at")
    every = Taking(without=["clean", "clean[0]", "clean[1]", "clean[2]"])
    assert nodes(take(snapshot, tasks, every)) == []
    early = snapshot_of(tasks, clean_0={}, clean_1={}, clean_2={}, sizes_0={}, sizes_1={})
    assert nodes(take(early, tasks, Taking(without=["clean"]))) == []


def test_children_that_may_have_started_since() -> None:
    """The run of the snapshot went on: what had not started may have by now."""
    tasks = (FILES, once(CLEAN), SIZES, REPORT)
    late: dict[str, dict[str, Any]] = {name: {} for name in ("clean_2", "sizes_2", "report")}
    snapshot = snapshot_of(tasks, over=False, **late)
    taken = take(snapshot, tasks)
    (unknown,) = [at[0] for at in taken.outcomes if at[1] and status_of(at[1]) == S.UNKNOWN]
    assert (nodes(taken), unknown) == (["clean", "sizes"], "clean[2]")
    without = ["clean", "clean[0]", "clean[1]"]
    with pytest.raises(SnapshotInvalid, match=r"'clean\[2\]' may run at most once"):
        take(snapshot, tasks, Taking(without=without))
    assert nodes(take(snapshot, tasks, Taking(without=without, gap="run"))) == []


def test_a_node_that_may_have_added_something_since() -> None:
    """Nobody knows whether it has, and what became of children that may run at most once."""
    store = MemoryRunStore("run-1")
    tasks = (FILES, once(CLEAN), SIZES, REPORT)
    store.create_run(replace(make_spec(), version=2), "made", tasks)
    settle(store, "files", data=[1])
    stream = io.BytesIO()
    summary = Exporter(store, stream).write()
    snapshot = Snapshot.read(SnapshotReader(stream, "file"))
    assert (summary.live, summary.once) == (True, 1)
    taken = take(snapshot, tasks)
    found = {name: packed and status_of(packed) for name, packed, _progress in taken.outcomes}
    assert found == {"files": S.SUCCESS, "clean": S.UNKNOWN}
    with pytest.raises(SnapshotInvalid, match="may have started since"):
        take(snapshot, tasks, Taking(gap="refuse"))
    assert names(take(snapshot, tasks, Taking(gap="run"))) == {"files"}


def results(data: Any, **more: TaskResult) -> dict[str, TaskResult]:
    """The results of a pipeline, with these data of the mapped node."""
    done = {name: TaskResult(S.SUCCESS, data=name) for name in (*CHILDREN[:3], "files")}
    return {**done, "clean": TaskResult(S.SUCCESS, data=data), **more}


def test_a_mapping_with_data_of_a_node() -> None:
    """The node has these data, and no children."""
    taken = take(Snapshot(results([1, 2]), origin="o"))
    assert (nodes(taken), names(taken)) == ([], {"files", "clean"})


def test_a_mapping_that_has_lost_what_a_node_added() -> None:
    """Without the expansion, the node is evaluated again."""
    lost = results(Expanded("t", 3))
    taken = take(Snapshot(lost, origin="o"))
    assert (nodes(taken), names(taken)) == ([], {"files"})
    assert taken.warnings[0].startswith("task 'clean' runs again, since the snapshot does not have")
    with pytest.raises(SnapshotInvalid, match=r"'clean\[0\]', 'clean\[1\]', 'clean\[2\]' may run"):
        take(Snapshot(lost, origin="o"), (FILES, once(CLEAN), SIZES, REPORT))


def test_a_stranger_is_still_refused() -> None:
    """A task that no node of the workflow can have added."""
    with pytest.raises(SnapshotInvalid, match=r"the snapshot has task 'other\[0\]'"):
        take(Snapshot({"other[0]": TaskResult(S.SUCCESS)}, origin="o"))


def test_dropping_a_node_from_a_snapshot() -> None:
    """Takes what it had added out of the file, and what follows that."""
    snapshot = snapshot_of().without("clean")
    assert (set(snapshot), list(snapshot.expansions)) == ({"files", "report"}, [])
    assert set(snapshot.fingerprints) == {"files", "clean", "sizes", "report"}
    assert snapshot.dependents_of(["clean"]) == ["report"]
    assert list(snapshot_of().without("clean[1]").expansions) == ["clean", "sizes"]
    tasks = (FILES, once(CLEAN), SIZES, REPORT)
    with pytest.raises(SnapshotInvalid, match=r"tasks 'clean\[0\]', .* may run at most once"):
        snapshot_of(tasks).without("clean")


def test_refs_of_the_new_run_are_its_own() -> None:
    """A graph that is handed in does not grow."""
    graph = Graph.compile(PIPELINE)
    take_over(snapshot_of(), graph)
    assert len(graph) == 4
    assert graph.tasks[1].args == (Ref("files"),)
