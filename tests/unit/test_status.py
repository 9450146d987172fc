"""The table of the moves of a task, and the sets that follow from it."""

from __future__ import annotations

import itertools

import pytest

from distflow.core.status import (
    ACTIVE_RUNS,
    ENDED_RUNS,
    OUTCOMES,
    REOPENED,
    TASK_MOVES,
    RunStatus,
    TaskStatus,
    check_move,
    shown_status,
)
from distflow.errors import IllegalTransition

S = TaskStatus


def test_the_table_is_closed() -> None:
    """Every status has a row, and every move leads to a status that has one."""
    assert set(TASK_MOVES) == set(TaskStatus)
    assert set().union(*TASK_MOVES.values()) == set(TaskStatus)


def test_what_is_final_stays() -> None:
    """Promise 2: of the outcomes only ``unknown`` moves, to what it turns out to be or to ready."""
    for status in OUTCOMES - {S.UNKNOWN}:
        assert TASK_MOVES[status] == frozenset()
    assert TASK_MOVES[S.UNKNOWN] == OUTCOMES - {S.UNKNOWN} | {S.READY}


def test_only_what_has_started_can_be_unknown() -> None:
    """Promise 3: a death before the start leaves no doubt."""
    assert [old for old, moves in TASK_MOVES.items() if S.UNKNOWN in moves] == [S.STARTED]
    assert [old for old, moves in TASK_MOVES.items() if S.SUCCESS in moves] == [
        S.STARTED,
        S.UNKNOWN,
    ]


def test_every_status_can_be_reached_and_left() -> None:
    """From pending there is a way to everything, and from everything a way to an end."""
    reached, open_ones = {S.PENDING}, [S.PENDING]
    while open_ones:
        new = TASK_MOVES[open_ones.pop()] - reached
        reached |= new
        open_ones += new
    assert reached == set(TaskStatus)
    assert all(TASK_MOVES[status] for status in set(TaskStatus) - OUTCOMES)
    assert all(S.CANCELLED in TASK_MOVES[status] for status in set(TaskStatus) - OUTCOMES)


@pytest.mark.parametrize(("old", "new"), [*itertools.product(TaskStatus, TaskStatus)])
def test_any_other_move_raises(old: TaskStatus, new: TaskStatus) -> None:
    """The check is the table, and its message names the task and both statuses."""
    if new in TASK_MOVES[old]:
        check_move("t", old, new)
    else:
        with pytest.raises(IllegalTransition, match=f"task 't' may not go from {old} to {new}"):
            check_move("t", old, new)


def test_a_resume_evaluates_what_is_neither_done_nor_undecided() -> None:
    """Promise 5: failure, skipped and cancelled."""
    assert OUTCOMES - {S.SUCCESS, S.UNKNOWN} == REOPENED


def test_runs_that_have_ended_need_no_leader() -> None:
    """The statuses of runs do not overlap; a paused or interrupted run waits for a person."""
    assert not ACTIVE_RUNS & ENDED_RUNS
    assert set(RunStatus) - ACTIVE_RUNS - ENDED_RUNS == {
        RunStatus.CREATING,
        RunStatus.PAUSED,
        RunStatus.INTERRUPTED,
    }


def test_users_see_the_plain_words() -> None:
    """The value is the text in Redis, in JSON and in messages."""
    assert f"{S.UNKNOWN} {RunStatus.BLOCKED}" == "unknown blocked"


def test_people_have_one_word_for_a_task_at_work() -> None:
    """Whether it was claimed or has started as well; every other status is its own word."""
    at_work = {S.CLAIMED, S.STARTED}
    assert {shown_status(status) for status in at_work} == {"running"}
    assert all(shown_status(status) == status.value for status in set(TaskStatus) - at_work)
