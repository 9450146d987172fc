"""What a person's resume would do, task by task."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import Task, TaskResult
from distflow.core.plan import PlanItem, changes_nothing, plan_resume
from distflow.core.run import Claim
from distflow.core.status import REOPENED, RunStatus, TaskStatus

S = TaskStatus
CLAIM = Claim(2, 1, "token", "batch", claimed=1, started=0, base=0, lost=0)


def plan_of(
    result: TaskResult | None = None,
    claim: Claim | None = None,
    progress: Progress | None = None,
    verify: str | None = None,
) -> PlanItem:
    """The plan of a run of one task."""
    details = {0: result} if result and result.status in REOPENED else {}
    items = plan_resume(
        Graph.compile([Task("t", "m:f", verify=verify)]),
        [result.status if result else None],
        details,
        {"t": claim} if claim else {},
        {"t": progress} if progress else {},
    )
    assert [item.task for item in items] == [0]
    return items[0]


def test_a_success_is_kept() -> None:
    """Promise 1: done is done; nothing is written for it."""
    item = plan_of(TaskResult(S.SUCCESS, attempt=2), claim=CLAIM, progress=Progress(9))
    assert (item.action, item.reason, item.progress) == ("keep", "done", None)


def test_an_unknown_task_is_held() -> None:
    """Promise 3: a resume decides nothing that a person has to."""
    held = Progress(attempt=2, token="token", started=True)
    item = plan_of(TaskResult(S.UNKNOWN, attempt=1, started=True), progress=held)
    assert (item.action, item.progress) == ("hold", None)
    assert "resolve" in item.reason


def test_a_failure_that_had_started_at_most_once_is_kept() -> None:
    """Promise 3: it never starts again by a resume, however it says that it ended."""
    for status in (S.FAILURE, S.SKIPPED, S.CANCELLED):
        item = plan_of(TaskResult(status, attempt=1, started=True))
        assert (item.action, item.seen, item.progress) == ("keep", status, None)
        assert "at most once" in item.reason


def test_what_is_not_success_is_evaluated_again() -> None:
    """Promise 5: attempts count on, the budget and the losses are those of a new generation."""
    for status in (S.FAILURE, S.SKIPPED, S.CANCELLED):
        item = plan_of(TaskResult(status, attempt=4))
        assert (item.action, item.seen, item.reason) == ("again", status, f"was {status}")
        assert item.progress == Progress(attempt=5, iteration=1, base=4, lost=0)


def test_a_tolerated_failure_stays_while_a_running_task_rests_on_it() -> None:
    """The task may read it at any moment. Once that has ended, a resume evaluates it again."""
    graph = Graph.compile(
        [Task("a", "m:f", continue_on_error=True), Task("b", "m:f", depends_on=("a",))]
    )
    details = {0: TaskResult(S.FAILURE, attempt=1)}
    statuses = [S.FAILURE, None]

    def action(claims: dict[str, Claim]) -> str:
        items = plan_resume(graph, statuses, details, claims, {})
        return next(item.action for item in items if item.task == 0)

    assert action({"b": CLAIM}) == "keep"
    assert action({}) == "again"


def test_what_never_ran_has_its_first_attempt_before_it() -> None:
    """A task that was skipped because of another has used no attempt."""
    assert plan_of(TaskResult(S.SKIPPED)).progress == Progress(attempt=1, base=0)


def test_a_live_claim_is_adopted() -> None:
    """A worker that has the task goes on with it: nothing is written."""
    item = plan_of(claim=CLAIM, progress=Progress(attempt=2))
    assert (item.action, item.seen, item.progress) == ("adopt", None, None)


def test_what_waits_goes_on_with_a_new_budget() -> None:
    """A wait is kept, with its iteration and its time; only what was used up is given back."""
    waits = Progress(attempt=4, iteration=3, base=1, lost=2, not_before=77, token="token")
    item = plan_of(progress=waits)
    assert (item.action, item.seen) == ("run", None)
    assert item.progress == waits._replace(base=3, lost=0)


def test_what_nothing_is_known_of_needs_nothing_written() -> None:
    """A task that was never reached runs as it would have."""
    item = plan_of()
    assert (item.action, item.progress) == ("run", None)


@given(st.data())
def test_dependents_come_before_their_dependencies(data: st.DataObject) -> None:
    """Promise 6: a reopening that is cut off anywhere never leaves a success-to-be on top of
    something that was set aside; and every task is planned once.
    """
    size = data.draw(st.integers(0, 10))
    needs = [data.draw(st.sets(st.integers(0, i - 1))) if i else set() for i in range(size)]
    tasks = [Task(f"t{i}", "m:f", depends_on=tuple(f"t{j}" for j in needs[i])) for i in range(size)]
    graph = Graph.compile(data.draw(st.permutations(tasks)))
    ended = st.none() | st.sampled_from([S.SUCCESS, S.FAILURE, S.SKIPPED, S.UNKNOWN])
    statuses = data.draw(st.lists(ended, min_size=size, max_size=size))
    details = {i: TaskResult(s) for i, s in enumerate(statuses) if s is not None and s in REOPENED}
    items = plan_resume(graph, statuses, details, {}, {})
    place = {item.task: position for position, item in enumerate(items)}
    assert sorted(place) == list(range(size))
    assert len(items) == size
    for child, parents in enumerate(graph.parents):
        assert all(place[child] < place[parent] for parent in parents)
    assert all(item.seen == statuses[item.task] for item in items)
    assert all((item.progress is None) == (item.action != "again") for item in items)


def plan_for(*outcomes: TaskResult, tolerated: bool = False) -> tuple[Graph, list[PlanItem]]:
    """The plan of a chain ``t0``, ``t1``, … of which only the first ran at most once."""
    names = [f"t{number}" for number in range(len(outcomes))]
    tasks = [
        Task(name, "m:f", depends_on=tuple(names[max(0, at - 1) : at]), continue_on_error=tolerated)
        for at, name in enumerate(names)
    ]
    graph = Graph.compile(tasks)
    details = {at: one for at, one in enumerate(outcomes) if one.status in REOPENED}
    return graph, plan_resume(graph, [one.status for one in outcomes], details, {}, {})


def test_a_resume_that_changes_nothing() -> None:
    """What failed for good, and all that was skipped behind it, would end as it has."""
    failed, skipped = TaskResult(S.FAILURE, started=True), TaskResult(S.SKIPPED)
    success = TaskResult(S.SUCCESS)
    well, badly = RunStatus.SUCCESS, RunStatus.FAILURE
    assert changes_nothing(*plan_for(success, success), well)
    assert changes_nothing(*plan_for(failed, skipped, skipped), badly)
    # A condition is asked again, a failure tried again; behind a tolerated failure work goes on.
    assert not changes_nothing(*plan_for(success, skipped), well)
    assert not changes_nothing(*plan_for(TaskResult(S.FAILURE), skipped), badly)
    assert not changes_nothing(*plan_for(failed, skipped, tolerated=True), well)
    # Somebody has decided since how it ended.
    assert not changes_nothing(*plan_for(success, success), badly)
    assert not changes_nothing(*plan_for(failed), well)


@pytest.mark.parametrize(
    ("result", "claim", "verify", "reason"),
    [
        (TaskResult(S.SUCCESS), None, None, "done"),
        (TaskResult(S.UNKNOWN), None, None, "unknown: resolve it"),
        (TaskResult(S.UNKNOWN), None, "m:hook", "unknown: its verify hook is asked"),
        (TaskResult(S.FAILURE, started=True), None, None, "at most once: it started and failed"),
        (TaskResult(S.FAILURE), None, None, "was failure"),
        (None, CLAIM, None, "a worker has it"),
        (None, None, None, "has no outcome"),
    ],
)
def test_a_plan_says_why(
    result: TaskResult | None, claim: Claim | None, verify: str | None, reason: str
) -> None:
    """In the words that a person reads before agreeing to it."""
    assert plan_of(result, claim, verify=verify).reason == reason


@pytest.mark.parametrize("last", [S.SUCCESS, S.FAILURE, S.SKIPPED, S.UNKNOWN])
def test_every_task_is_planned_whatever_stands_before_it(last: TaskStatus) -> None:
    """What is kept or held ends no plan: its dependencies follow."""
    _graph, plan = plan_for(TaskResult(S.SUCCESS), TaskResult(last, started=True))
    assert [item.task for item in plan] == [1, 0]
