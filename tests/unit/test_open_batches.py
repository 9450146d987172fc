"""How many batches are out, and whose turn it is: for workers, for a run, and between runs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distflow.coordinator import fleet as fleet_module
from distflow.coordinator.fleet import Fleet
from distflow.coordinator.open_batches import OpenBatches
from distflow.coordinator.service import CoordinatorService
from distflow.core.batches import Batch
from distflow.core.batching import BatchLimits
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.state import TaskStateManager
from distflow.core.status import TaskStatus
from distflow.store.memory.store import MemoryRunStore
from tests.support.stores import make_spec


@pytest.fixture(scope="module", autouse=True)
def at_once() -> Iterator[None]:
    """Little work is not held back: time stands still here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet_module, "BatchLimits", lambda: BatchLimits(linger_ms=0.0))
        yield


class Queues:
    """Takes batches as a dispatcher does; so many workers listen to each queue."""

    def __init__(self, workers: Mapping[str, int]) -> None:
        self.workers = workers
        #: Every batch that was sent, in this order.
        self.sent: list[Batch] = []
        #: Those that have not ended.
        self.out: list[Batch] = []

    def count_workers(self, queues: Sequence[str]) -> Mapping[str, int]:
        """As many as there are."""
        return {queue: self.workers.get(queue, 0) for queue in queues}

    def dispatch(self, batches: Collection[Batch]) -> None:
        """They are out now."""
        self.sent += batches
        self.out += batches


class Led:
    """A run as a service leads it: what becomes of its batches is told by the test."""

    wake_at, last_event, at_work = 0.0, "", True

    def __init__(
        self, run_id: str, tasks: Sequence[Task], fleet: Fleet, concurrency: int | None
    ) -> None:
        self.run_id = run_id
        self.concurrency = concurrency
        self.graph = Graph.compile(tasks)
        self.state = TaskStateManager(self.graph, {}, {}, {}, 0)
        store = MemoryRunStore(run_id)
        store.create_run(make_spec(run_id, concurrency), "creation")
        self.outbox = OpenBatches(fleet, store.read_info(), 1, self.state, {})
        self.take_batches = partial(self.outbox.take_batches, 0.0)

    @property
    def hungry(self) -> bool:
        """Whether tasks are ready."""
        return bool(self.state.queues())

    def end(self, batch: Batch, done: int) -> None:
        """A batch has ended, after so many of its tasks."""
        for task in batch.tasks[:done]:
            index = self.graph.index[task.name]
            self.state.on_claimed(index)
            self.state.on_finished(index, TaskStatus.SUCCESS)
        self.outbox.take_back(batch.id, 0.0)


class Scene:
    """A service that leads several runs.

    Args:
        runs: the tasks of each.
        workers: how many listen to each queue.
        concurrency: of each run.
    """

    def __init__(
        self,
        runs: Sequence[Sequence[Task]],
        workers: Mapping[str, int],
        concurrency: Sequence[int | None],
    ) -> None:
        self.queues = Queues(workers)
        nothing: Any = threading.Event()
        nothing.renew_leases = None
        backend: Any = SimpleNamespace(
            service=nothing, dispatcher=self.queues, store=lambda _run: nothing
        )
        backend.with_patience = lambda _seconds: backend
        self.service = CoordinatorService(backend, threading.Event())
        fleet = self.service._shared.fleet
        for name, ms in (("short", 0.1), ("middle", 8.0), ("long", 400.0)):
            fleet.estimates.learn(f"m:{name}", ms / 1000)
        self.runs = {
            f"run{number}": Led(f"run{number}", tasks, fleet, limit)
            for number, (tasks, limit) in enumerate(zip(runs, concurrency, strict=True))
        }

    def send(self) -> list[Batch]:
        """Let the service send what there is room for; returns that."""
        before = len(self.queues.sent)
        for run in self.runs.values():
            self.service._note(run)  # type: ignore[arg-type]
        self.service._send()
        return self.queues.sent[before:]

    def end(self, position: int, done: int) -> None:
        """One of the batches that are out has ended, after so many of its tasks."""
        batch = self.queues.out.pop(position)
        self.runs[batch.run_id].end(batch, done)


@st.composite
def task_lists(draw: st.DrawFn) -> list[Task]:
    """Small DAGs over two queues, with functions of several lengths."""
    tasks = []
    for i in range(draw(st.integers(1, 9))):
        parents = draw(st.sets(st.integers(0, i - 1), max_size=2)) if i else set()
        function = f"m:{draw(st.sampled_from(['short', 'middle', 'long', 'unknown']))}"
        queue = draw(st.sampled_from(["default", "default", "other"]))
        names = tuple(f"t{parent}" for parent in sorted(parents))
        tasks.append(Task(f"t{i}", function, depends_on=names, queue=queue))
    return tasks


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_more_is_out_than_there_is_room_for(data: st.DataObject) -> None:
    """For random runs that share workers, whatever ends when: at most two batches per live worker
    and queue are out (two where nobody listens), no run has more out than its concurrency, and each
    dependency of a task that is sent has succeeded or is ahead of it in the same batch. All comes
    to its end.
    """
    graphs = data.draw(st.lists(task_lists(), min_size=1, max_size=3))
    limits = data.draw(st.lists(st.sampled_from([None, 1, 2]), min_size=3, max_size=3))
    workers = {"default": data.draw(st.integers(0, 3)), "other": data.draw(st.integers(0, 2))}
    scene = Scene(graphs, workers, limits[: len(graphs)])
    rounds = 0
    scene.send()
    while out := scene.queues.out:
        for queue, count in Counter(batch.queue for batch in out).items():
            assert count <= 2 * max(1, workers[queue])
        for run_id, count in Counter(batch.run_id for batch in out).items():
            assert count <= (scene.runs[run_id].concurrency or count)
        for batch in out:
            assert_in_order(scene.runs[batch.run_id], batch)
        position = data.draw(st.integers(0, len(out) - 1))
        size = len(out[position].tasks)
        # Some give back what they have not begun, and still get on.
        rounds += 1
        scene.end(position, size if rounds > 20 else data.draw(st.integers(0, size)))
        for run in scene.runs.values():
            # What came back more than once waits for a second.
            run.state.on_time(1 << 62)
        scene.send()
    for run in scene.runs.values():
        assert set(run.state.statuses) <= {TaskStatus.SUCCESS}


def assert_in_order(run: Led, batch: Batch) -> None:
    """What each task of a batch needs has succeeded, or is ahead of it."""
    ahead: set[str] = set()
    for task in batch.tasks:
        for parent in task.depends_on:
            done = run.state.statuses[run.graph.index[parent]] == TaskStatus.SUCCESS
            assert done or parent in ahead
        ahead.add(task.name)


def fan(size: int, function: str = "m:middle") -> list[Task]:
    """Tasks that depend on nothing."""
    return [Task(f"t{i}", function) for i in range(size)]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(1, 3), st.data())
def test_runs_take_turns(count: int, workers: int, data: st.DataObject) -> None:
    """However much others have to do, and whichever batch ends first: a run that has something to
    send waits for one batch of each of them, and no longer.
    """
    sizes = [data.draw(st.sampled_from([400, 900]), label="size") for _ in range(count)]
    scene = Scene([fan(size) for size in sizes], {"default": workers}, [None] * count)
    scene.send()
    for _ in range(3 * count):
        position = data.draw(st.integers(0, len(scene.queues.out) - 1))
        scene.end(position, len(scene.queues.out[position].tasks))
        scene.send()
    order = [batch.run_id for batch in scene.queues.sent]
    for start in range(len(order) - count + 1):
        assert len(set(order[start : start + count])) == count, order


def test_a_run_that_comes_later_need_not_wait_for_the_others_to_end() -> None:
    """All room is taken by one run; of the next two that are free, the newcomer has one."""
    scene = Scene([fan(3000), fan(2)], {"default": 2}, [None, None])
    late = scene.runs.pop("run1")
    assert [batch.run_id for batch in scene.send()] == ["run0"] * 4
    scene.runs["run1"] = late
    for _ in range(2):
        scene.end(0, len(scene.queues.out[0].tasks))
        scene.send()
    assert [batch.run_id for batch in scene.queues.sent[4:]] == ["run0", "run1"]


def test_a_batch_that_is_over_makes_room_again() -> None:
    """Two batches per worker, one in where one has ended, none where a worker has gone."""
    scene = Scene([fan(3000)], {"default": 2}, [None])
    assert len(scene.send()) == 4
    assert scene.send() == []
    scene.end(0, 1)
    assert len(scene.send()) == 1
    scene.queues.workers = {"default": 1}
    scene.service._shared.fleet.count_workers()
    scene.end(0, 1)
    scene.end(0, 1)
    assert scene.send() == []
    scene.end(0, 1)
    assert len(scene.send()) == 1
