"""What an attempt's outcome means: every rule of the promises, and that everything ends."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distflow.core.claim import Progress
from distflow.core.model import MAX_LOST, Loop, Retry, Task
from distflow.core.outcome import (
    Attempt,
    Outcome,
    decide_lost,
)
from distflow.core.status import TaskStatus
from tests.support.judging import (
    AGAIN,
    EFFECTS,
    MET,
    METRICS,
    NOT_DONE,
    OK,
    PERMANENT,
    RAISED,
    TIMED_OUT,
    S,
    attempt,
    judge,
    lose,
    task_of,
)

# What a worker saw


@pytest.mark.parametrize("effects", EFFECTS)
def test_success_is_final(effects: str) -> None:
    """What a function returned is recorded whole, whatever retries are left (promise 1)."""
    decision = judge(task_of(effects, retry=Retry(5)), attempt(3), OK)
    assert decision.kind == "final"
    result = decision.result
    assert (result.status, result.data, result.attempt) == (S.SUCCESS, [1], 3)
    assert (result.worker, result.metrics, result.started) == ("w", METRICS, False)


@pytest.mark.parametrize("outcome", [RAISED, NOT_DONE, TIMED_OUT])
@pytest.mark.parametrize("effects", ["normal", "idempotent"])
def test_a_failed_attempt_waits_for_its_retry(effects: str, outcome: Outcome) -> None:
    """A normal or idempotent attempt that raised or timed out is tried again, as the next one."""
    task = task_of(effects, retry=Retry(1, delay=4.0))
    decision = judge(task, attempt(iteration=2, lost=1), outcome)
    assert (decision.kind, decision.delay_seconds) == ("wait", 4.0)
    assert decision.progress == Progress(attempt=2, iteration=2, base=0, lost=1)
    assert decision.result.status == S.FAILURE
    assert decision.result.error == outcome.error


@pytest.mark.parametrize("outcome", [RAISED, NOT_DONE, TIMED_OUT])
@pytest.mark.parametrize("effects", ["normal", "idempotent"])
@pytest.mark.parametrize("retry", [None, Retry(0), Retry(lost=9)])
def test_without_retries_a_failure_stands(
    effects: str, outcome: Outcome, retry: Retry | None
) -> None:
    """The first failure is final where no retry was asked for; retries of losses are no others."""
    decision = judge(task_of(effects, retry=retry), attempt(), outcome)
    assert (decision.kind, decision.result.status) == ("final", S.FAILURE)
    assert not decision.result.started


@pytest.mark.parametrize("effects", EFFECTS)
def test_what_cannot_go_better_is_not_tried_again(effects: str) -> None:
    """Where the import or the condition raised, or the data have no encoding, a retry is none."""
    decision = judge(task_of(effects, retry=Retry(5)), attempt(), PERMANENT)
    assert (decision.kind, decision.result.status) == ("final", S.FAILURE)
    assert decision.result.started == (effects == "at_most_once")


@pytest.mark.parametrize("base", [0, 1, 7])
def test_the_budget_is_that_of_a_generation(base: int) -> None:
    """``Retry(2)`` is three tries in each generation, counted on from the earlier ones."""
    task = task_of(retry=Retry(2))
    kinds = [judge(task, attempt(base + n, base=base), RAISED).kind for n in (1, 2, 3)]
    assert kinds == ["wait", "wait", "final"]
    assert judge(task, attempt(base + 1, base=base), RAISED).progress.base == base


# At most once (promise 3)


def test_at_most_once_that_raised_stays_a_failure() -> None:
    """It may have had effects: no retry, and the result says so for every later resume."""
    decision = judge(task_of("at_most_once", retry=Retry(5)), attempt(), RAISED)
    assert (decision.kind, decision.result.status) == ("final", S.FAILURE)
    assert decision.result.started
    assert decision.result.traceback == RAISED.traceback


def test_at_most_once_that_timed_out_is_unknown() -> None:
    """It was ended from outside after its start: nobody knows; its data are no data."""
    outcome = TIMED_OUT._replace(data="half")
    decision = judge(task_of("at_most_once", retry=Retry(5)), attempt(), outcome)
    assert (decision.kind, decision.result.status) == ("final", S.UNKNOWN)
    assert decision.result.started
    assert decision.result.data is None


def test_at_most_once_that_vouches_for_no_effect_is_retried() -> None:
    """``NotDone`` is the one failure that its retry policy applies to."""
    task = task_of("at_most_once", retry=Retry(1, delay=2.0))
    first = judge(task, attempt(1), NOT_DONE)
    assert (first.kind, first.delay_seconds, first.progress.attempt) == ("wait", 2.0, 2)
    last = judge(task, attempt(2), NOT_DONE)
    assert (last.kind, last.result.status) == ("final", S.FAILURE)
    assert not last.result.started, "nothing happened: a resume may start it again"


def test_at_most_once_without_retry_may_start_again_at_a_resume() -> None:
    """``NotDone`` without a retry is a failure that a person's resume evaluates again."""
    decision = judge(task_of("at_most_once"), attempt(), NOT_DONE)
    assert (decision.kind, decision.result.started) == ("final", False)


@pytest.mark.parametrize("outcome", [RAISED, TIMED_OUT, PERMANENT, Outcome(S.CANCELLED)])
def test_at_most_once_before_its_start_has_had_no_effect(outcome: Outcome) -> None:
    """What ends before the start is marked neither unknown nor started."""
    decision = judge(task_of("at_most_once", retry=Retry(5)), attempt(started=False), outcome)
    assert decision.kind == "final"
    assert decision.result.status == outcome.status
    assert not decision.result.started


@pytest.mark.parametrize("status", [S.FAILURE, S.SKIPPED, S.CANCELLED, S.UNKNOWN])
def test_at_most_once_that_says_itself_how_it_ended_has_started(status: TaskStatus) -> None:
    """A TaskResult that the function returns is no vow that nothing happened."""
    decision = judge(task_of("at_most_once", retry=Retry(5)), attempt(), Outcome(status))
    assert (decision.kind, decision.result.status) == ("final", status)
    assert decision.result.started


def test_at_most_once_is_never_looped() -> None:
    """Workflows refuse such a loop; a graph that has it all the same does not start twice."""
    decision = judge(task_of("at_most_once", loop=Loop("m:u", 9)), attempt(), AGAIN)
    assert (decision.kind, decision.result.status) == ("final", S.FAILURE)
    assert decision.result.started


# Loops


@pytest.mark.parametrize("seen", [OK, RAISED])
def test_each_iteration_has_its_own_retries(seen: Outcome) -> None:
    """A loop goes on with the same attempt number, and its retries are all there again, lost
    workers included; whether the iteration ended well or not.
    """
    task = task_of(loop=Loop("m:u", 3, interval=1.5), retry=Retry(2))
    decision = judge(task, attempt(5, iteration=2, base=2, lost=1), seen._replace(met=False))
    assert (decision.kind, decision.delay_seconds) == ("wait", 1.5)
    assert decision.progress == Progress(attempt=5, iteration=3, base=4, lost=0)
    assert decision.result.status == seen.status


def test_a_failure_is_retried_before_its_loop_is_asked() -> None:
    """Two retries are three tries, in the second iteration too."""
    task = task_of(loop=Loop("m:u", 9, interval=7.0), retry=Retry(2, delay=1.0))
    said, at = [], attempt()
    for _ in range(6):
        decision = judge(task, at, RAISED)
        assert decision.kind == "wait"
        said.append((decision.progress.attempt, decision.progress.iteration))
        at = Attempt(*decision.progress[:4], started=True)
    assert said == [(2, 1), (3, 1), (3, 2), (4, 2), (5, 2), (5, 3)]


@pytest.mark.parametrize("seen", [OK, RAISED])
def test_a_loop_that_is_never_satisfied_fails(seen: Outcome) -> None:
    """The last iteration is a failure that names the loop, and is not retried; what it failed of
    itself stays to be seen.
    """
    task = task_of(loop=Loop("m:u", 3), retry=Retry(5))
    decision = judge(task, attempt(iteration=3), seen._replace(met=False))
    assert (decision.kind, decision.result.status) == ("final", S.FAILURE)
    assert decision.result.message == "the loop's condition was not met in 3 iterations"
    assert (decision.result.error, decision.result.data) == (seen.error, seen.data)


@pytest.mark.parametrize("seen", [OK, RAISED])
def test_a_loop_that_is_satisfied_ends(seen: Outcome) -> None:
    """The first iteration whose condition holds is the outcome, also where that is a failure."""
    decision = judge(task_of(loop=Loop("m:u", 3)), attempt(), seen._replace(met=True))
    assert (decision.kind, decision.result.status) == ("final", seen.status)
    assert decision.result.message == seen.message


def test_what_nobody_could_ask_about_has_not_met_the_condition() -> None:
    """A task whose process was ended by its timeout, or whose worker was lost, runs again."""
    task = task_of(loop=Loop("m:u", 3, interval=2.0), timeout=5.0)
    for decision in (judge(task, attempt(), TIMED_OUT), lose(task, attempt())):
        assert (decision.kind, decision.delay_seconds) == ("wait", 2.0)
        assert decision.progress == Progress(attempt=1, iteration=2)


def test_who_gives_up_ends_its_loop() -> None:
    """No other try can go better: the next iteration is one as well."""
    decision = judge(task_of(loop=Loop("m:u", 3)), attempt(), PERMANENT)
    assert (decision.kind, decision.result.message) == ("final", "no")


def test_the_next_iteration_comes_no_earlier_than_was_asked_for() -> None:
    """RetryAfter counts also where no retry is left."""
    later = RAISED._replace(retry_after=30.0, met=False)
    assert judge(task_of(loop=Loop("m:u", 3, 1.0)), attempt(), later).delay_seconds == 30.0
    assert judge(task_of(loop=Loop("m:u", 3, 60.0)), attempt(), later).delay_seconds == 60.0


def test_a_loop_without_an_interval_goes_on_at_once() -> None:
    """The next iteration waits for nothing."""
    assert judge(task_of(loop=Loop("m:u", 3)), attempt(), AGAIN).delay_seconds == 0.0


@pytest.mark.parametrize("status", [S.SKIPPED, S.CANCELLED, S.UNKNOWN])
def test_a_loop_does_not_overrule_what_the_function_says(status: TaskStatus) -> None:
    """What says of itself that it was skipped is no iteration that came to nothing."""
    decision = judge(task_of(loop=Loop("m:u", 3)), attempt(), Outcome(status))
    assert (decision.kind, decision.result.status) == ("final", status)


def test_a_loop_of_version_1_keeps_its_meaning() -> None:
    """All iterations share one Retry, and a failure ends the loop, whatever it was."""
    loop = Loop("m:u", 3, interval=1.5, sees="data")
    decision = judge(task_of(loop=loop), attempt(2, iteration=2, base=1, lost=1), AGAIN)
    assert (decision.kind, decision.delay_seconds) == ("wait", 1.5)
    assert decision.progress == Progress(attempt=2, iteration=3, base=1, lost=1)
    assert judge(task_of(loop=loop), attempt(iteration=3), AGAIN).result.status == S.FAILURE
    for seen in (RAISED, TIMED_OUT, Outcome(S.FAILURE, met=False), MET):
        assert judge(task_of(loop=loop), attempt(), seen).kind == "final"


# Lost workers


@pytest.mark.parametrize("lost", range(MAX_LOST + 1))
@pytest.mark.parametrize(("effects", "started"), [("idempotent", True), ("at_most_once", False)])
def test_a_harmless_loss_uses_no_attempt_three_times(
    effects: str, started: bool, lost: int
) -> None:
    """A task that kills its workers must end: the fourth loss is a failed attempt."""
    decision = lose(task_of(effects), attempt(4, started=started, base=3, lost=lost))
    if lost < MAX_LOST:
        assert (decision.kind, decision.delay_seconds) == ("wait", 0.0)
        assert decision.progress == Progress(attempt=4, base=3, lost=lost + 1)
    else:
        assert (decision.kind, decision.result.status) == ("final", S.FAILURE)
    assert decision.result.error == "WorkerLost: worker w was lost"
    assert not decision.result.started


def test_a_normal_task_that_loses_its_worker_has_failed() -> None:
    """It is not dispatched again by itself: only its retries do that."""
    assert lose(task_of(), attempt()).kind == "final"
    retried = lose(task_of(retry=Retry(1, delay=3.0)), attempt())
    assert (retried.kind, retried.delay_seconds, retried.progress.attempt) == ("wait", 3.0, 2)


def test_retry_lost_says_how_many_losses_do_not_count() -> None:
    """``Retry(lost=2)`` allows a normal task two losses without using an attempt."""
    task = task_of(retry=Retry(lost=2))
    decisions = [lose(task, attempt(lost=lost)) for lost in (0, 1, 2)]
    assert [decision.kind for decision in decisions] == ["wait", "wait", "final"]
    assert [decision.progress.attempt for decision in decisions[:2]] == [1, 1]


def test_retry_lost_widens_the_allowance_of_idempotent_tasks() -> None:
    """More losses than the usual three may be allowed, and fewer are not meant."""
    assert lose(task_of("idempotent", retry=Retry(lost=5)), attempt(lost=4)).kind == "wait"
    assert lose(task_of("idempotent", retry=Retry(lost=1)), attempt(lost=2)).kind == "wait"


@pytest.mark.parametrize("cancelling", [False, True])
def test_at_most_once_lost_after_its_start_is_unknown(cancelling: bool) -> None:
    """No retry, no allowance and no cancelling makes up what nobody knows."""
    task = task_of("at_most_once", retry=Retry(5, lost=5))
    decision = lose(task, attempt(), cancelling=cancelling)
    assert (decision.kind, decision.result.status) == ("final", S.UNKNOWN)
    assert decision.result.started


@pytest.mark.parametrize(
    ("effects", "started"), [("normal", True), ("idempotent", True), ("at_most_once", False)]
)
def test_what_is_lost_while_cancelling_is_cancelled(effects: str, started: bool) -> None:
    """A run that is being stopped starts nothing again."""
    task = task_of(effects, retry=Retry(5, lost=5))
    decision = lose(task, attempt(started=started), cancelling=True)
    assert (decision.kind, decision.result.status) == ("final", S.CANCELLED)
    assert (decision.result.started, decision.result.metrics) == (False, METRICS)


def test_a_loss_beyond_the_allowance_is_retried_as_what_was_not_done() -> None:
    """The function of a task that had not started was never called: a retry harms nothing."""
    task = task_of("at_most_once", retry=Retry(1, delay=2.0))
    decision = lose(task, attempt(started=False, lost=MAX_LOST))
    assert (decision.kind, decision.delay_seconds) == ("wait", 2.0)


def test_a_lost_worker_is_not_overdue_by_itself() -> None:
    """A timeout is the cause only where the task had exceeded it."""
    task = task_of(timeout=3.0, retry=Retry(1, delay=2.0, jitter=0.5))
    assert lose(task, attempt()).result.error == "WorkerLost: worker w was lost"
    late = decide_lost(
        task, attempt(), worker="w", cancelling=False, metrics=None, roll=1.0, overdue=True
    )
    assert (late.result.error, late.delay_seconds) == ("TaskTimeout: ran longer than 3 s", 3.0)


# Whatever happens, it ends


def flagged(status: TaskStatus, flags: set[str], met: bool | None) -> Outcome:
    """An outcome with some of its flags set, and what its loop's condition said."""
    fields: Any = dict.fromkeys(flags, True)
    return Outcome(status, met=met)._replace(**fields)


outcomes = st.builds(
    flagged,
    st.sampled_from([S.SUCCESS, S.FAILURE, S.FAILURE, S.SKIPPED, S.CANCELLED, S.UNKNOWN]),
    # A function that was interrupted vouches for nothing.
    st.sets(st.sampled_from(["not_done", "timed_out", "permanent"]), max_size=2).filter(
        lambda flags: not flags >= {"not_done", "timed_out"}
    ),
    st.sampled_from([None, True, False]),
)
SEES: st.SearchStrategy[Any] = st.sampled_from(["result", "data"])
happenings = st.tuples(st.booleans(), st.sampled_from(["lost", RAISED, NOT_DONE, AGAIN]) | outcomes)
tasks = st.tuples(
    st.sampled_from(EFFECTS),
    st.none() | st.tuples(st.integers(0, 4), st.integers(0, 6)),
    st.none() | st.builds(partial(Loop, "m:u"), st.integers(1, 4), sees=SEES),
).map(
    lambda drawn: task_of(
        drawn[0],
        retry=drawn[1] and Retry(drawn[1][0], lost=drawn[1][1]),
        loop=drawn[2],
    )
)


@settings(max_examples=500)
@given(tasks, st.integers(0, 5), st.data())
def test_every_task_ends(task: Task, base: int, data: st.DataObject) -> None:
    """Promise 4: any outcomes in any order end within the attempts and losses of each iteration,
    and what runs at most once has no second start without ``NotDone`` (promise 3).
    """
    attempts = task.retry.attempts if task.retry else 0
    losses = max(MAX_LOST, task.retry.lost if task.retry else 0)
    iterations = task.loop.max_iterations if task.loop else 1
    progress = Progress(attempt=base + 1, base=base)
    started_before = False
    for _turn in range((attempts + losses + 1) * iterations):
        at_most_once = task.effects == "at_most_once"
        started, what = data.draw(happenings)
        started = started or not at_most_once
        at = Attempt(*progress[:4], started)
        decision = lose(task, at) if isinstance(what, str) else judge(task, at, what)
        assert not (at_most_once and started and started_before)
        not_done = not isinstance(what, str) and what.not_done
        started_before = started_before or (started and not not_done)
        if decision.result.status == S.UNKNOWN and not isinstance(what, Outcome):
            assert at_most_once
            assert started
        if decision.kind == "final":
            return
        assert decision.result.status in {S.SUCCESS, S.FAILURE}
        assert not decision.result.started
        # One of the three grows at every turn, and none shrinks but in another iteration.
        before, after = (progress, decision.progress)
        assert (before.iteration, before.attempt, before.lost) < (
            after.iteration,
            after.attempt,
            after.lost,
        )
        progress = after
    pytest.fail(f"no end after {attempts + losses + iterations} turns")
