"""Which verify hooks are to be asked, rule by rule."""

from __future__ import annotations

from typing import Any

from distflow.core.graph import Graph
from distflow.core.model import MAX_LOST, Task
from distflow.core.state import TaskStateManager
from distflow.core.status import RunStatus, TaskStatus
from tests.support.ready import take_ready

S = TaskStatus


def state_of(*tasks: Task, **outcomes: TaskStatus) -> TaskStateManager:
    """The state of a run that is led anew."""
    return TaskStateManager(Graph.compile(tasks), outcomes, {}, {}, now_ms=0)


def hooked(name: str, **fields: Any) -> Task:
    """A task with a verify hook."""
    return Task(name, "m:f", effects="at_most_once", verify="m:look_up", **fields)


def test_an_unknown_task_is_asked_about_once() -> None:
    """Also one that was unknown before; only where it has a hook; and nothing is over meanwhile."""
    plain = Task("plain", "m:f", effects="at_most_once")
    state = state_of(hooked("was"), hooked("is", queue="pay"), plain, was=S.UNKNOWN)
    state.on_queued(1)
    for index in (1, 2):
        state.on_claimed(index)
        state.on_finished(index, S.UNKNOWN)
    assert sorted(state.queues()) == ["default", "pay"]
    assert (len(state.questions), state.is_over) == (2, False)
    assert state.questions.take("default", 0) == []
    assert (state.questions.take("default", 9), state.questions.take("pay", 9)) == ([0], [1])
    assert (state.questions.take("default", 9), state.is_over) == ([], False)
    for index in (0, 1):
        state.on_resolved(index, S.UNKNOWN)
    assert (len(state.questions), state.is_over) == (0, True)
    assert state.verdict(cancelled=False) == RunStatus.BLOCKED
    assert state.questions.take_unanswered() == []


def test_who_decides_ends_the_question() -> None:
    """A person, the hook or the lost worker: nobody is asked about what is decided."""
    state = state_of(hooked("a"), hooked("b"), hooked("c"), a=S.UNKNOWN, b=S.UNKNOWN, c=S.UNKNOWN)
    state.on_resolved(0, S.SUCCESS)
    state.on_finished(1, S.FAILURE)
    assert state.questions.take("default", 9) == [2]
    state.on_resolved(2, S.READY)
    assert (len(state.questions), take_ready(state, "default", 9)) == (0, [2])
    state.questions.on_unanswered(2)
    assert state.questions.take("default", 9) == []


def test_what_runs_again_may_be_asked_about_again() -> None:
    """A second attempt that is lost is another question, listed once."""
    state = state_of(hooked("a"), a=S.UNKNOWN)
    state.on_resolved(0, S.READY)
    state.on_claimed(0)
    state.on_finished(0, S.UNKNOWN)
    assert state.questions.take("default", 9) == [0]
    assert state.questions.take("default", 9) == []


def test_a_hook_that_never_answers_is_left_to_a_person() -> None:
    """It is asked again three times; where no worker could begin to, that does not count."""
    state = state_of(hooked("a"), a=S.UNKNOWN)
    for _ in range(10):
        assert state.questions.take("default", 9) == [0]
        state.questions.on_unanswered(0, in_vain=False)
    for _ in range(1 + MAX_LOST):
        assert state.questions.take_unanswered() == []
        assert state.questions.take("default", 9) == [0]
        state.questions.on_unanswered(0)
    assert state.questions.take("default", 9) == []
    assert state.is_over
    assert state.questions.take_unanswered() == [0]
    assert state.questions.take_unanswered() == []


def test_a_cancelled_run_asks_nobody() -> None:
    """What is unknown waits for a person, or a resume; also what becomes so by the cancelling."""
    state = state_of(hooked("a"), hooked("b"), a=S.UNKNOWN)
    state.on_claimed(1)
    assert state.cancel_open() == []
    assert (len(state.questions), state.questions.take("default", 9)) == (0, [])
    state.on_finished(1, S.UNKNOWN)
    state.cancel_open()
    assert (state.is_over, state.verdict(cancelled=True)) == (True, RunStatus.BLOCKED)


def test_a_question_is_given_up_once() -> None:
    """Where no worker can ask it; who has none, or whose question was answered, is no part."""
    state = state_of(hooked("a"), hooked("b"), Task("c", "m:f"), a=S.UNKNOWN, b=S.UNKNOWN)
    assert state.questions.take("default", 1) == [0]
    assert state.questions.give_up([0, 1, 2]) == [0, 1]
    assert state.questions.give_up([0, 1]) == []
    assert (state.questions.take("default", 9), state.questions.take_unanswered()) == ([], [])
    assert (len(state.questions), state.questions.queues()) == (0, [])
