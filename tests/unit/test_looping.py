"""When a loop's condition is asked, and about what: on a run in memory, without a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from distflow.core.claim import Progress
from distflow.core.model import Loop, Retry, Task
from distflow.errors import GiveUp
from distflow_worker.alarm import DeadlinePassed
from tests.support.taking import Taken
from tests.support.tasks import scripted

TASKS = "tests.support.tasks.scripted"


@pytest.fixture(autouse=True)
def script() -> Iterator[None]:
    """Nothing is scripted, and nobody was asked."""
    scripted.ACTS.clear()
    scripted.ASKED.clear()
    yield
    scripted.ACTS.clear()


def looping(**fields: Any) -> Task:
    """A task that fails, and asks its script whether its loop ends."""
    scripted.ACTS["a"] = fail
    loop = Loop(f"{TASKS}:until", 3, interval=30.0)
    return Task("a", f"{TASKS}:act", loop=loop, **fields)


def fail() -> None:
    """What the task does."""
    raise ConnectionError("no database yet")


def progress_of(taken: Taken) -> Progress:
    """Which attempt and iteration comes next."""
    return taken.store.read_progress()["a"]


def test_it_is_asked_about_a_failure() -> None:
    """It gets the TaskResult; where it is not met the task runs again after the interval."""
    scripted.ACTS["!a"] = lambda: False
    taken = Taken(looping())
    (result,) = scripted.ASKED
    assert (result.status, result.error) == ("failure", "ConnectionError: no database yet")
    assert result.metrics is not None
    assert taken.results == {}
    assert progress_of(taken)[:3] == (1, 2, 0)


def test_a_failure_that_it_takes_is_the_outcome() -> None:
    """As it was."""
    scripted.ACTS["!a"] = lambda: True
    taken = Taken(looping())
    assert taken.results["a"] == scripted.ASKED[0]


def test_it_is_not_asked_while_a_retry_is_left() -> None:
    """An iteration has all of its tries first."""
    taken = Taken(looping(retry=Retry(1)))
    assert scripted.ASKED == []
    assert progress_of(taken)[:3] == (2, 1, 0)


def test_it_is_not_asked_about_one_who_gives_up() -> None:
    """That is the end."""

    def give_up() -> None:
        raise GiveUp("the database was removed")

    task = looping()
    scripted.ACTS["a"] = give_up
    taken = Taken(task)
    assert scripted.ASKED == []
    assert taken.results["a"].message == "the database was removed"


@contextmanager
def late_at(calls: list[float | None], number: int) -> Iterator[None]:
    """Guards calls, of which one takes too long."""
    calls.append(1.0)
    yield
    if len(calls) == number:
        raise DeadlinePassed


def test_it_is_asked_about_a_timeout() -> None:
    """The task failed of it."""
    scripted.ACTS["!a"] = lambda: True
    calls: list[float | None] = []
    task = looping(timeout=1.0)
    scripted.ACTS["a"] = lambda: None
    taken = Taken(task, deadline=lambda _seconds: late_at(calls, 1))
    assert taken.results["a"].error == "TaskTimeout: ran longer than 1 s"
    assert [result.error for result in scripted.ASKED] == [taken.results["a"].error]


def test_one_that_takes_too_long_has_not_answered() -> None:
    """Its own time is the task's timeout."""
    calls: list[float | None] = []
    scripted.ACTS["!a"] = lambda: True
    taken = Taken(looping(timeout=1.0), deadline=lambda _seconds: late_at(calls, 2))
    assert taken.results == {}
    assert progress_of(taken)[:3] == (1, 2, 0)


def test_one_that_raises_ends_the_loop() -> None:
    """By that failure."""

    def raise_it() -> bool:
        raise LookupError("what is this?")

    scripted.ACTS["!a"] = raise_it
    taken = Taken(looping())
    assert taken.results["a"].error == "LookupError: what is this?"


def test_a_loop_of_version_1_gets_the_data() -> None:
    """Of a success alone."""
    task = looping()
    old = task._replace(loop=task.loop._replace(sees="data") if task.loop else None)
    assert Taken(old).results["a"].status == "failure"
    assert scripted.ASKED == []
    scripted.ACTS["a"] = lambda: [1]
    scripted.ACTS["!a"] = lambda: True
    assert Taken(old).results["a"].data == [1]
    assert scripted.ASKED == [[1]]
