"""How a worker goes through a batch, task by task: on a run in memory, without a process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.model import Effects, Retry, Task, TaskResult
from distflow.core.status import RunStatus, TaskStatus
from distflow_worker.alarm import DeadlinePassed
from tests.support.stores import claim, final, finish
from tests.support.taking import Counted, Taken
from tests.support.tasks import scripted
from tests.support.wait import wait_for

TASKS = "tests.support.tasks.scripted"


@pytest.fixture(autouse=True)
def script() -> Iterator[None]:
    """Nothing is scripted, and nothing was called."""
    scripted.CALLED.clear()
    scripted.ACTS.clear()
    yield
    scripted.ACTS.clear()


def task(name: str, *parents: str, effects: Effects = "normal", **fields: Any) -> Task:
    """A task that does what a test says."""
    function = fields.pop("function", "act")
    return Task(name, f"{TASKS}:{function}", depends_on=parents, effects=effects, **fields)


def short(name: str, *parents: str, **fields: Any) -> Task:
    """One that may be claimed along with others."""
    return task(name, *parents, effects="idempotent", **fields)


def fail() -> None:
    """What a task does that fails."""
    raise ValueError("no")


# Which tasks it takes


def test_it_takes_one_task_after_the_other() -> None:
    """Each is claimed when the one before has ended, and that is told in the same call."""
    taken = Taken(task("a"), task("b", "a"), task("c", "b"))
    assert scripted.CALLED == ["a", "b", "c"]
    assert taken.store.claimed == [["a"], ["b"], ["c"], []]
    assert taken.store.finished == [[], ["a"], ["b"], ["c"]]
    assert taken.at_work == ["a", "", "b", "", "c", ""]
    assert taken.unstarted == ()
    assert taken.store.read_beats() == {}


def test_a_worker_that_shall_stop_leaves_the_rest() -> None:
    """It is asked between two tasks; what it has not begun is named at the end of the batch."""
    taken = Taken(task("a"), task("b"), task("c"), should_stop=lambda: len(scripted.CALLED) == 1)
    assert scripted.CALLED == ["a"]
    assert list(taken.unstarted) == ["b", "c"]
    assert taken.results.keys() == {"a"}


@pytest.mark.parametrize("how", ["stale", "stopped", "gone"])
def test_a_batch_that_is_void_ends(how: str) -> None:
    """Another coordinator leads, the run was paused, or is gone: one refusal is enough, and no
    other task is asked for.
    """

    def act() -> None:
        (run,) = stores[0].server.runs.values()
        if how == "stale":
            run.epoch += 1
        elif how == "stopped":
            run.status = RunStatus.PAUSED
        else:
            stores[0].server.runs.clear()

    stores: list[Counted] = []
    scripted.ACTS["a"] = act
    tasks = (task("a"), task("b"), task("c"))
    if how == "gone":
        with pytest.raises(KeyError):
            Taken(*tasks, before=lambda store, _epoch: stores.append(store))
    else:
        taken = Taken(*tasks, before=lambda store, _epoch: stores.append(store))
        assert list(taken.unstarted) == ["b", "c"]
    assert scripted.CALLED == ["a"]
    assert stores[0].claimed == [["a"], ["b"], []]


def test_what_is_done_or_busy_is_passed_over() -> None:
    """The others are taken. What is done need not be looked after any more; what another holds, or
    is not ready, is named.
    """

    def before(store: Counted, epoch: int) -> None:
        claim(store, epoch, "done", "t1", batch="other")
        finish(store, epoch, final("done", "t1"), batch="other")
        claim(store, epoch, "busy", "t2", batch="other")

    taken = Taken(task("done"), task("busy"), task("after", "busy"), task("a"), before=before)
    assert scripted.CALLED == ["a"]
    assert list(taken.unstarted) == ["busy", "after"]


def test_an_attempt_that_was_prepared_for_another_task_is_not_used() -> None:
    """The second task was made ready while its claim was on its way, and is another's: the third is
    its own.
    """

    def before(store: Counted, epoch: int) -> None:
        claim(store, epoch, "busy", "t", batch="other")

    taken = Taken(task("a"), task("busy"), task("c", function="other"), before=before)
    assert scripted.CALLED == ["a", "c"]
    assert taken.results["c"].data == "c"
    assert taken.results.keys() == {"a", "c"}


def test_what_is_not_plain_is_not_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a function that was called before in this batch, without a timeout, is made ready while
    its claim is on its way: nothing is imported, and nothing runs unwatched, before it is granted.
    """
    read: list[str] = []

    def prepare(attempt: Any) -> None:
        read.append(attempt.task.name)

    monkeypatch.setattr("distflow_worker.attempt.AttemptRun.prepare", prepare)
    Taken(task("a"), task("b"), task("c", timeout=5.0), task("d", function="other"), task("e"))
    assert read == ["b", "e"]


# How long it may take


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has worked for long after 20 ms."""
    monkeypatch.setattr("distflow.core.pacing.LONGEST_MS", 20.0)


@pytest.mark.usefixtures("soon")
def test_a_batch_that_has_worked_for_long_claims_no_more() -> None:
    """Not even what follows in a line: its worker is free for whatever comes first by then. What it
    leaves is named, and the outcome of the last task is told as its batch ends.
    """
    scripted.ACTS["b"] = partial(time.sleep, 0.025)
    taken = Taken(task("a"), task("b", "a"), task("c", "b"), task("d", "c"))
    assert scripted.CALLED == ["a", "b"]
    assert taken.store.claimed == [["a"], ["b"], []]
    assert list(taken.unstarted) == ["c", "d"]
    assert taken.results.keys() == {"a", "b"}


@pytest.mark.usefixtures("soon")
def test_what_is_claimed_already_is_run() -> None:
    """A group was claimed before the time was up: nobody else could have it sooner."""
    scripted.ACTS["a"] = partial(time.sleep, 0.025)
    taken = Taken(short("a"), short("b"), task("c", function="other"), short=True)
    assert scripted.CALLED == ["a", "b"]
    assert list(taken.unstarted) == ["c"]


def test_what_a_batch_pays_before_its_first_call_is_no_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An import or a condition that takes half a second: the batch is worth more than one task."""
    monkeypatch.setattr("distflow.core.pacing.LONGEST_MS", 100.0)

    def look() -> bool:
        time.sleep(0.11)
        return True

    scripted.ACTS["?a"] = look
    Taken(task("a", condition=f"{TASKS}:looks"), task("b"))
    assert scripted.CALLED == ["?a", "a", "b"]


# Groups


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


# Starts and ends


def test_a_start_that_rides_with_its_claim() -> None:
    """What may run twice starts with its claim; what may not, or may be left out by its condition,
    is marked just before the call.
    """
    seen: dict[str, int] = {}
    stores: list[Counted] = []

    def note(name: str) -> None:
        seen[name] = stores[0].read_claims()[name].started

    scripted.ACTS |= {name: partial(note, name) for name in ("a", "asks", "once")}
    starts: list[str] = []

    def before(store: Counted, _epoch: int) -> None:
        stores.append(store)
        start = store.start_task

        def marked(task: str, token: str, *, on_disk: bool = True) -> Code:
            assert store.read_claims()[task].started == 0
            assert on_disk == (task == "once")
            starts.append(task)
            return start(task, token)

        store.start_task = marked  # type: ignore[method-assign]

    scripted.ACTS["?asks"] = scripted.ACTS["?not"] = lambda: scripted.CALLED[-1] == "?asks"
    asking = [task(name, function="other", condition=f"{TASKS}:looks") for name in ("asks", "not")]
    taken = Taken(task("a"), *asking, task("once", effects="at_most_once"), before=before)
    assert starts == ["asks", "once"]
    assert all(seen.values())
    assert [name for kind, name in taken.told if kind == "started"] == starts
    assert taken.results["not"].status == "skipped"


def test_a_short_task_with_a_condition_starts_with_its_claim() -> None:
    """It is claimed along with others, and its end tells enough."""
    scripted.ACTS["?b"] = lambda: True
    taken = Taken(short("a"), short("b", condition=f"{TASKS}:looks"), short=True)
    assert taken.told == [("claimed", "a"), ("finished", "a"), ("finished", "b")]


def test_a_claim_that_was_lost_before_the_start_is_not_called() -> None:
    """The coordinator gave it to another: the worker goes on with the next task."""
    stores: list[Counted] = []

    def give_away() -> bool:
        del stores[0].server.runs["run-1"].claims["once"]
        return True

    scripted.ACTS["?once"] = give_away
    once = task("once", effects="at_most_once", condition=f"{TASKS}:looks")
    taken = Taken(once, task("b"), before=lambda store, _epoch: stores.append(store))
    assert scripted.CALLED == ["?once", "b"]
    assert taken.results.keys() == {"b"}


def test_a_cancellation_comes_before_the_start() -> None:
    """A condition took long, and the run was cancelled meanwhile: the function is not called."""
    scripted.ACTS["?a"] = lambda: True
    taken = Taken(
        task("a", condition=f"{TASKS}:looks"),
        cancelled=lambda: scripted.CALLED == ["?a"],
        before=lambda store, _epoch: None,
    )
    # A claim that was granted while nobody had heard of it.
    assert scripted.CALLED == ["?a"]
    assert taken.results["a"].status == TaskStatus.CANCELLED


def test_a_task_that_overran_ends_its_batch() -> None:
    """What it has left behind may go on in this process: no other task is begun beside it."""

    @contextmanager
    def deadline(seconds: float | None) -> Iterator[None]:
        yield
        if seconds is not None:
            raise DeadlinePassed

    taken = Taken(task("a"), task("b", timeout=1.0), task("c"), task("d"), deadline=deadline)
    assert scripted.CALLED == ["a", "b"]
    assert list(taken.unstarted) == ["c", "d"]
    assert taken.results["b"].error == "TaskTimeout: ran longer than 1 s"


def test_an_outcome_that_comes_too_late_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The claim was given to another while the task ran: the worker's log says so, and where its
    outcome is.
    """
    stores: list[Counted] = []

    def give_away() -> None:
        stores[0].server.runs["run-1"].claims.clear()

    scripted.ACTS["a"] = give_away
    taken = Taken(task("a"), task("b"), before=lambda store, _epoch: stores.append(store))
    assert "task a attempt 1: its outcome success came too late" in caplog.text
    assert taken.results.keys() == {"b"}
    assert [entry.kind for entry in taken.store.read_history()] == ["refused"]


def test_a_task_says_itself_how_it_ended() -> None:
    """What a TaskResult says stands, and dependents follow it."""
    scripted.ACTS["a"] = lambda: TaskResult(TaskStatus.SKIPPED, message="nothing to do")
    taken = Taken(task("a"), task("b", "a"))
    assert (taken.results["a"].status, taken.results["a"].message) == ("skipped", "nothing to do")
    assert scripted.CALLED == ["a"]
    assert list(taken.unstarted) == ["b"]
