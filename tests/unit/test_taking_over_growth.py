"""Random runs that grow, taken over at random moments: what stands is consistent, and goes on."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import pytest

from distflow.core.graph import Graph
from distflow.core.status import TaskStatus
from distflow.runs.exporter import Exporter
from distflow.runs.run_writer import write_run
from distflow.runs.takeover import Taking, take_over
from distflow.snapshot import Snapshot
from distflow.snapshot.reader import SnapshotReader
from distflow.store.memory.store import MemoryRunStore
from tests.support.playing import Play, judge
from tests.support.stores import make_spec


def play_a_while(rng: random.Random) -> tuple[Play, Snapshot]:
    """A run that somebody has stopped at some moment, and its snapshot then."""
    play = Play(rng, MemoryRunStore("run-1"), rng.randint(2, 7))
    for _step in range(rng.randint(0, 30)):
        play.step()
    stream = io.BytesIO()
    Exporter(play.store, stream, is_over=True).write()
    return play, Snapshot.read(SnapshotReader(stream, "file"))


def begin_anew(rng: random.Random, play: Play, snapshot: Snapshot, taking: Taking) -> Play:
    """A new run of the same workflow that has taken the snapshot over."""
    graph = Graph.compile(play.source.static)
    taken = take_over(snapshot, graph, taking)
    store = MemoryRunStore("run-2")
    write_run(store, replace(make_spec("run-2"), version=2), graph, taken)
    return Play.take_up(rng, store)


@pytest.mark.parametrize("seed", range(100))
def test_what_is_taken_over_stands(seed: int) -> None:
    """Each success comes with what it rests on, or that was evaluated again before; whatever was
    above failures only runs again. The new run ends.
    """
    rng = random.Random(seed)
    play, snapshot = play_a_while(rng)
    done = {play.graph.tasks[i].name for i, s in play.outcomes.items() if s == TaskStatus.SUCCESS}
    anew = begin_anew(rng, play, snapshot, Taking())
    taken = {anew.graph.tasks[index].name for index in anew.outcomes}
    assert taken <= done
    if TaskStatus.FAILURE not in play.outcomes.values():
        # Nothing is done again, and all that was added is there.
        assert taken == done
        assert {task.name for task in anew.graph.tasks} == {task.name for task in play.graph.tasks}
        assert judge(anew.graph, anew.outcomes) == []
    check_nodes(anew)
    anew.finish()
    check_nodes(anew)


@pytest.mark.parametrize("seed", range(100))
def test_what_is_left_out_takes_along_what_needs_it(seed: int) -> None:
    """A node goes with its children; no child is left whose node or sources are gone."""
    rng = random.Random(seed)
    play, snapshot = play_a_while(rng)
    names = [task.name for task in play.graph.tasks]
    without = rng.sample(names, min(len(names), rng.randint(1, 3)))
    rerun = rng.random() < 0.5
    anew = begin_anew(rng, play, snapshot, Taking(without=without, rerun_changed=rerun))
    assert not {anew.graph.tasks[index].name for index in anew.outcomes} & set(without)
    check_nodes(anew)
    if rerun and TaskStatus.FAILURE not in play.outcomes.values():
        assert judge(anew.graph, anew.outcomes) == []
    dropped = snapshot.without(*without)
    stream = io.BytesIO()
    dropped.dump(stream)
    again = Snapshot.read(SnapshotReader(stream, "file"))
    assert list(again) == list(dropped)
    assert list(again.expansions) == list(dropped.expansions)
    check_nodes(begin_anew(rng, play, again, Taking()))


def check_nodes(play: Play) -> None:
    """Nodes have run exactly if they have expanded, and so have the nodes of all children."""
    graph, outcomes = play.graph, play.outcomes
    for index, task in enumerate(graph.tasks):
        succeeded = task.grow is not None and outcomes.get(index) == TaskStatus.SUCCESS
        assert graph.is_grown(index) == succeeded, task.name
        assert graph.maker(index) < 0 or graph.is_grown(graph.maker(index)), task.name
