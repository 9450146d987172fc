"""Pictures of a run: no more often than somebody can see, and queues for who asks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from distflow.coordinator.pictures import Pictures
from distflow.core.graph import Graph
from distflow.core.model import Grow, Task
from distflow.core.picture import Picture
from distflow.core.state import TaskStateManager
from distflow.core.status import TaskStatus
from distflow.core.tally import Tally
from distflow.runs.session import Watcher


class Looking(Watcher):
    """Keeps what it sees."""

    wants_pictures = True

    def __init__(self) -> None:
        self.seen: list[Picture] = []

    def see(self, picture: Picture) -> None:
        self.seen.append(picture)


def test_a_loop_of_many_steps_shows_few_pictures() -> None:
    """Ten a second at most, however fast it turns; the queues of open tasks cost a look at each
    task, so they are there only when they were asked for.
    """
    graph = Graph.compile([Task("a", "m:f", queue="left"), Task("b", "m:f", depends_on=("a",))])
    mirror: Any = SimpleNamespace(
        graph=graph, state=TaskStateManager(graph, {}, {}, {}, 0), running={"a": 1000.0}
    )
    looking = Looking()
    pictures = Pictures(looking)
    for step in range(1000):
        pictures.show(mirror, 1000.0 + step / 1000)
    assert 9 <= len(looking.seen) <= 11
    assert {each.queues for each in looking.seen} == {None}
    looking.wants_queues = True
    pictures.show(mirror, 1002.0)
    last = looking.seen[-1]
    assert (last.queues, last.running) == ({"left"}, {"a": 2.0})
    assert last.counts["pending"] == 2


def test_a_picture_counts_children() -> None:
    """Of nodes whose children have not all ended: a line each, however many there are."""
    graph = Graph.compile(
        [Task("a", "m:f", grow=Grow("plan")), Task("b", "m:f", depends_on=("a",))]
    )
    state = TaskStateManager(graph, {}, {}, {}, 0)
    state.grow(0, graph.grow(0, [Task("a.x", "m:f"), Task("a.y", "m:f")]))
    state.on_finished(0, TaskStatus.SUCCESS)
    looking = Looking()
    pictures = Pictures(looking)
    mirror: Any = SimpleNamespace(graph=graph, state=state, running={})
    state.on_finished(2, TaskStatus.FAILURE)
    pictures.show(mirror, 1.0)
    assert looking.seen[-1].tallies == [Tally("a", "plan", 2, 1, 1)]
    state.on_finished(3, TaskStatus.SUCCESS)
    pictures.show(mirror, 2.0)
    assert looking.seen[-1].tallies == []


def test_nobody_looks_on() -> None:
    """Nothing is made for nobody: a mirror is not even looked at."""
    unread: Any = None
    Pictures(None).show(unread, 1.0)
    Pictures(Watcher()).show(unread, 1.0)
