"""A run in memory that grows, played at random: without workers and without a coordinator."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from distflow.core.expansion import Expansion
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.run import TaskCut
from distflow.core.status import TaskStatus
from distflow.runs.graph_reader import GraphReader
from distflow.store.memory.server import MemoryServer
from distflow.store.memory.store import MemoryRunStore
from tests.support.grown import expand, settle
from tests.support.growth import GrowingGraph, Reference
from tests.support.stores import make_spec

S = TaskStatus


class Play:
    """A run of a random graph.

    Args:
        rng: the source of chance.
        store: where to create it.
        size: how many tasks it has before it grows; 0 creates no run.
    """

    def __init__(self, rng: random.Random, store: MemoryRunStore, size: int) -> None:
        self.rng = rng
        self.store = store
        self.source = GrowingGraph(rng, size)
        self.graph = self.source.compile()
        self.outcomes: dict[int, TaskStatus] = {}
        if size:
            spec = replace(make_spec(store.run_id), version=2)
            store.create_run(spec, "made", self.source.static)

    @classmethod
    def take_up(cls, rng: random.Random, store: MemoryRunStore) -> Play:
        """Go on with a run that is there."""
        play = cls(rng, store, 0)
        play.graph = GraphReader(store).read()
        names = [task.name for task in play.graph.tasks]
        found = enumerate(store.read_statuses(names))
        play.outcomes = {index: status for index, status in found if status is not None}
        return play

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen."""
        return not self._ready()

    def _ready(self) -> list[int]:
        found = Reference(self.graph, self.outcomes, set())
        fresh = [index for index in found.outcomes if index not in self.outcomes]
        for index in fresh:
            settle(self.store, self.graph.tasks[index].name, "skipped")
        self.outcomes = dict(found.outcomes)
        return [index for index, status in enumerate(found.statuses()) if status == S.READY]

    def step(self) -> None:
        """Let a task end that may run, if there is one."""
        ready = self._ready()
        if not ready:
            return
        index = self.rng.choice(ready)
        task = self.graph.tasks[index]
        ended = S.FAILURE if self.rng.random() < 0.1 else S.SUCCESS
        self.outcomes[index] = ended
        if task.grow is None or ended == S.FAILURE:
            settle(self.store, task.name, ended.value)
            return
        chunks = self.source.expand(self.graph, index)
        made: list[Task] = []
        for chunk in chunks:
            self.graph.grow(index, chunk)
            made += chunk
        expand(self.store, task.name, made, plan=task.grow.kind == "plan", chunk=2)

    def finish(self) -> None:
        """Let everything happen that may."""
        while not self.is_over:
            self.step()


class Meddled(MemoryRunStore):
    """A store between whose calls the run goes on.

    Args:
        run_id: the run.
        server: where it lives.
    """

    def __init__(self, run_id: str, server: MemoryServer) -> None:
        super().__init__(run_id, server=server)
        self.play: Play | None = None
        self.rng = random.Random(0)

    def _go_on(self) -> None:
        if self.play is not None:
            for _step in range(self.rng.randint(0, 2)):
                self.play.step()

    def read_cut(self, names: Sequence[str]) -> list[TaskCut]:
        self._go_on()
        return super().read_cut(names)

    def read_expansions(self) -> dict[str, Expansion]:
        self._go_on()
        return super().read_expansions()

    def read_expansion(self, node: str) -> Expansion | None:
        found = super().read_expansion(node)
        self._go_on()
        return found

    def read_chunk(self, token: str, number: int) -> list[Task]:
        self._go_on()
        return super().read_chunk(token, number)


def judge(graph: Graph, outcomes: dict[int, TaskStatus]) -> list[str]:
    """What is wrong with the outcomes of a graph: successes that rest on something that is not
    there, nodes without their expansion, expansions without their node.
    """
    found = Reference(graph, outcomes, set())
    wrong = []
    for index, task in enumerate(graph.tasks):
        status = outcomes.get(index)
        maker = graph.maker(index)
        if status is not None and maker >= 0 and outcomes.get(maker) != S.SUCCESS:
            wrong.append(f"{task.name} was added by {graph.tasks[maker].name}, which has not run")
        if graph.is_grown(index) != (task.grow is not None and status == S.SUCCESS):
            wrong.append(f"{task.name} is {status}, and has it expanded? {graph.is_grown(index)}")
        if status != S.SUCCESS:
            continue
        wrong += [
            f"{task.name} rests on {graph.tasks[parent].name}"
            for parent in graph.parents[index]
            if not found._is_met(index, parent)
        ]
    return wrong
