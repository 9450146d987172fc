"""TaskStateManager against a model that computes everything anew, at random."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.run import Claim
from distflow.core.state import TaskStateManager
from distflow.core.status import RunStatus, TaskStatus
from tests.support.ready import take_ready

S = TaskStatus
BAD = {S.FAILURE, S.SKIPPED, S.CANCELLED}
OPEN = {S.READY, S.QUEUED, S.CLAIMED, S.STARTED, S.WAITING}
HELD = Claim(1, 1, "token", "batch", claimed=1, started=0, base=0, lost=0)

Event = tuple[str, int, Any]


def apply(state: TaskStateManager, event: Event, now_ms: int) -> None:
    """Tell the manager an event as a coordinator does."""
    kind, index, value = event
    if kind == "claimed":
        state.on_claimed(index)
    elif kind == "finished":
        state.on_finished(index, value)
    elif kind == "waiting":
        state.on_waiting(index, value, now_ms)
    else:
        state.on_resolved(index, value)


class Model:
    """What the store and the queues hold of a run, and what must follow from that alone."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outcomes: dict[int, TaskStatus] = {}
        self.claims: set[int] = set()
        self.due: dict[int, int] = {}
        self.queued: set[int] = set()
        #: Skipped because of another task.
        self.cascaded: set[int] = set()
        self.events: list[Event] = []
        self.now = 0

    def satisfied(self, index: int) -> bool:
        status = self.outcomes.get(index)
        tolerated = self.graph.tasks[index].continue_on_error
        return status == S.SUCCESS or (status == S.FAILURE and tolerated)

    def cascade(self) -> None:
        """Record, as the coordinator would, what must be skipped."""
        for index in self.graph.order:
            held = index in self.outcomes or index in self.claims
            if not held and any(
                self.outcomes.get(parent) in BAD and not self.satisfied(parent)
                for parent in self.graph.parents[index]
            ):
                self.outcomes[index] = S.SKIPPED
                self.cascaded.add(index)

    def status(self, index: int) -> TaskStatus:
        if index in self.outcomes:
            return self.outcomes[index]
        if index in self.claims:
            return S.CLAIMED
        if not all(self.satisfied(parent) for parent in self.graph.parents[index]):
            return S.PENDING
        if self.due.get(index, 0) > self.now:
            return S.WAITING
        return S.QUEUED if index in self.queued else S.READY

    def statuses(self) -> list[TaskStatus]:
        return [self.status(index) for index in range(len(self.graph))]

    def having(self, *wanted: TaskStatus) -> list[int]:
        return [index for index, status in enumerate(self.statuses()) if status in wanted]

    def ready(self, queue: str) -> list[int]:
        tasks = self.graph.tasks
        found = [index for index in self.having(S.READY) if tasks[index].queue == queue]
        return sorted(found, key=lambda index: (-tasks[index].priority, index))

    def verdict(self) -> RunStatus:
        if S.UNKNOWN in self.outcomes.values() or self.having(S.PENDING):
            return RunStatus.BLOCKED
        if not all(self.satisfied(i) for i, s in self.outcomes.items() if s == S.FAILURE):
            return RunStatus.FAILURE
        return RunStatus.CANCELLED if S.CANCELLED in self.outcomes.values() else RunStatus.SUCCESS

    def restored(self, rng: random.Random) -> TaskStateManager:
        """What a coordinator that starts now makes of the store; its predecessor may have died
        before it wrote all that is skipped.
        """
        name = [task.name for task in self.graph.tasks]
        self.queued.clear()
        unwritten = {index for index in self.cascaded if rng.random() < 0.3}
        return TaskStateManager(
            self.graph,
            {
                name[index]: status
                for index, status in self.outcomes.items()
                if index not in unwritten
            },
            {name[index]: HELD for index in self.claims},
            {name[index]: Progress(not_before=due) for index, due in self.due.items()},
            self.now,
        )

    def record(self, kind: str, index: int, value: Any = None) -> Event:
        """Let something happen in the store."""
        if kind == "claimed":
            self.queued.discard(index)
            self.claims.add(index)
        elif kind == "waiting":
            self.due[index] = value
        elif value != S.READY:
            self.outcomes[index] = value
        if kind != "claimed":
            self.claims.discard(index)
        if kind == "waiting" or value == S.READY:
            self.outcomes.pop(index, None)
        self.events.append((kind, index, value))
        return self.events[-1]


def ancestors(graph: Graph, index: int) -> set[int]:
    """Every task that must end before this one."""
    found: set[int] = set()
    for parent in graph.parents[index]:
        found |= {parent, *ancestors(graph, parent)}
    return found


def check(state: TaskStateManager, model: Model) -> None:
    """All that the manager says is what the model computes anew."""
    model.cascade()
    index = model.graph.index
    for skip in state.take_skips():
        root = index[skip.message.split("'")[1]]
        assert root in ancestors(model.graph, skip.task) - model.cascaded
        assert skip.message == f"not run: {state.graph.tasks[root].name!r} ended as " + (
            model.outcomes[root].value
        )
    expected = model.statuses()
    assert state.statuses == expected
    counts = Counter(expected)
    assert state.counts == {status: counts[status] for status in TaskStatus}
    assert state.claimed == counts[S.CLAIMED]
    assert state.in_flight == counts[S.CLAIMED] + counts[S.QUEUED]
    assert state.is_over == (not counts.keys() & OPEN)
    assert state.verdict(cancelled=False) == model.verdict()
    if state.is_over and not counts[S.UNKNOWN]:
        assert not counts[S.PENDING], "it stalled silently"
    dues = [model.due[index] for index in model.having(S.WAITING)]
    next_due = state.next_due()
    assert not dues or (next_due is not None and model.now < next_due <= min(dues))


def dispatch(state: TaskStateManager, model: Model, limit: int) -> None:
    """Take what is ready from every queue: the best first, and nothing twice."""
    for queue in ("a", "b"):
        taken = take_ready(state, queue, limit)
        assert taken == model.ready(queue)[:limit]
        for index in taken:
            state.on_queued(index)
            model.queued.add(index)


def happen(model: Model, rng: random.Random) -> Event | None:
    """Something that workers or people may do now; None where there is nothing."""
    kind = rng.choice(["claimed", "claimed", "finished", "waiting", "decided", "late"])
    held, unknown = sorted(model.claims), model.having(S.UNKNOWN)
    claimable = model.having(S.READY, S.QUEUED)
    status = rng.choice([S.SUCCESS] * 4 + [S.FAILURE, S.SKIPPED, S.CANCELLED, S.UNKNOWN])
    if kind == "claimed" and claimable:
        return model.record("claimed", rng.choice(claimable))
    if kind == "finished" and held:
        return model.record("finished", rng.choice(held), status)
    if kind == "waiting" and held + unknown:
        return model.record("waiting", rng.choice(held + unknown), model.now + rng.randint(0, 3))
    if kind == "decided" and unknown:
        decision = rng.choice([S.SUCCESS, S.FAILURE, S.READY])
        return model.record("resolved", rng.choice(unknown), decision)
    if kind == "late" and unknown:
        return model.record("finished", rng.choice(unknown), status)
    return None


def random_graph(rng: random.Random) -> Graph:
    """Up to a dozen tasks, in any order of definition, on two queues."""
    size = rng.randint(1, 12)
    density = rng.choice([0.1, 0.3, 0.6])
    tasks = [
        Task(
            f"t{i}",
            "m:f",
            depends_on=tuple(f"t{j}" for j in range(i) if rng.random() < density),
            continue_on_error=rng.random() < 0.3,
            priority=rng.randint(0, 2),
            queue=rng.choice("aab"),
        )
        for i in range(size)
    ]
    return Graph.compile(rng.sample(tasks, size))


@settings(max_examples=250)
@given(st.integers(0), st.integers(1, 60))
def test_it_follows_the_store(seed: int, steps: int) -> None:
    """Promise 4: whatever happens, in whatever order and however often it is told, a manager
    that followed all along and one that starts now know the same; and every run ends.
    """
    # Not Hypothesis's own random numbers: those prefer small ones, and meet less.
    rng = random.Random(seed)
    model = Model(random_graph(rng))
    state = model.restored(rng)
    for _step in range(steps):
        check(state, model)
        action = rng.random()
        if action < 0.25:
            dispatch(state, model, rng.randint(0, 3))
        elif action < 0.7:
            event = happen(model, rng)
            # A lost reply, a page of the stream that is read again: told once or twice.
            for _time in range(rng.randint(1, 2) if event else 0):
                apply(state, event, model.now)  # type: ignore[arg-type]
        elif action < 0.8:
            model.now += rng.randint(1, 3)
            state.on_time(model.now)
        elif action < 0.88:
            # Where it is not queued any more, its batch did claim it.
            index = rng.randrange(len(model.graph))
            model.queued.discard(index)
            state.on_unstarted(index)
        elif action < 0.98:
            # A take-over: the hashes first, then events from some point before that.
            state = model.restored(rng)
            for event in model.events[rng.randint(0, len(model.events)) :]:
                apply(state, event, model.now)
        else:
            pending = model.having(S.PENDING, S.READY, S.QUEUED, S.WAITING)
            assert state.cancel_open() == pending
            model.outcomes.update(dict.fromkeys(pending, S.CANCELLED))
    check(state, model)
    drain(state, model)


def drain(state: TaskStateManager, model: Model) -> None:
    """Let everything go well from here on: the run must end, and every task with it."""
    model.now += 100
    state.on_time(model.now)
    while not state.is_over or model.having(S.UNKNOWN):
        before = model.statuses()
        dispatch(state, model, 99)
        for index in model.having(S.QUEUED):
            apply(state, model.record("claimed", index), model.now)
        for index in sorted(model.claims):
            apply(state, model.record("finished", index, S.SUCCESS), model.now)
        for index in model.having(S.UNKNOWN):
            apply(state, model.record("resolved", index, S.FAILURE), model.now)
        check(state, model)
        assert model.statuses() != before, "it stalled silently"
    assert set(model.statuses()) <= {S.SUCCESS, *BAD}
