"""Tasks that no worker can run: they are held back, all others are sent, and one is tried."""

from __future__ import annotations

import pytest

from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.state import TaskStateManager
from distflow.core.status import TaskStatus
from tests.support.ready import take_ready

S = TaskStatus


@pytest.fixture
def state() -> TaskStateManager:
    """Three tasks that are ready, and one that needs the first."""
    tasks = [Task(name, "m:f") for name in "abc"] + [Task("last", "m:f", depends_on=("a",))]
    return TaskStateManager(Graph.compile(tasks), {}, {}, {}, now_ms=0)


def ready(state: TaskStateManager) -> list[int]:
    """What may be sent; it is asked for again at the next look."""
    found = take_ready(state, "default", 9)
    for index in found:
        state.on_queued(index)
        state.on_unstarted(index)
    return found


def test_barred_tasks_wait_for_a_worker(state: TaskStateManager) -> None:
    """Others go on; who waits for a worker waits for no time, and is ready once it is let go."""
    state.bar([0, 2])
    assert state.statuses == [S.WAITING, S.READY, S.WAITING, S.PENDING]
    assert ready(state) == [1]
    assert (state.next_due(), state.waits()) == (None, {})
    state.bar([2])
    assert ready(state) == [0, 1]
    state.bar([])
    assert ready(state) == [0, 1, 2]


def test_what_becomes_ready_while_it_is_barred_waits(state: TaskStateManager) -> None:
    """A dependent, and a task whose time has come, are held back as the others are; no batch takes
    a dependent along.
    """
    assert state.unmet(3) == 1
    state.on_waiting(1, due_ms=5, now_ms=0)
    state.bar([1, 3])
    assert state.unmet(3) is None
    state.on_finished(0, S.SUCCESS)
    state.on_time(5)
    assert state.statuses == [S.SUCCESS, S.WAITING, S.READY, S.WAITING]
    assert ready(state) == [2]
    state.bar([])
    assert ready(state) == [1, 2, 3]


def test_a_task_that_waits_for_a_time_goes_on_to_wait(state: TaskStateManager) -> None:
    """That a worker is there now brings no retry forward; one with an outcome has it."""
    state.on_waiting(0, due_ms=5, now_ms=0)
    state.on_finished(1, S.SUCCESS)
    state.bar([0, 1])
    state.bar([])
    assert state.statuses[:2] == [S.WAITING, S.SUCCESS]
    assert state.waits() == {0: 5}


def test_one_barred_task_is_tried(state: TaskStateManager) -> None:
    """The first that can run, and no second before it is known what became of that."""
    state.on_waiting(0, due_ms=5, now_ms=0)
    state.bar([0, 1, 2, 3])
    state.try_one([3, 0, 1, 2])
    assert state.statuses == [S.WAITING, S.READY, S.WAITING, S.PENDING]
    state.try_one([3, 0, 1, 2])
    assert state.statuses[2] == S.WAITING, "the one that is tried is not sent yet"
    assert take_ready(state, "default", 9) == [1]
    state.on_queued(1)
    state.try_one([2, 1])
    assert state.statuses[2] == S.WAITING, "the one that is tried is on its way"


@pytest.mark.parametrize("status", [S.QUEUED, S.CLAIMED])
def test_none_is_tried_beside_one_on_its_way(state: TaskStateManager, status: TaskStatus) -> None:
    """It was sent before they were barred: it will show whether a worker can run it."""
    state.on_queued(2)
    if status == S.CLAIMED:
        state.on_claimed(2)
    state.bar([0, 1, 2])
    state.try_one([0, 1, 2])
    assert state.statuses == [S.WAITING, S.WAITING, status, S.PENDING]


def test_a_try_that_nobody_took_is_barred_again(state: TaskStateManager) -> None:
    """It counts once: what comes back waits as the others do, and another may be tried."""
    state.bar([0, 1])
    state.try_one([0, 1])
    state.on_queued(0)
    state.on_unstarted(0)
    assert state.statuses[:2] == [S.WAITING, S.WAITING]
    state.try_one([1, 0])
    assert state.statuses[:2] == [S.WAITING, S.READY]


def test_a_new_judgement_ends_a_try(state: TaskStateManager) -> None:
    """The task that was to be tried is barred as the others, and the next try begins anew."""
    state.bar([0, 1])
    state.try_one([0])
    state.bar([0, 1])
    assert state.statuses[:2] == [S.WAITING, S.WAITING]
    state.try_one([0, 1])
    assert state.statuses[:2] == [S.READY, S.WAITING]


def test_nothing_is_tried_where_nothing_waits_for_a_worker(state: TaskStateManager) -> None:
    """Tasks that are ready or pending need no try."""
    state.try_one([0, 3])
    state.try_one([])
    assert state.statuses == [S.READY, S.READY, S.READY, S.PENDING]


def test_which_tasks_would_run_now(state: TaskStateManager) -> None:
    """Those that are ready, queued, or wait for a worker: not behind a dependency, not before a
    time, and not in the hands of a worker.
    """
    everything = range(4)
    assert state.unheld(everything) == [0, 1, 2]
    state.bar([2])
    state.on_queued(0)
    state.on_queued(3)
    assert state.unheld(everything) == [0, 1, 2]
    state.on_claimed(0)
    state.on_waiting(1, due_ms=5, now_ms=0)
    assert state.unheld(everything) == [2]
    state.on_finished(0, S.SUCCESS)
    assert state.unheld(everything) == [2, 3]
    assert state.unheld([3]) == [3]
