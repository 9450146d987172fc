"""TaskStateManager, rule by rule; at random, against a model: ``test_state_model.py``."""

from __future__ import annotations

import heapq
from types import SimpleNamespace
from typing import Any

import pytest

from distflow.core import ready as ready_module
from distflow.core.claim import Progress
from distflow.core.ending import verdict_of
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.run import Claim
from distflow.core.state import TaskStateManager
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import IllegalTransition
from tests.support.ready import take_ready

S = TaskStatus
HELD = Claim(1, 1, "token", "batch", claimed=1, started=0, base=0, lost=0)


def graph_of(**dependencies: str) -> Graph:
    """Tasks by name of what each depends on, in words; ``name_ok`` tolerates its failure."""
    return Graph.compile(
        [
            Task(name, "m:f", depends_on=tuple(d.split()), continue_on_error=name.endswith("_ok"))
            for name, d in dependencies.items()
        ]
    )


def fresh(graph: Graph, **outcomes: TaskStatus) -> TaskStateManager:
    """The manager of a run of which nothing else is known."""
    return TaskStateManager(graph, outcomes, {}, {}, now_ms=0)


def shown(state: TaskStateManager) -> dict[str, str]:
    """Every task's status by name."""
    names = [task.name for task in state.graph.tasks]
    return {name: status.value for name, status in zip(names, state.statuses, strict=True)}


def test_a_failure_skips_what_needs_it_and_names_where_it_began() -> None:
    """The whole cone is skipped at once, each task with the root cause; the rest goes on."""
    state = fresh(graph_of(a="", b="a", c="b", other="", both="c other"))
    state.on_finished(0, S.FAILURE)
    skips = {state.graph.tasks[skip.task].name: skip.message for skip in state.take_skips()}
    assert skips == dict.fromkeys(["b", "c", "both"], "not run: 'a' ended as failure")
    assert shown(state)["other"] == "ready"
    assert state.take_skips() == [], "each is told once"


@pytest.mark.parametrize("status", [S.SKIPPED, S.CANCELLED])
def test_only_a_failure_can_be_tolerated(status: TaskStatus) -> None:
    """``continue_on_error`` is about errors: what never ran gives its dependents nothing."""
    state = fresh(graph_of(a_ok="", b="a_ok"))
    state.on_finished(0, status)
    assert shown(state)["b"] == "skipped"
    tolerated = fresh(graph_of(a_ok="", b="a_ok"))
    tolerated.on_finished(0, S.FAILURE)
    assert shown(tolerated)["b"] == "ready"


def test_an_unknown_task_blocks_what_needs_it_and_nothing_else() -> None:
    """Promise 3: nothing downstream runs, and nothing is skipped, until someone decides."""
    state = fresh(graph_of(charge="", receipt="charge", other=""))
    state.on_finished(0, S.UNKNOWN)
    state.on_finished(2, S.SUCCESS)
    assert shown(state) == {"charge": "unknown", "receipt": "pending", "other": "success"}
    assert state.is_over
    assert state.verdict(cancelled=False) == RunStatus.BLOCKED
    state.on_resolved(0, S.SUCCESS)
    assert shown(state)["receipt"] == "ready"
    assert not state.is_over


@pytest.mark.parametrize(
    ("decision", "then"),
    [
        (S.FAILURE, {"charge": "failure", "receipt": "skipped"}),
        (S.READY, {"charge": "ready", "receipt": "pending"}),
    ],
)
def test_an_unknown_task_is_decided(decision: TaskStatus, then: dict[str, str]) -> None:
    """``resolve --fail`` skips what needs it, ``resolve --retry`` makes it ready."""
    state = fresh(graph_of(charge="", receipt="charge"), charge=S.UNKNOWN)
    state.on_resolved(0, decision)
    assert shown(state) == then


@pytest.mark.parametrize("status", [S.SUCCESS, S.FAILURE, S.SKIPPED, S.CANCELLED])
def test_a_final_outcome_never_changes(status: TaskStatus) -> None:
    """Promise 2: whatever is told of it later, once recorded it is not replaced."""
    state = fresh(graph_of(a=""), a=status)
    state.on_queued(0)
    state.on_claimed(0)
    state.on_unstarted(0)
    state.on_waiting(0, due_ms=5, now_ms=0)
    state.on_resolved(0, S.READY)
    assert state.cancel_open() == []
    for other in TaskStatus:
        state.on_finished(0, other)
    assert state.statuses == [status]


def test_it_does_not_go_where_the_table_has_no_way() -> None:
    """What is no outcome is refused by name: a defect is found where it is made."""
    state = fresh(graph_of(a=""), a=S.UNKNOWN)
    with pytest.raises(IllegalTransition, match="task 'a' may not go from unknown to waiting"):
        state.on_finished(0, S.WAITING)


def test_a_started_claim_is_restored_as_started() -> None:
    """A take-over adopts live claims, and knows which may have had effects."""
    claims = {"a": HELD, "b": HELD._replace(started=7)}
    state = TaskStateManager(graph_of(a="", b=""), {}, claims, {}, 0)
    assert shown(state) == {"a": "claimed", "b": "started"}
    assert state.claimed == 2


@pytest.mark.parametrize(
    ("outcomes", "cancelled", "verdict"),
    [
        ({}, False, RunStatus.SUCCESS),
        ({"a": S.SUCCESS, "b_ok": S.FAILURE, "c": S.SKIPPED}, False, RunStatus.SUCCESS),
        ({"a": S.FAILURE, "c": S.CANCELLED}, False, RunStatus.FAILURE),
        ({"a": S.CANCELLED}, False, RunStatus.CANCELLED),
        ({"a": S.FAILURE}, True, RunStatus.CANCELLED),
        ({"a": S.SUCCESS, "b_ok": S.SUCCESS, "c": S.SUCCESS}, True, RunStatus.SUCCESS),
        ({"a": S.FAILURE, "b_ok": S.UNKNOWN}, True, RunStatus.BLOCKED),
    ],
)
def test_verdicts(outcomes: dict[str, TaskStatus], cancelled: bool, verdict: RunStatus) -> None:
    """How a run ended: a person's turn comes first, then the cancelling, then failures."""
    assert fresh(graph_of(a="", b_ok="", c=""), **outcomes).verdict(cancelled=cancelled) == verdict


def test_a_verdict_needs_the_status_of_every_task() -> None:
    """A run is not taken for a success by the half of it that is known."""
    with pytest.raises(ValueError, match="1 statuses of 2 tasks"):
        verdict_of(graph_of(a="", b=""), [S.SUCCESS])


@pytest.fixture(scope="module", params=["chain", "fan"])
def large(request: pytest.FixtureRequest) -> Graph:
    """100,000 tasks, in a row or behind one."""
    above = [0, *(range(99_999) if request.param == "chain" else [0] * 99_999)]
    parents: list[tuple[str, ...]] = [(f"t{index}",) for index in above]
    parents[0] = ()
    return Graph.compile([Task(f"t{i}", "m:f", depends_on=p) for i, p in enumerate(parents)])


@pytest.mark.parametrize("first", [S.SUCCESS, S.FAILURE])
def test_it_is_linear(large: Graph, first: TaskStatus, monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 tasks in a row or behind one: no recursion, and each is made ready once."""
    pushes = []

    def push(heap: list[Any], item: Any) -> None:
        pushes.append(item)
        heapq.heappush(heap, item)

    counting = SimpleNamespace(heappop=heapq.heappop, heappush=push)
    monkeypatch.setattr(ready_module, "heapq", counting)
    size = len(large.tasks)
    state = fresh(large)
    state.on_finished(0, first)
    for index in range(1, size):
        state.on_finished(index, S.SUCCESS)
    assert state.is_over
    assert state.counts[S.SUCCESS if first == S.SUCCESS else S.SKIPPED] >= size - 1
    assert len(pushes) == (size if first == S.SUCCESS else 1)
    again = fresh(large, t0=first)
    assert again.counts[S.SKIPPED] == (0 if first == S.SUCCESS else size - 1)


def test_what_waits_is_ready_when_its_own_time_has_come() -> None:
    """A task that waits anew is not woken by the timer of an earlier wait, not even where this
    host's clock is behind that of Redis, which gave the claim in between.
    """
    state = fresh(graph_of(a=""))
    state.on_waiting(0, due_ms=1000, now_ms=990)
    state.on_claimed(0)
    state.on_waiting(0, due_ms=3000, now_ms=995)
    state.on_time(1000)
    assert shown(state) == {"a": "waiting"}
    assert state.next_due() == 3000
    state.on_time(2999)
    assert shown(state) == {"a": "waiting"}
    state.on_time(3000)
    assert shown(state) == {"a": "ready"}
    assert state.next_due() is None


def test_priorities_and_queues() -> None:
    """Of each queue the highest priority first, then the order of definition; what was taken is
    not given again until its batch is gone.
    """
    tasks = [("a", 0, "x"), ("b", 5, "x"), ("c", 0, "x"), ("d", 5, "x"), ("e", -1, "y")]
    graph = Graph.compile([Task(n, "m:f", priority=p, queue=q) for n, p, q in tasks])
    state = fresh(graph)
    assert sorted(state.queues()) == ["x", "y"]
    assert take_ready(state, "x", 3) == [1, 3, 0]
    state.on_queued(3)
    assert take_ready(state, "x", 9) == [2]
    assert take_ready(state, "x", 9) == []
    assert state.queues() == ["y"]
    state.on_unstarted(3)
    assert take_ready(state, "x", 9) == [3]
    assert take_ready(state, "z", 9) == []


def test_cancelling_leaves_what_a_worker_holds() -> None:
    """What nobody holds is cancelled at once; what runs ends by itself, and may wait no more."""
    state = fresh(graph_of(a="", b="a", c="", d=""))
    state.on_claimed(0)
    state.on_queued(2)
    state.on_waiting(3, due_ms=9, now_ms=0)
    assert state.cancel_open() == [1, 2, 3]
    assert shown(state)["a"] == "claimed"
    state.on_waiting(0, due_ms=9, now_ms=0)
    assert state.cancel_open() == [0]
    assert state.is_over
    assert state.take_skips() == []
    assert state.verdict(cancelled=True) == RunStatus.CANCELLED


def test_what_a_worker_gives_back_is_ready_again() -> None:
    """Untouched, and only by who held it; behind a failure it is skipped, and what needs it."""
    state = fresh(graph_of(a="", b="a", c="b"))
    state.on_released(0)
    assert shown(state) == {"a": "ready", "b": "pending", "c": "pending"}
    state.on_claimed(0)
    state.on_released(0)
    assert shown(state)["a"] == "ready"
    state.on_claimed(1)
    state.on_released(1)
    assert shown(state)["b"] == "pending"
    state.on_claimed(1)
    state.on_finished(0, S.FAILURE)
    assert shown(state) == {"a": "failure", "b": "claimed", "c": "pending"}
    state.on_released(1)
    assert shown(state) == {"a": "failure", "b": "skipped", "c": "skipped"}
    assert {skip.message for skip in state.take_skips()} == {"not run: 'a' ended as failure"}


def test_a_task_that_has_lost_a_worker_travels_alone() -> None:
    """Also for a coordinator that reads of it: by what was lost in this generation."""
    progress = {"a": Progress(lost=1), "b": Progress(attempt=2)}
    state = TaskStateManager(graph_of(a="", b="", c=""), {}, {}, progress, 0)
    assert [state.travels_alone(index) for index in range(3)] == [True, False, False]
    state.on_lost(2)
    assert [state.travels_alone(index) for index in range(3)] == [True, False, True]


@pytest.mark.parametrize("status", TaskStatus)
def test_steps_that_no_event_told_are_no_defect(status: TaskStatus) -> None:
    """A stream may have been trimmed: any task that is on its way may end, and one with a final
    outcome keeps it.
    """
    state = fresh(graph_of(a=""))
    state._force(0, status)
    state.on_finished(0, S.SUCCESS)
    kept = status in {S.FAILURE, S.SKIPPED, S.CANCELLED}
    assert shown(state)["a"] == (status if kept else "success")
