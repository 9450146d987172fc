"""Which tasks travel together: never before what they need, never long while a worker idles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distflow.core.batching import BatchComposer, BatchLimits, Estimates
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.state import TaskStateManager
from distflow.core.status import TaskStatus

LIMITS = BatchLimits(task_ms=0.2)


def compose(
    state: TaskStateManager,
    estimates: Estimates,
    *,
    slots: int = 99,
    workers: int = 2,
    idle: int = 2,
    alone: frozenset[int] = frozenset(),
) -> list[list[int]]:
    """What is sent to the queue ``default`` now."""
    composer = BatchComposer(state.graph, state.unmet, alone.__contains__, estimates, LIMITS)
    batches = []
    for batch in composer.compose(state.ready("default"), slots=slots, workers=workers, idle=idle):
        for index in batch:
            state.on_queued(index)
        batches.append(batch)
    return batches


def fresh(*tasks: Task) -> TaskStateManager:
    """A run that has just begun."""
    return TaskStateManager(Graph.compile(tasks), {}, {}, {}, 0)


def known(**ms: float) -> Estimates:
    """Functions that were measured, by name in the module ``m``."""
    estimates = Estimates(LIMITS)
    for name, value in ms.items():
        estimates.learn(f"m:{name}", value / 1000)
    return estimates


def fan(size: int, function: str = "m:short") -> TaskStateManager:
    """Tasks that depend on nothing."""
    return fresh(*[Task(f"t{i}", function) for i in range(size)])


def chain(size: int, function: str = "m:short") -> TaskStateManager:
    """Tasks in a row."""
    parents = [(f"t{i - 1}",) if i else () for i in range(size)]
    return fresh(*[Task(f"t{i}", function, depends_on=parents[i]) for i in range(size)])


def test_a_chain_travels_as_one() -> None:
    """Nobody else could take what comes later: it costs no one anything, however long it is."""
    assert compose(chain(500), known(short=0.1)) == [list(range(500))]
    assert compose(chain(500), Estimates(LIMITS)) == [list(range(500))]


def test_long_tasks_travel_alone() -> None:
    """Also at the end of a chain of short ones."""
    batches = compose(fan(3, "m:long"), known(long=5000))
    assert batches == [[0], [1], [2]]
    tasks = [Task("a", "m:short"), Task("b", "m:long", depends_on=("a",))]
    assert compose(fresh(*tasks), known(short=0.1, long=5000)) == [[0]]


def test_a_wide_fan_spreads_over_all_workers_at_once() -> None:
    """Work for a second is halved for each of two workers, and halved again: who is done early
    finds more.
    """
    batches = compose(fan(4000), known(short=0.05), slots=4)
    assert [len(batch) for batch in batches] == [1000, 750, 562, 422]


def test_work_that_keeps_idle_workers_busy_is_shared_evenly() -> None:
    """Forty milliseconds for two idle workers are twenty for each; with one idle it has it all."""
    half, other = compose(fan(40), known(short=0.8), slots=2)
    assert len(half) == len(other) == 20
    assert [len(batch) for batch in compose(fan(40), known(short=0.8), idle=1)] == [40]


def test_little_work_takes_what_follows_along() -> None:
    """Layers of short tasks: what depends on them travels with them, up to the floor."""
    tasks = [
        Task(f"l{layer}n{i}", "m:short", depends_on=(f"l{layer - 1}n{i}",) if layer else ())
        for layer in range(40)
        for i in range(20)
    ]
    (batch, *_rest) = compose(fresh(*tasks), known(short=0.05), slots=1)
    assert batch == list(range(200))


def test_what_was_never_measured_goes_in_small_portions() -> None:
    """A few at a time, until it is known how long they take."""
    batches = compose(fan(1000), Estimates(LIMITS), slots=4)
    assert sum(map(len, batches)) < 1000
    assert len(compose(fan(20), Estimates(LIMITS), slots=4)) > 1


def test_estimates_believe_bad_news_at_once() -> None:
    """A function that was thought short and takes long is long from then on; good news counts
    slowly.
    """
    estimates = known(f=1)
    estimates.learn("m:f", 10.0)
    assert estimates.run_ms("m:f") == 10_000
    estimates.learn("m:f", 0.0)
    assert estimates.run_ms("m:f") == pytest.approx(8000)


def test_a_task_that_must_travel_alone_does() -> None:
    """One that has lost a worker, or whose user said so."""
    assert compose(fan(5), known(short=0.1), alone=frozenset({2})) == [[0, 1], [2], [3, 4]]


def test_what_a_snapshot_knows_enables_nothing_twice() -> None:
    """A dependency that has its outcome already satisfies its dependents once, although its own
    dependency travels only now.
    """
    tasks = [
        Task("u", "m:f"),
        Task("a", "m:f"),
        Task("known", "m:f", depends_on=("a",)),
        Task("last", "m:f", depends_on=("u", "a", "known")),
    ]
    outcomes = {"u": TaskStatus.UNKNOWN, "known": TaskStatus.SUCCESS}
    state = TaskStateManager(Graph.compile(tasks), outcomes, {}, {}, 0)
    assert compose(state, known(f=0.1)) == [[1]]


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Small DAGs with functions of several lengths, priorities and two queues."""
    size = draw(st.integers(1, 25))
    tasks = []
    for i in range(size):
        parents = draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set()
        tasks.append(
            Task(
                f"t{i}",
                f"m:{draw(st.sampled_from(['short', 'middle', 'long', 'unknown']))}",
                depends_on=tuple(f"t{parent}" for parent in sorted(parents)),
                priority=draw(st.integers(-1, 1)),
                queue=draw(st.sampled_from(["default", "default", "other"])),
            )
        )
    return tasks


@settings(max_examples=300, deadline=None)
@given(graphs(), st.integers(1, 4), st.integers(0, 4), st.integers(1, 6))
def test_batches_keep_their_promises(
    tasks: list[Task], workers: int, idle: int, slots: int
) -> None:
    """For random graphs: each dependency is done or ahead in the same batch; no task travels twice
    or on another's queue; no batch takes longer than its share while a worker idles, save for what
    nobody else could take; each task is the best of those that could be next, by priority and then
    by their order; there are no more batches than asked for.
    """
    estimates = known(short=0.1, middle=8, long=400)
    state = fresh(*tasks)
    graph = state.graph
    ready = {i for i, task in enumerate(tasks) if not graph.parents[i] and task.queue == "default"}
    work = sum(estimates.cost_ms(tasks[i]) for i in ready)
    allowed = max(LIMITS.floor_ms, work / workers)
    batches = compose(state, estimates, slots=slots, workers=workers, idle=idle)
    assert len(batches) <= slots
    sent = [index for batch in batches for index in batch]
    assert len(sent) == len(set(sent))
    for batch in batches:
        spent = 0.0
        for position, index in enumerate(batch):
            assert tasks[index].queue == "default"
            assert set(graph.parents[index]) <= set(batch[:position])
            enabled = {
                i
                for i, task in enumerate(tasks)
                if task.queue == "default"
                and graph.parents[i]
                and set(graph.parents[i]) <= set(batch[:position])
            }
            could_be_next = (ready | enabled) - set(batch[:position])
            assert index == max(could_be_next, key=lambda i: (tasks[i].priority, -i))
            cost = estimates.cost_ms(tasks[index])
            if position:
                assert cost < LIMITS.floor_ms
                others = [
                    i
                    for i in range(len(tasks))
                    if i != index
                    and tasks[i].queue == "default"
                    and i not in sent
                    and set(graph.parents[i]) <= set(batch[:position])
                ]
                in_line = not others and not (ready - set(batch[:position]))
                assert in_line or spent + cost <= allowed
            spent += cost
        ready -= set(batch)
    assert all(state.statuses[index] == TaskStatus.QUEUED for index in sent)


def test_a_batch_has_room_for_so_many_bytes() -> None:
    """A batch is one job: heavy tasks travel with few others, and the heaviest alone."""
    state, heavy = fan(40), LIMITS.bytes // 4
    weights = {task.name: heavy for task in state.graph.tasks} | {"t0": LIMITS.bytes + 1, "t1": 0}
    composer = BatchComposer(
        *(state.graph, state.unmet, frozenset[int]().__contains__, known(short=0.1), LIMITS),
        weigh=lambda task: weights[task.name],
    )
    batches = list(composer.compose(state.ready("default"), slots=99, workers=1, idle=1))
    assert [len(batch) for batch in batches] == [1, 5, *[4] * 8, 2]
    assert [index for batch in batches for index in batch] == list(range(40))
