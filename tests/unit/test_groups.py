"""Short idempotent tasks are claimed in groups: on a run in memory, without a process."""

from __future__ import annotations

import time

import pytest

from distflow.core.model import Retry, Task
from tests.support.scripting import TASKS, fail, script, short, task  # noqa: F401 - a fixture
from tests.support.taking import Counted, Taken
from tests.support.tasks import scripted
from tests.support.wait import wait_for


@pytest.mark.parametrize(
    ("tasks", "groups"),
    [
        ([short("a"), short("b"), short("c")], [["a", "b", "c"]]),
        ([short("a"), task("b"), short("c"), short("d")], [["a"], ["b"], ["c", "d"]]),
        ([task("a"), task("b")], [["a"], ["b"]]),
        ([task("a", effects="at_most_once"), short("b")], [["a"], ["b"]]),
        ([short("a"), short("b", timeout=5.0), short("c")], [["a"], ["b"], ["c"]]),
    ],
)
def test_short_idempotent_tasks_are_claimed_together(
    tasks: list[Task], groups: list[list[str]]
) -> None:
    """Others share no fate: not those that may not run twice, nor those that are ended from outside
    when their time is up.
    """
    taken = Taken(*tasks, short=True)
    assert taken.store.claimed == [*groups, []]
    assert len(scripted.CALLED) == len(tasks)


def test_what_was_never_measured_is_claimed_alone() -> None:
    """Nobody knows whether it is short."""
    assert Taken(short("a"), short("b")).store.claimed == [["a"], ["b"], []]


def test_a_group_is_as_long_as_outcomes_may_wait() -> None:
    """About 50 ms of work, and 1,000 tasks."""
    tasks = [short(f"t{number}") for number in range(30)]
    assert len(Taken(*tasks, short=9.0).store.claimed[0]) == 6
    many = [short(f"t{number}") for number in range(1100)]
    assert 900 < len(Taken(*many, short=0.0001).store.claimed[0]) <= 1000


def test_only_short_tasks_begin_without_a_word() -> None:
    """Of a claim of one that may be long, its coordinator is told; and of the first of several, so
    that it knows that the batch has begun.
    """
    # One alone: what the first took here, on a busy machine, counts for the second.
    quiet = Taken(short("a"), short=True)
    assert [name for kind, name in quiet.told if kind == "claimed"] == []
    first = Taken(short("a"), short("b"), short=True)
    assert [name for kind, name in first.told if kind == "claimed"] == ["a"]
    long = Taken(short("a"), task("b", function="other"), short=25.0)
    assert [name for kind, name in long.told if kind == "claimed"] == ["a", "b"]


def test_a_function_that_turns_out_to_be_long_is_claimed_alone() -> None:
    """What it took the last time counts, if that was longer; else half of it does."""
    scripted.ACTS["a"] = lambda: time.sleep(0.03)
    taken = Taken(short("a"), task("b", function="other"), short("c"), short("d"), short=True)
    assert taken.store.claimed == [["a"], ["b"], ["c"], ["d"], []]


@pytest.mark.parametrize("tolerated", [True, False])
def test_a_group_goes_on_behind_a_failure(tolerated: bool) -> None:
    """What rests on a task that failed is given back, untouched, and so is what rests on that;
    unless the failure is tolerated.
    """
    scripted.ACTS["a"] = fail
    taken = Taken(
        short("a", continue_on_error=tolerated),
        short("b", "a"),
        short("c", "b"),
        short("d"),
        short=True,
    )
    assert taken.store.claimed[0] == ["a", "b", "c", "d"]
    if tolerated:
        assert scripted.CALLED == ["a", "b", "c", "d"]
        return
    assert scripted.CALLED == ["a", "d"]
    assert list(taken.unstarted) == ["b", "c"]
    assert taken.store.read_claims() == {}
    assert [name for kind, name in taken.told if kind == "released"] == ["b", "c"]


def test_a_group_goes_on_behind_a_task_that_runs_again_later() -> None:
    """It has no outcome yet: what rests on it is given back."""
    scripted.ACTS["a"] = fail
    again = short("a", retry=Retry(1, delay=60.0))
    taken = Taken(again, short("b", "a"), short("c"), short=True)
    assert scripted.CALLED == ["a", "c"]
    assert list(taken.unstarted) == ["b"]
    assert taken.store.read_progress()["a"].attempt == 2


def test_a_cancelled_run_starts_nothing_that_was_claimed_ahead() -> None:
    """The heartbeat has heard of it: what the group holds is given back."""
    taken = Taken(
        short("a"),
        short("b"),
        short("c"),
        short=True,
        cancelled=lambda: len(scripted.CALLED) == 1,
    )
    assert scripted.CALLED == ["a"]
    assert list(taken.unstarted) == ["b", "c"]
    assert taken.store.read_claims() == {}


def test_a_stop_gives_back_what_was_claimed_ahead() -> None:
    """And tells what has ended."""
    taken = Taken(
        short("a"),
        short("b"),
        short("c"),
        short=True,
        should_stop=lambda: len(scripted.CALLED) == 1,
    )
    assert scripted.CALLED == ["a"]
    assert list(taken.unstarted) == ["b", "c"]
    assert taken.store.read_claims() == {}
    assert taken.results.keys() == {"a"}


@pytest.mark.parametrize("first", [True, False])
def test_nothing_waits_behind_a_task_that_was_thought_to_be_short(first: bool) -> None:
    """While it runs, what has ended is recorded, and what was claimed with it goes to others; it is
    taken all the same where nobody else did.
    """
    stores: list[Counted] = []

    def long() -> None:
        wait_for(lambda: stores[0].read_claims().keys() == {"long"}, 10, "the others to be free")
        if not first:
            assert stores[0].list_results() == ["a"]

    scripted.ACTS["long"] = long
    names = ["long", "a", "b"] if first else ["a", "long", "b"]
    taken = Taken(*map(short, names), short=True, before=lambda store, _epoch: stores.append(store))
    assert names == scripted.CALLED
    assert {name: result.data for name, result in taken.results.items()} == {
        "long": None,
        "a": "a",
        "b": "b",
    }
