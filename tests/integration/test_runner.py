"""Every feature of the task runner, in this process and on stock RQ workers: running tasks.

Each scenario is written once; ``stage`` plays it in both places.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from distflow import Loop, Retry, Workflow
from distflow.errors import InvalidInput
from tests.support.stages import Stage, most_at_once
from tests.support.tasks import behaving

VALUES: dict[str, Any] = {
    "plain": [None, True, 7, -(2**63), 2**64 - 1, 0.5, "text", b"bytes", {"key": {1: b"2"}}],
    "datetime": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "date": date(2026, 1, 2),
    "timedelta": timedelta(days=1, microseconds=1),
    "decimal": Decimal("1.10"),
    "uuid": uuid.UUID(int=7),
    "tuple": (1, (2, ())),
    "set": {1, "a"},
    "frozenset": frozenset({2}),
    "complex": 1 + 2j,
}


def test_branches_run_at_once(stage: Stage) -> None:
    """Independent branches run in parallel, and what joins them runs after all."""
    dag = Workflow("join")
    left = dag.add("left", behaving.meet, ("right",))
    right = dag.add("right", behaving.meet, ("left",))
    dag.add("join", behaving.echo, ("joined",), depends_on=[left, right])
    played = stage.play(dag)
    assert played.status == "success"
    assert played.results["join"].data == "joined"
    assert stage.log.read_text().split()[-3:] == ["join", "1", "1"]


def test_tasks_that_wait_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """In this process 32 run at once, however few processors there are."""
    names = {f"t{number}" for number in range(32)}
    dag = Workflow("crowd")
    for name in sorted(names):
        dag.add(name, behaving.meet, tuple(names - {name}))
    assert Stage(tmp_path, None).play(dag).status == "success"


def test_data_flow_through_any_nesting(stage: Stage) -> None:
    """A task's data stand wherever its reference stood in the arguments."""
    dag = Workflow("data")
    one = dag.add("one", behaving.echo, (1,))
    two = dag.add("two", behaving.echo, (2,))
    dag.add("both", behaving.echo, ([one, {"deep": (two, [one])}],))
    assert stage.play(dag).results["both"].data == [1, {"deep": (2, [1])}]


def test_results_say_what_happened(stage: Stage) -> None:
    """A success and a failure alike have status, message, error, data, attempt and metrics."""
    dag = Workflow("results")
    dag.add("good", behaving.behave, (["ok"],))
    dag.add("bad", behaving.behave, (["raise"],))
    dag.add("own", behaving.behave, (["failure"],))
    before = time.time()
    played = stage.play(dag)
    after = time.time()
    good, bad, own = (played.results[name] for name in ("good", "bad", "own"))
    assert played.status == "failure"
    assert (good.status, good.data, good.error, good.message) == ("success", "ok", None, None)
    assert (bad.status, bad.data) == ("failure", None)
    assert (bad.error, bad.message) == ("ValueError: call 1 of bad", "call 1 of bad")
    assert bad.traceback is not None
    assert bad.traceback.rstrip().endswith("ValueError: call 1 of bad")
    assert "behaving.py" in bad.traceback
    assert (own.status, own.message) == ("failure", "said so itself: failure")
    for result in (good, bad, own):
        assert result.attempt == 1
        assert result.worker
        assert result.metrics is not None
        start, end, duration = result.metrics
        assert before <= start <= end <= after
        assert duration == end - start


def test_system_exit_is_a_failure(stage: Stage) -> None:
    """A task that asks the interpreter to end fails, and takes nothing with it."""
    dag = Workflow("leaving")
    dag.add("leave", behaving.leave)
    dag.add("stay", behaving.echo, ("here",))
    played = stage.play(dag)
    assert played.statuses() == {"leave": "failure", "stay": "success"}
    assert played.results["leave"].error == "SystemExit: 7"


def test_retries_wait_and_hold_no_worker(stage: Stage) -> None:
    """A task is tried again after its delay, which doubles; meanwhile others use its slot."""
    dag = Workflow("retries")
    retry = Retry(3, delay=0.3, backoff="exponential", max_delay=0.5)
    dag.add("flaky", behaving.fail_at, (2,), retry=retry, priority=1)
    dag.add("other", behaving.occupy, (0.0,))
    played = stage.play(dag, concurrency=1)
    assert played.statuses() == {"flaky": "success", "other": "success"}
    assert played.results["flaky"].attempt == played.results["flaky"].data == 3
    assert [line[0] for line in stage.lines("flaky")] == ["1", "2", "3"]
    first, second, third = (float(line[1]) for line in stage.lines("flaky"))
    assert second - first >= 0.3
    assert third - second >= 0.5
    assert float(stage.lines("other")[0][1]) < second
    told = ["task_start", "task_retry", "task_start", "task_retry", "task_start", "task_end"]
    assert played.events("flaky") == told


def test_retries_run_out(stage: Stage) -> None:
    """After the last retry the task is a failure, with the last error."""
    dag = Workflow("spent")
    dag.add("hopeless", behaving.behave, (["raise"],), retry=Retry(2))
    result = stage.play(dag).results["hopeless"]
    assert (result.status, result.attempt) == ("failure", 3)
    assert result.error == "ValueError: call 3 of hopeless"


def test_loops_run_until_their_condition(stage: Stage) -> None:
    """A loop runs again after its interval until its condition holds; it is one attempt."""
    dag = Workflow("loops")
    dag.add("loop", behaving.count, loop=Loop(behaving.third, 5, interval=0.2))
    dag.add("endless", behaving.behave, (["again"],), loop=Loop(behaving.until, 2))
    dag.add("broken", behaving.behave, (["bad until"],), loop=Loop(behaving.until, 2))
    played = stage.play(dag)
    assert (played.results["loop"].data, played.results["loop"].attempt) == (3, 1)
    assert [line[0] for line in stage.lines("loop")] == ["1", "2", "3"]
    times = [float(line[1]) for line in stage.lines("loop")]
    # Due times are whole milliseconds.
    assert all(later - earlier >= 0.199 for earlier, later in pairwise(times))
    endless, broken = played.results["endless"], played.results["broken"]
    assert endless.status == broken.status == "failure"
    assert endless.message == "the loop's condition was not met in 2 iterations"
    assert len(stage.lines("endless")) == 2
    assert broken.error == "LookupError: the loop's condition raises"


def test_a_task_has_a_timeout(stage: Stage) -> None:
    """A task that runs too long is a failure at that time, and is tried again if it may be; the
    run does not wait for it.
    """
    dag = Workflow("slow")
    dag.add("slow", behaving.ignore, timeout=0.3, retry=Retry(1))
    dag.add("after", behaving.echo, depends_on=["slow"])
    # The slot of a thread that is abandoned is given to another.
    played = stage.play(dag, concurrency=1)
    slow = played.results["slow"]
    assert played.statuses() == {"slow": "failure", "after": "skipped"}
    assert slow.error == "TaskTimeout: ran longer than 0.3 s"
    assert slow.attempt == len(stage.lines("slow")) == 2
    assert slow.metrics is not None
    assert 0.3 <= slow.metrics.duration < 10


def test_a_timeout_at_most_once_is_unknown(stage: Stage) -> None:
    """Nobody knows what a task did that was cut off: what follows it waits for a person."""
    dag = Workflow("cut")
    charge = dag.add("charge", behaving.ignore, timeout=0.3, effects="at_most_once")
    dag.add("after", behaving.echo, depends_on=[charge])
    dag.add("apart", behaving.echo)
    played = stage.play(dag)
    assert played.status == "blocked"
    assert played.statuses() == {"charge": "unknown", "after": "pending", "apart": "success"}
    assert played.events("charge") == ["task_start", "task_unknown"]


def test_at_most_once_starts_once(stage: Stage) -> None:
    """A failure of an ``at_most_once`` task stays, unless it vouches that nothing happened."""
    dag = Workflow("once")
    for name, steps in {"vouches": ["not_done", "ok"], "raises": ["raise", "ok"]}.items():
        dag.add(name, behaving.behave, (steps,), retry=Retry(2), effects="at_most_once")
    played = stage.play(dag)
    assert played.statuses() == {"vouches": "success", "raises": "failure"}
    assert [len(stage.lines(name)) for name in ("vouches", "raises")] == [2, 1]
    assert played.results["raises"].started
    assert not played.results["vouches"].started


def test_conditions(stage: Stage) -> None:
    """A false condition skips, one that raises fails, and neither calls the function; a condition
    sees how dependencies ended, and is asked once, whatever the retries.
    """
    dag = Workflow("conditions")
    first = dag.add("first", behaving.echo, ("go",))
    dag.add("goes", behaving.echo, condition=behaving.succeeded, depends_on=[first])
    dag.add("never", behaving.echo, condition=behaving.never)
    dag.add("raising", behaving.echo, condition=behaving.raising, retry=Retry(2))
    steps = ["raise", "again", "ok"]
    options: Any = {"retry": Retry(2), "loop": Loop(behaving.until, 3)}
    dag.add("flaky", behaving.behave, (steps,), condition=behaving.always, **options)
    played = stage.play(dag)
    assert played.status == "failure"
    assert played.statuses() == {
        "first": "success",
        "goes": "success",
        "never": "skipped",
        "raising": "failure",
        "flaky": "success",
    }
    assert played.results["never"].message == "its condition was false"
    assert played.results["raising"].error == "RuntimeError: the condition raises"
    assert played.events("never") == ["task_skipped"]
    assert stage.lines("never") == stage.lines("raising") == []
    assert len(stage.lines("flaky")) == 3
    assert len(stage.lines("?flaky")) == len(stage.lines("?raising")) == 1


def test_a_run_of_skips_by_condition_succeeds(stage: Stage) -> None:
    """A condition that is false is no failure of the run, nor are the skips that follow from it."""
    dag = Workflow("skips")
    dag.add("never", behaving.echo, condition=behaving.never)
    dag.add("after", behaving.echo, depends_on=["never"])
    played = stage.play(dag)
    assert played.status == "success"
    assert played.statuses() == {"never": "skipped", "after": "skipped"}
    assert played.results["after"].message == "not run: 'never' ended as skipped"


def test_tolerated_failure(stage: Stage) -> None:
    """With ``continue_on_error`` a failure stays one, its dependents run with None in its place
    and may look at it, and the run succeeds.
    """
    dag = Workflow("tolerant")
    bad = dag.add("bad", behaving.behave, (["raise"],), continue_on_error=True)
    dag.add("takes", behaving.echo, (bad, "more"))
    dag.add("looks", behaving.look, ("bad",), depends_on=[bad])
    played = stage.play(dag)
    assert played.status == "success"
    assert played.statuses() == {"bad": "failure", "takes": "success", "looks": "success"}
    assert played.results["takes"].data == [None, "more"]
    assert played.results["looks"].data == [["failure", "call 1 of bad", None]]


def test_only_dependencies_can_be_looked_at(stage: Stage) -> None:
    """``ctx.result_of`` tells of direct dependencies alone: others may not have ended."""
    dag = Workflow("looking")
    first = dag.add("first", behaving.echo)
    second = dag.add("second", behaving.echo, depends_on=[first])
    dag.add("third", behaving.look_elsewhere, ("first",), depends_on=[second])
    result = stage.play(dag).results["third"]
    assert result.error == "KeyError: \"task 'third' does not depend on 'first'\""


def test_skips_name_their_root_cause(stage: Stage) -> None:
    """All that depends on a failure is skipped and says which; other branches go on."""
    dag = Workflow("cascade")
    dag.add("bad", behaving.behave, (["raise"],))
    dag.add("child", behaving.echo, depends_on=["bad"])
    dag.add("grandchild", behaving.echo, depends_on=["child", "fine"])
    dag.add("fine", behaving.echo)
    dag.add("finer", behaving.echo, depends_on=["fine"])
    played = stage.play(dag)
    assert played.status == "failure"
    for name in ("child", "grandchild"):
        assert played.results[name].status == "skipped"
        assert played.results[name].message == "not run: 'bad' ended as failure"
        assert played.events(name) == ["task_skipped"]
    assert played.results["finer"].status == "success"


def test_priorities_order_what_is_ready(stage: Stage) -> None:
    """With one slot the highest priority goes first, ties in order of definition."""
    dag = Workflow("priorities")
    for name, priority in [("a", 0), ("b", 5), ("c", -1), ("d", 5), ("e", 0)]:
        dag.add(name, behaving.occupy, (0.0,), priority=priority)
    assert stage.play(dag, concurrency=1).status == "success"
    begun = [line.split()[0] for line in stage.log.read_text().splitlines() if "+" in line]
    assert begun == ["b", "d", "a", "e", "c"]


def test_concurrency_is_never_exceeded(stage: Stage) -> None:
    """No more tasks run at once than the run allows, though more could; and as many do."""
    dag = Workflow("limited")
    for number in range(8):
        dag.add(f"t{number}", behaving.occupy, (0.1,))
    limit = 3 if stage.redis is None else 1
    assert stage.play(dag, concurrency=limit).status == "success"
    assert most_at_once(stage.log) == limit


def test_values_of_every_type_travel(stage: Stage) -> None:
    """Every type of the codec comes back as it was given, through arguments and results."""
    dag = Workflow("values")
    first = dag.add("first", behaving.echo, (VALUES,))
    dag.add("second", behaving.echo, (first,))
    played = stage.play(dag, {"when": VALUES["datetime"]})
    assert played.results["second"].data == VALUES
    for name, value in VALUES.items():
        assert type(played.results["second"].data[name]) is type(value)


def test_what_cannot_be_encoded_fails_by_path(stage: Stage) -> None:
    """A result that has no encoding fails its task with the path to the element, without a retry:
    it ran, and would bring the same again.
    """
    dag = Workflow("unencodable")
    dag.add("odd", behaving.behave, (["unencodable"],), retry=Retry(2))
    result = stage.play(dag).results["odd"]
    assert result.status == "failure"
    assert result.error is not None
    assert result.error.startswith("NotEncodable: data['kept'][1]['where']: builtins.object")
    assert len(stage.lines("odd")) == 1


def test_results_are_bounded(stage: Stage) -> None:
    """A result of more than 16 MiB fails its task, with its size."""
    dag = Workflow("large")
    dag.add("fits", behaving.fill, (1 << 20,))
    dag.add("large", behaving.fill, (1 << 24,))
    played = stage.play(dag)
    assert played.statuses() == {"fits": "success", "large": "failure"}
    error = played.results["large"].error
    assert error is not None
    assert "more than max_result_bytes (16,777,216)" in error


def test_what_ctx_tells(stage: Stage) -> None:
    """A task knows its run, itself, its try and the parameters; its key is its own."""
    dag = Workflow("ctx")
    dag.add("one", behaving.tell)
    dag.add("two", behaving.tell)
    played = stage.play(dag, {"day": date(2026, 1, 2)})
    one, two = played.results["one"].data, played.results["two"].data
    assert one["run_id"] == two["run_id"] == played.notices[0].run_id
    assert (one["task"], one["attempt"], one["iteration"], one["cancelled"]) == ("one", 1, 1, False)
    assert one["params"] == {"log": str(stage.log), "day": date(2026, 1, 2)}
    assert one["key"] != two["key"]


@pytest.mark.parametrize("concurrency", [0, -1])
def test_bad_limits_are_refused(stage: Stage, concurrency: int) -> None:
    """A concurrency below 1 is refused before anything runs."""
    dag = Workflow("refused")
    dag.add("t", behaving.echo)
    with pytest.raises(InvalidInput, match="concurrency must be a count of 1 or more"):
        stage.play(dag, concurrency=concurrency)
