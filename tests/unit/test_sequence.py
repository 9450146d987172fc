"""How a worker goes through a batch, task by task: on a run in memory, without a process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from distflow.core.claim import Code
from distflow.core.model import TaskResult
from distflow.core.status import RunStatus, TaskStatus
from distflow_worker.alarm import DeadlinePassed
from tests.support.scripting import TASKS, fail, script, short, task  # noqa: F401 - a fixture
from tests.support.stores import claim, final, finish
from tests.support.taking import Counted, Taken
from tests.support.tasks import scripted

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
