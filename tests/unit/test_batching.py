"""Which tasks travel together: never before what they need, never long while a worker idles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distflow.core.batching import BatchComposer, BatchLimits, Estimates, find_behind
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.pacing import Crew
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
    for batch in composer.compose(state.ready("default"), Crew(workers, idle), slots=slots):
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
    """Nobody else could take what comes later: it costs no one anything, for half a second."""
    assert compose(chain(500), known(short=0.1)) == [list(range(500))]
    (batch,) = compose(chain(500), known(short=10))
    assert batch == list(range(49))
    (batch,) = compose(chain(500), Estimates(LIMITS))
    assert batch == list(range(96))


def test_no_batch_is_made_for_longer_than_half_a_second() -> None:
    """However much there is to do: what is urgent in another run waits behind each."""
    batches = compose(fan(6000), known(short=10), slots=4)
    assert [len(batch) for batch in batches] == [49] * 4


@pytest.mark.parametrize(
    ("size", "idle", "expected"),
    [
        (2, 2, [[0], [1]]),
        (3, 2, [[0, 1], [2]]),
        (3, 3, [[0], [1], [2]]),
        (3, 4, [[0], [1], [2]]),
        (4, 2, [[0, 1], [2, 3]]),
        (2, 1, [[0, 1]]),
        (2, 0, [[0, 1]]),
    ],
)
def test_what_was_never_measured_is_spread_over_those_that_idle(
    size: int, idle: int, expected: list[list[int]]
) -> None:
    """Before any of it is stacked: it may be long."""
    assert compose(fan(size), Estimates(LIMITS), workers=4, idle=idle) == expected


def fork(function: str) -> TaskStateManager:
    """Two tasks that rest on a short one."""
    children = [Task(name, function, depends_on=("root",)) for name in ("a", "b")]
    return fresh(Task("root", "m:short"), *children)


def test_what_follows_and_was_never_measured_is_for_those_that_idle() -> None:
    """Unless it follows in a line, or nobody idles but who takes the batch."""
    estimates = known(short=0.1)
    assert compose(fork("m:new"), estimates, idle=2) == [[0]]
    assert compose(fork("m:new"), estimates, idle=1) == [[0, 1, 2]]
    assert compose(fork("m:short"), estimates, idle=2) == [[0, 1, 2]]
    assert compose(chain(3, "m:new"), estimates, idle=2) == [[0, 1, 2]]


def with_setup(ms: float, **run_ms: float) -> Estimates:
    """Functions that were measured, whose module takes so long to be imported."""
    estimates = known(**run_ms)
    for name in run_ms:
        estimates.learn_setup(f"m:{name}", ms)
    return estimates


def test_a_batch_is_worth_what_it_costs() -> None:
    """Where a module takes half a second to be imported, so much work travels together, tasks of
    more than 50 ms too; half a second of work, however costly the import is.
    """
    for ms in (500, 5000):
        batches = compose(fan(120), with_setup(ms, short=20), idle=2)
        assert [len(batch) for batch in batches[:3]] == [24, 24, 24]
    batches = compose(fan(100), with_setup(500, short=60), idle=0, slots=3)
    assert [len(batch) for batch in batches] == [8, 8, 8]
    assert compose(fan(2), with_setup(500, short=60), idle=0) == [[0, 1]]


def test_little_work_after_a_costly_setup_is_shared_by_those_that_idle() -> None:
    """All of them have as much. What spares less than a quarter of the setup stays together; and
    nothing waits behind a task of 100 ms where another worker idles.
    """
    estimates = with_setup(500, short=20, middle=120)
    assert [len(batch) for batch in compose(fan(20), estimates)] == [10, 10]
    assert [len(batch) for batch in compose(fan(15), estimates)] == [8, 7]
    assert [len(batch) for batch in compose(fan(6), estimates)] == [6]
    assert compose(fan(2, "m:middle"), estimates) == [[0], [1]]


def test_a_setup_is_a_moving_mean_within_bounds() -> None:
    """Bad news are believed at once, good ones halve it; a clock that was set, or a Redis that was
    away, makes none of less than nothing or more than ten seconds.
    """
    estimates = Estimates(LIMITS)
    assert estimates.setup_ms("m:f") == 0
    for ms, expected in ((500, 500), (0, 250), (-1e9, 125), (1e9, 10_000)):
        estimates.learn_setup("m:f", ms)
        assert estimates.setup_ms("m:f") == expected


def test_what_a_task_costs_beyond_its_call_is_measured() -> None:
    """Where Redis is far away, half a second holds fewer tasks. It is never taken for less than is
    assumed, and what is recorded along with others is another thing.
    """
    estimates = known(short=0.1)
    tasks = fan(100).graph.tasks
    estimates.learn_overhead(tasks, 200.0)
    assert estimates.real_ms(tasks[0]) == pytest.approx(0.1 + LIMITS.task_ms)
    estimates.learn_overhead(tasks, 400.0)
    assert estimates.real_ms(tasks[0]) == pytest.approx(4.0)
    (batch,) = compose(chain(500), estimates)
    assert len(batch) == 125
    # How work is shared is another question: there a job costs more as well.
    assert estimates.cost_ms(tasks[0]) == pytest.approx(0.1 + LIMITS.task_ms)
    grouped = tasks[0]._replace(effects="idempotent")
    assert estimates.real_ms(grouped) == pytest.approx(0.1 + LIMITS.grouped_ms)
    for _ in range(50):
        estimates.learn_overhead(tasks, 0.0)
    assert estimates.real_ms(tasks[0]) == pytest.approx(0.1 + LIMITS.task_ms, rel=1e-3)
    before = estimates.real_ms(tasks[0])
    # Of tasks that differ, and of one that was not timed, nothing is known.
    estimates.learn_overhead((tasks[0], grouped), 1e6)
    estimates.learn_overhead((Task("new", "m:new"),), 1e6)
    assert estimates.real_ms(tasks[0]) == before
    # A worker was frozen: they go on to travel together, so that more is learned.
    estimates.learn_overhead(tasks, 1e6)
    assert estimates.real_ms(tasks[0]) == pytest.approx(5.1)
    assert len(compose(fan(500), estimates)[0]) > 20


@pytest.mark.parametrize(("done", "expected"), [(9, 24.2), (10, 26.0)])
def test_a_batch_of_ten_tasks_tells_what_each_costs(done: int, expected: float) -> None:
    """Without what it took until the first call, which is that of another function perhaps."""
    estimates = known(short=24)
    estimates.learn_setup("m:first", 500)
    tasks = fan(done).graph.tasks
    estimates.learn_batch(Task("first", "m:first"), tasks, 500 + 26 * done)
    assert estimates.real_ms(tasks[0]) == pytest.approx(expected)


@pytest.mark.parametrize(("ms", "expected"), [(249.9, 0.3), (250.0, 2.5)])
def test_of_a_short_batch_little_is_known(ms: float, expected: float) -> None:
    """What it costs itself is no task's: a quarter of a second tells that they cost more."""
    estimates, tasks = known(short=0.1), fan(100).graph.tasks
    estimates.learn_overhead(tasks, ms)
    assert estimates.real_ms(tasks[0]) == pytest.approx(expected)


def test_tasks_that_are_recorded_together_cost_less() -> None:
    """What each costs is learned by itself, and never taken for less than is assumed of it; one
    task that filled its batch is enough.
    """
    estimates = known(short=0.1, long=100)
    plain = Task("a", "m:short")
    grouped = plain._replace(effects="idempotent")
    assert estimates.cost_ms(grouped) == pytest.approx(0.1 + LIMITS.grouped_ms)
    # What is ended from outside, or takes long, is recorded by itself.
    ended = grouped._replace(timeout=5.0)
    assert estimates.cost_ms(ended) == pytest.approx(0.1 + LIMITS.task_ms)
    long = grouped._replace(function="m:long")
    assert estimates.cost_ms(long) == pytest.approx(100 + LIMITS.task_ms)
    estimates.learn_overhead([grouped] * 100, 400.0)
    assert estimates.real_ms(grouped) == pytest.approx(4.0)
    assert estimates.real_ms(plain) == pytest.approx(0.1 + LIMITS.task_ms)
    for _ in range(50):
        estimates.learn_overhead([grouped] * 100, 0.0)
    assert estimates.real_ms(grouped) == pytest.approx(0.1 + LIMITS.grouped_ms, rel=1e-3)
    estimates.learn_overhead([grouped], 250.0)
    assert estimates.real_ms(grouped) == pytest.approx(5.1)


def test_what_waits_behind_a_task_and_does_not_rest_on_it() -> None:
    """Another worker could take it: not what the task at work must end for, directly or not."""
    graph = fresh(
        Task("at-work", "m:f"),
        Task("rests", "m:f", depends_on=("at-work",)),
        Task("free", "m:f"),
        Task("rests-too", "m:f", depends_on=("free", "rests")),
        Task("follows", "m:f", depends_on=("free",)),
    ).graph
    batch = list(range(5))
    assert find_behind(batch, graph.parents, lambda _index: True) == [2, 4]
    # It has ended, and so has the one that rested on it.
    assert find_behind(batch, graph.parents, lambda index: index in (1, 2, 3)) == [2]
    assert find_behind(batch, graph.parents, lambda index: index > 1) == []
    assert find_behind(batch, graph.parents, lambda _index: False) == []


def test_of_a_mixture_what_was_never_measured_is_spread() -> None:
    """What was measured travels along with either half of it."""
    tasks = [Task(f"t{i}", f"m:{name}") for i, name in enumerate(["short", "short", "new", "new"])]
    assert compose(fresh(*tasks), known(short=0.1), idle=2) == [[0, 1, 2], [3]]


def test_an_even_share_is_one_in_whole_tasks() -> None:
    """Ten tasks for three workers that idle are four, three and three."""
    batches = compose(fan(10), known(short=9.8), workers=4, idle=3)
    assert [len(batch) for batch in batches] == [4, 3, 3]


def test_what_nobody_idles_for_takes_along_what_follows() -> None:
    """The one worker that idles has its batch; the next one waits, and may as well have more."""
    last = [Task(name, "m:short", depends_on=("t6",)) for name in ("a", "b")]
    tasks = [*[Task(f"t{i}", "m:short") for i in range(7)], *last]
    batches = compose(fresh(*tasks), known(short=9.8), idle=1, slots=2)
    assert batches == [[0, 1, 2, 3, 4], [5, 6, 7, 8]]


def test_after_a_costly_setup_all_workers_have_a_share() -> None:
    """Also where all of them are at work: half each of what is worth a setup to both."""
    batches = compose(fan(8), with_setup(200, short=19.8), idle=0)
    assert [len(batch) for batch in batches] == [4, 4]


def test_a_batch_has_so_many_tasks_at_most() -> None:
    """However short they are; and where nothing is ready there is no work."""
    state, limits = fan(7), LIMITS._replace(tasks=3)
    composer = BatchComposer(
        *(state.graph, state.unmet, frozenset[int]().__contains__, known(short=0.01), limits)
    )
    ready = state.ready("default")
    batches = list(composer.compose(ready, Crew(1, 1), slots=99))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert composer.work_ms(ready) == 0


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


def test_estimates_believe_bad_news_at_once() -> None:
    """A function that was thought short and takes long is long from then on; good news counts
    slowly.
    """
    estimates = known(f=1)
    estimates.learn("m:f", 10.0)
    assert estimates.run_ms("m:f") == 10_000
    estimates.learn("m:f", 0.0)
    assert estimates.run_ms("m:f") == pytest.approx(8000)


@pytest.mark.parametrize(("ms", "expected"), [(40.5, 16.1), (41.5, 41.5)])
def test_news_are_bad_from_four_times_as_much(ms: float, expected: float) -> None:
    """And a millisecond: less counts slowly."""
    estimates = known(f=10)
    estimates.learn("m:f", ms / 1000)
    assert estimates.run_ms("m:f") == pytest.approx(expected)


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


def test_what_rests_on_two_tasks_follows_both() -> None:
    """A diamond travels as one, also where one of its tasks has its outcome already."""
    needs = {"root": (), "a": ("root",), "b": ("root",), "join": ("a", "b")}
    tasks = [Task(name, "m:f", depends_on=parents) for name, parents in needs.items()]
    assert compose(fresh(*tasks), known(f=0.1)) == [[0, 1, 2, 3]]
    state = TaskStateManager(Graph.compile(tasks), {"a": TaskStatus.SUCCESS}, {}, {}, 0)
    assert compose(state, known(f=0.1)) == [[0, 2, 3]]


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
                assert spent + cost <= (LIMITS.longest_ms if in_line else allowed)
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
    batches = list(composer.compose(state.ready("default"), Crew(1, 1), slots=99))
    assert [len(batch) for batch in batches] == [1, 5, *[4] * 8, 2]
    assert [index for batch in batches for index in batch] == list(range(40))
