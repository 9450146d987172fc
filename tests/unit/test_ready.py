"""The ready tasks of a queue: the best first, and none that is not ready any more."""

from __future__ import annotations

import pytest

from distflow.core.ready import ReadyQueue, index_of, sort_key
from distflow.core.status import TaskStatus

S = TaskStatus


@pytest.mark.parametrize("priority", [-(2**53), -1, 0, 1, 2**53])
@pytest.mark.parametrize("index", [0, 1, 2**20, 2**40 - 1])
def test_a_key_has_the_index(priority: int, index: int) -> None:
    """Whatever the priority."""
    assert index_of(sort_key(priority, index)) == index


def test_keys_order_by_priority_then_by_definition() -> None:
    """The last task of a high priority comes before the first of a lower one."""
    wanted = [(5, 0), (5, 2**40 - 1), (0, 0), (0, 1), (-1, 0), (-7, 3)]
    keys = [sort_key(*pair) for pair in wanted]
    assert keys == sorted(set(keys))


def test_the_best_ready_task_is_taken() -> None:
    """One that is not ready any more is passed over, and may be listed again."""
    statuses = [S.READY] * 4
    queue = ReadyQueue(statuses)
    assert queue.peek() is None
    for index, priority in enumerate((0, 5, 0, 9)):
        queue.add(sort_key(priority, index))
        queue.add(sort_key(priority, index))
    assert len(queue) == 4
    assert sorted(queue.sample(9)) == [0, 1, 2, 3]
    assert queue.sample(2)[0] == 3
    assert len(queue.sample(2)) == 2
    statuses[3] = S.SKIPPED
    assert queue.peek() == sort_key(5, 1)
    assert (queue.pop(), len(queue)) == (1, 2)
    statuses[3] = S.READY
    for priority, index in ((9, 3), (5, 1)):
        queue.add(sort_key(priority, index))
    assert [queue.pop() for _ in range(4)] == [3, 1, 0, 2]
    assert queue.peek() is None


def test_nothing_is_left_where_nothing_is_ready() -> None:
    """Out-of-date entries are dropped as they are seen."""
    queue = ReadyQueue([S.QUEUED, S.QUEUED])
    for index in (0, 1):
        queue.add(sort_key(0, index))
    assert queue.peek() is None
    assert len(queue) == 0
