"""Decisions to the last field: what is written of an attempt is what a resolve counts from."""

from __future__ import annotations

import pytest

from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import MAX_LOST, Loop, Metrics, Retry, Task, TaskResult
from distflow.core.outcome import Attempt, Decision, Outcome, decide, decide_lost
from distflow.core.plan import PlanItem, plan_resume
from distflow.core.render import to_dot, to_mermaid
from distflow.core.resolution import LeaderRule, leader_rule, retry_progress
from distflow.core.run import Claim
from distflow.core.state import TaskStateManager
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import InvalidInput, WorkflowInvalid

METRICS = Metrics(10.0, 12.0, 2.0)
AT = Attempt(attempt=4, iteration=2, base=1, lost=1, started=True)
NEXT = Progress(attempt=5, iteration=2, base=1, lost=1)


def lost(task: Task, at: Attempt = AT, *, worker: str = "w1", cancelling: bool = False) -> Decision:
    """What becomes of a lost attempt."""
    return decide_lost(task, at, worker=worker, cancelling=cancelling, metrics=METRICS, roll=0.5)


def test_a_decision_of_a_person_gives_a_new_budget_and_a_hooks_does_not() -> None:
    """Attempts and losses of the generation count on after a hook: a task that kills its workers
    must end. A loop begins anew, and nothing is waited for.
    """
    last = Progress(5, iteration=3, base=2, lost=1, not_before=9, token="lost:t", started=True)
    again = Progress(5, base=4, token="op")
    assert retry_progress(last, "op", by_hook=False) == again
    assert retry_progress(last, "op", by_hook=True) == again._replace(base=2, lost=2)


@pytest.mark.parametrize(
    ("before", "takes_away", "rule"),
    [
        (TaskStatus.SUCCESS, True, "absent"),
        (TaskStatus.FAILURE, True, "absent"),
        (TaskStatus.FAILURE, False, "looks_again"),
        (TaskStatus.SUCCESS, False, "stays"),
        (TaskStatus.UNKNOWN, False, "stays"),
        (None, False, "stays"),
    ],
)
def test_what_a_decision_does_to_whoever_leads(
    before: TaskStatus | None, takes_away: bool, rule: LeaderRule
) -> None:
    """Who may have worked out what follows from a failure reads all anew; what rests on an outcome
    is taken away only while nobody leads.
    """
    assert leader_rule(before, takes_away=takes_away) == rule


def test_a_lost_start_is_unknown_in_every_field() -> None:
    """An `at_most_once` task that had started: unknown, with what a later `--retry` counts from."""
    assert lost(Task("a", "m:f", effects="at_most_once")) == Decision(
        "final",
        TaskResult(
            TaskStatus.UNKNOWN,
            message="its worker was lost: it had started, and nobody knows how it ended",
            error="WorkerLost: worker w1 was lost",
            metrics=METRICS,
            attempt=4,
            worker="w1",
            started=True,
        ),
        NEXT,
    )


def test_a_lost_attempt_of_a_cancelled_run() -> None:
    """It is cancelled, and counts on from where it was."""
    result = TaskResult(
        TaskStatus.CANCELLED,
        message="stopped while it ran",
        metrics=METRICS,
        attempt=4,
        worker="w1",
    )
    assert lost(Task("a", "m:f"), cancelling=True) == Decision("final", result, NEXT)


def test_a_loss_that_does_not_count() -> None:
    """An `idempotent` attempt goes on as the same attempt, one loss further."""
    result = TaskResult(
        TaskStatus.FAILURE,
        message="its worker was lost",
        error="WorkerLost: worker w1 was lost",
        metrics=METRICS,
        attempt=4,
        worker="w1",
    )
    again = NEXT._replace(attempt=4, lost=2)
    assert lost(Task("a", "m:f", effects="idempotent")) == Decision("wait", result, again)


def test_a_loss_that_counts_is_a_failed_attempt() -> None:
    """A `normal` task without retries fails, and says which worker was lost."""
    result = TaskResult(
        TaskStatus.FAILURE,
        message="its worker was lost",
        error="WorkerLost: worker ? was lost",
        metrics=METRICS,
        attempt=4,
    )
    assert lost(Task("a", "m:f"), worker="") == Decision("final", result, NEXT)


def test_a_claim_that_never_started_is_retried_beyond_its_losses() -> None:
    """Nothing happened: after the losses that are free, the retry policy applies as to NotDone."""
    task = Task("a", "m:f", effects="at_most_once", retry=Retry(attempts=9, delay=3.0))
    decision = lost(task, AT._replace(started=False, lost=MAX_LOST))
    assert (decision.kind, decision.delay_seconds) == ("wait", 3.0)
    assert decision.progress == NEXT._replace(lost=MAX_LOST)


def test_an_iteration_is_told_in_every_field() -> None:
    """What a loop's run brought goes to the history with its times and its worker."""
    task = Task("a", "m:f", loop=Loop("m:g", 9, interval=1.5))
    outcome = Outcome(TaskStatus.SUCCESS, data=7, met=False)
    result = TaskResult(TaskStatus.SUCCESS, data=7, metrics=METRICS, attempt=4, worker="w1")
    again = NEXT._replace(attempt=4, iteration=3, base=3, lost=0)
    told = decide(task, AT, outcome, metrics=METRICS, worker="w1", roll=0.5)
    assert told == Decision("wait", result, again, 1.5)


def test_what_a_function_says_is_kept() -> None:
    """The message of an outcome reaches its TaskResult, and its progress counts on."""
    outcome = Outcome(TaskStatus.SKIPPED, message="nothing new")
    told = decide(Task("a", "m:f"), AT, outcome, metrics=None, worker="w1", roll=0.5)
    result = TaskResult(TaskStatus.SKIPPED, message="nothing new", attempt=4, worker="w1")
    assert told == Decision("final", result, NEXT)


def test_a_plan_in_every_field() -> None:
    """One of each kind, dependents first; a failure that stays does not end the plan."""
    names = ("run", "adopt", "again", "stays", "hold", "keep")
    graph = Graph.compile([Task(name, "m:f", effects="at_most_once") for name in names])
    status = TaskStatus
    seen = [None, None, status.SKIPPED, status.FAILURE, status.UNKNOWN, status.SUCCESS]
    details = {
        2: TaskResult(status.SKIPPED, attempt=2),
        3: TaskResult(status.FAILURE, attempt=1, started=True),
    }
    claims = {"adopt": Claim(1, 1, "t", "b", 5, 5, 0, 0)}
    progress = {"run": Progress(attempt=3, base=0, lost=2)}
    assert plan_resume(graph, seen, details, claims, progress) == [
        PlanItem(5, "keep", "done", status.SUCCESS, None),
        PlanItem(4, "hold", "unknown: resolve it", status.UNKNOWN, None),
        PlanItem(3, "keep", "at most once: it started and failed", status.FAILURE, None),
        PlanItem(2, "again", "was skipped", status.SKIPPED, Progress(attempt=3, base=2)),
        PlanItem(1, "adopt", "a worker has it", None, None),
        PlanItem(0, "run", "has no outcome", None, Progress(attempt=3, base=2)),
    ]


def test_a_status_that_is_none_is_named() -> None:
    """The message lists what a TaskResult may say."""
    message = (
        "TaskResult: status must be one of cancelled, failure, skipped, success, unknown, "
        "not 'done'"
    )
    with pytest.raises(InvalidInput) as raised:
        TaskResult("done")  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_the_longest_wait_is_a_wait() -> None:
    """1e9 seconds are accepted, and no more."""
    assert Retry(delay=1e9).delay == 1e9
    with pytest.raises(InvalidInput):
        Retry(delay=1.1e9)


def test_the_second_of_two_equal_names_is_named() -> None:
    """A duplicate is named, not a task that stands once."""
    tasks = [Task(name, "m:f") for name in ("a", "b", "c", "b")]
    with pytest.raises(WorkflowInvalid, match="two tasks are named 'b'"):
        Graph.compile(tasks)


def test_a_long_cycle_is_cut_in_the_middle() -> None:
    """A cycle of twelve is shown whole; one of thirteen has its two ends."""

    def cycle(length: int) -> str:
        tasks = [Task(f"t{n}", "m:f", depends_on=(f"t{(n + 1) % length}",)) for n in range(length)]
        with pytest.raises(WorkflowInvalid) as raised:
            Graph.compile(tasks)
        return str(raised.value)

    assert " more" not in cycle(10)
    ends = cycle(40)
    first = ends.partition("cycle: ")[2].split(" -> ")[0]
    assert ends.partition(";")[0].endswith(f"-> {first}")


def test_a_name_that_cannot_be_printed_is_shown_escaped() -> None:
    """A control character in a name reaches no terminal."""
    tasks = [Task("a\x1b", "m:f", depends_on=("b",)), Task("b", "m:f", depends_on=("a\x1b",))]
    with pytest.raises(WorkflowInvalid) as raised:
        Graph.compile(tasks)
    assert "\x1b" not in str(raised.value)
    assert "'a\\x1b'" in str(raised.value)


def test_drawings_to_the_letter() -> None:
    """Two tasks of one status share a line of classes; a task without a status has no style."""
    tasks = [Task("a", "m:f"), Task("b", "m:f", depends_on=("a",)), Task("ü&\\", "m:f")]
    graph = Graph.compile(tasks)
    statuses = {"a": TaskStatus.SUCCESS, "b": TaskStatus.SUCCESS}
    mermaid = to_mermaid(graph, statuses)
    assert "class n0,n1 success" in mermaid
    assert "ü" in mermaid
    dot = to_dot(graph, statuses)
    plain = next(line for line in dot.splitlines() if "ü" in line)
    assert "style" not in plain
    assert "ü&amp;\\\\" in plain


@pytest.mark.parametrize("status", [TaskStatus.CLAIMED, TaskStatus.STARTED])
def test_a_task_that_a_worker_holds_is_drawn_as_running(status: TaskStatus) -> None:
    """The word that the counts have for it."""
    graph = Graph.compile([Task("a", "m:f")])
    assert "running" in to_mermaid(graph, {"a": status})
    assert "running" in to_dot(graph, {"a": status})


def test_a_failed_loss_names_its_worker() -> None:
    """Who lost it is in the result, and in its error."""
    result = lost(Task("a", "m:f")).result
    assert (result.worker, result.error) == ("w1", "WorkerLost: worker w1 was lost")


@pytest.mark.parametrize(
    ("last", "verdict"), [("success", RunStatus.SUCCESS), ("cancelled", RunStatus.CANCELLED)]
)
def test_a_cancelled_run_whose_tasks_all_succeeded(last: str, verdict: RunStatus) -> None:
    """A cancellation that came too late to stop anything leaves a success."""
    graph = Graph.compile([Task("a", "m:f"), Task("b", "m:f")])
    outcomes = {"a": TaskStatus.SUCCESS, "b": TaskStatus(last)}
    state = TaskStateManager(graph, outcomes, {}, {}, 0)
    assert state.verdict(cancelled=True) == verdict


def test_a_status_without_a_colour_is_drawn_plain() -> None:
    """What has not begun is told by its label alone."""
    drawn = to_dot(Graph.compile([Task("a", "m:f")]), {"a": TaskStatus.PENDING})
    assert '    n0 [label="a\\npending"];' in drawn.splitlines()


def test_letters_beside_a_control_character_stay() -> None:
    """Only what cannot be printed is escaped."""
    drawn = to_dot(Graph.compile([Task("ü\x1b", "m:f")]))
    assert '"ü\\\\x1b"' in drawn
