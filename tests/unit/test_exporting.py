"""Exports of runs that grow, at every moment: consistent cuts."""

from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from distflow.core.graph import Graph
from distflow.core.model import Grow, Task
from distflow.core.status import TaskStatus
from distflow.errors import DistflowError, SnapshotInvalid
from distflow.runs import exporter
from distflow.runs.exporter import Exporter
from distflow.runs.transfer import import_run
from distflow.snapshot import Snapshot
from distflow.snapshot.reader import SnapshotReader
from distflow.store.memory.server import MemoryServer
from distflow.store.memory.store import MemoryRunStore
from distflow.wire.codec import status_of
from distflow.wire.tasks import decode_tasks
from tests.support.grown import PIPELINE, grown_run, settle
from tests.support.playing import Meddled, Play, judge
from tests.support.stores import make_spec

S = TaskStatus


def export(store: MemoryRunStore) -> bytes:
    """The file of a run."""
    stream = io.BytesIO()
    Exporter(store, stream).write()
    return stream.getvalue()


def read(content: bytes) -> tuple[Graph, dict[int, TaskStatus], Snapshot]:
    """The graph in a file, its outcomes, and all of it."""
    reader = SnapshotReader(io.BytesIO(content), "file")
    base = [decode_tasks(packed) for packed, _prints in reader.graph()]
    graph = Graph.compile(list(chain.from_iterable(base)))
    for saved in reader.expansions():
        for packed, _prints in saved.chunks:
            graph.grow(graph.index[saved.node], decode_tasks(packed))
    outcomes = {
        graph.index[known.task]: status_of(known.packed)
        for known in chain.from_iterable(reader.outcomes())
        if known.packed is not None
    }
    return graph, outcomes, Snapshot.read(reader)


def import_of(content: bytes, folder: Path) -> MemoryRunStore:
    """A run that is made of a file."""
    file = folder / "file"
    file.write_bytes(content)
    server = MemoryServer()
    import_run(file, lambda run_id: MemoryRunStore(run_id, server=server), run_id="copy", gap="run")
    return MemoryRunStore("copy", server=server)


@pytest.mark.parametrize("seed", range(150))
def test_exports_at_every_moment(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While tasks end and nodes expand between any two calls of the export, each outcome in the
    file comes with all that it rests on, and each expansion with its node. An import has all of it,
    and goes on.
    """
    rng = random.Random(seed)
    monkeypatch.setattr(exporter, "CUT_TASKS", rng.choice([1, 2, 3, 1000]))
    server = MemoryServer()
    store = Meddled("run-1", server)
    play = Play(rng, store, rng.randint(2, 7))
    for _step in range(rng.randint(0, 12)):
        play.step()
    store.rng = rng
    store.play = play
    content = export(store)
    store.play = None
    graph, outcomes, snapshot = read(content)
    assert judge(graph, outcomes) == []
    assert set(snapshot.fingerprints) == {task.name for task in graph.tasks}
    # The mapping in memory is the same file.
    copy = io.BytesIO()
    snapshot.dump(copy)
    again, same, _snapshot = read(copy.getvalue())
    assert (again.tasks, same) == (graph.tasks, outcomes)
    copied = Play.take_up(rng, import_of(content, tmp_path))
    assert (copied.graph.tasks, copied.outcomes) == (graph.tasks, outcomes)
    copied.finish()
    assert judge(copied.graph, copied.outcomes) == []
    play.finish()
    final, ends, _snapshot = read(export(store))
    assert judge(final, ends) == []
    assert final.tasks == play.source.compile().tasks
    assert ends == play.outcomes


def whole(count: int = 3) -> MemoryRunStore:
    """A pipeline that has expanded, some of whose children are done."""
    store = MemoryRunStore("run-1")
    store.create_run(replace(make_spec(), version=2), "made", PIPELINE)
    grown_run(store, count)
    return store


def test_what_a_node_stands_for_is_read_from_the_file() -> None:
    """A result in a snapshot is complete, or says only how many children there are; JSON has nodes,
    children and values.
    """
    store = whole()
    for number in range(3):
        settle(store, f"clean[{number}]", data=number * 2)
    settle(store, "sizes[0]", data="x")
    _graph, _outcomes, snapshot = read(export(store))
    assert snapshot["clean"].data == [0, 2, 4]
    assert snapshot["sizes"].data.children == 3
    document = json.loads(snapshot.to_json())
    assert document["results"]["clean"]["data"] == [0, 2, 4]
    assert document["results"]["sizes"]["data"] is None
    assert document["results"]["sizes[0]"]["data"] == "x"
    assert document["expansions"]["clean"] == {
        "kind": "map",
        "children": ["clean[0]", "clean[1]", "clean[2]"],
    }


def test_a_part_of_an_expansion_is_missing() -> None:
    """Then the run is damaged, and no file is written."""
    store = whole()
    record = store.server.runs["run-1"].expansions.records
    record["clean"] = record["clean"]._replace(children=4)
    with pytest.raises(DistflowError, match="Redis holds only 3 tasks of a graph of 4"):
        export(store)
    del store.server.runs["run-1"].expansions.chunks["t-sizes"]
    with pytest.raises(DistflowError, match="Redis has lost what 'sizes' has added: restore"):
        export(store)


def test_an_import_does_not_know_what_a_node_has_added_since(tmp_path: Path) -> None:
    """A plan may have added tasks that run at most once, and these may have started: it comes in as
    unknown, unless somebody says that the run stood still. A map of other tasks just runs.
    """
    store = MemoryRunStore("run-1")
    plan = Task("train", "m:train", grow=Grow("plan"))
    store.create_run(replace(make_spec(), version=2), "made", [*PIPELINE, plan])
    (tmp_path / "file").write_bytes(export(store))
    server = MemoryServer()
    said: list[str] = []

    def take(run_id: str, **more: Any) -> list[TaskStatus | None]:
        import_run(
            tmp_path / "file",
            lambda run_id: MemoryRunStore(run_id, server=server),
            run_id=run_id,
            warn=said.append,
            **more,
        )
        return MemoryRunStore(run_id, server=server).read_statuses(["clean", "train"])

    assert take("a") == [None, S.UNKNOWN]
    assert "task 'train' comes in as unknown" in said[0]
    assert take("b", gap="run") == [None, None]
    with pytest.raises(SnapshotInvalid, match="1 task that may run at most once"):
        take("c", gap="refuse")
    settle(store, "train", data=7)
    (tmp_path / "file").write_bytes(export(store))
    assert take("d") == [None, S.SUCCESS]
    assert len(said) == 1
