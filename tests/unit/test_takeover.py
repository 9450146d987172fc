"""What a new run takes over from a snapshot: whatever must not run again, and nothing stale."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import MAP_FUNCTION, Effects, Grow, Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput, SnapshotInvalid
from distflow.runs.takeover import Taking, take_over
from distflow.snapshot import Snapshot
from distflow.snapshot.reader import SnapshotReader
from distflow.snapshot.records import Header, Outcome
from distflow.snapshot.writer import SnapshotWriter
from distflow.wire.codec import decode_result, encode_result, encode_task, pack
from distflow.wire.fingerprint import fingerprint

SUCCESS, UNKNOWN, FAILURE = TaskStatus.SUCCESS, TaskStatus.UNKNOWN, TaskStatus.FAILURE
ONCE: Effects = "at_most_once"
DONE = TaskResult(SUCCESS, data=1)
TASKS = (
    Task("a", "pkg:a", args=(1, (2, 3))),
    Task("b", "pkg:b", depends_on=("a",), effects=ONCE),
    Task("c", "pkg:c", depends_on=("b",)),
)


def taken(
    snapshot: Snapshot, tasks: Sequence[Task] = TASKS, **taking: Any
) -> dict[str, Progress | None]:
    """The names that are taken over, with their progress."""
    outcomes = take_over(snapshot, Graph.compile(tasks), Taking(**taking)).outcomes
    return {name: progress for name, _packed, progress in outcomes}


def warnings(snapshot: Snapshot, tasks: Sequence[Task], **taking: Any) -> str:
    """What a person is told."""
    return "\n".join(take_over(snapshot, Graph.compile(tasks), Taking(**taking)).warnings)


def snapshot_of(
    tasks: Sequence[Task], known: Mapping[str, TaskResult], *, live: bool = False
) -> Snapshot:
    """The snapshot of a run of these tasks."""
    stream = io.BytesIO()
    writer = SnapshotWriter(stream)
    writer.write_header(Header("run-1", "pkg:flow", pack({}), "0123", live=live))
    writer.write_graph(
        pack([encode_task(task) for task in tasks]), [fingerprint(task) for task in tasks]
    )
    writer.write_outcomes(
        Outcome(name, encode_result(result), None) for name, result in known.items()
    )
    writer.finish(live=live, once=sum(task.effects == ONCE for task in tasks))
    return Snapshot.read(SnapshotReader(stream, "s"))


def parts(count: int, effects: Effects = "normal") -> list[Task]:
    """So many parts, what is made of all of them, and what follows from that."""
    names = tuple(f"part-{number}" for number in range(count))
    made = [Task(name, "pkg:part") for name in names]
    total = Task("total", "pkg:total", args=(list(names),), depends_on=names, effects=effects)
    return [*made, total, Task("tell", "pkg:tell", depends_on=("total",)), Task("side", "pkg:s")]


def all_done(tasks: Sequence[Task]) -> Snapshot:
    """The snapshot of a run that has succeeded."""
    return snapshot_of(tasks, {task.name: DONE for task in tasks})


# What never runs again


@pytest.mark.parametrize(
    ("result", "is_taken"),
    [
        (TaskResult(SUCCESS), True),
        (TaskResult(UNKNOWN), True),
        (TaskResult(FAILURE), False),
        (TaskResult(FAILURE, started=True), True),
        (TaskResult(TaskStatus.SKIPPED), False),
        (TaskResult(TaskStatus.CANCELLED), False),
        (TaskResult(TaskStatus.CANCELLED, started=True), True),
    ],
)
def test_what_must_not_run_again_is_taken_over(result: TaskResult, is_taken: bool) -> None:
    """Promises 1, 3 and 5: done stays done, what may have had effects stays, the rest runs."""
    assert ("b" in taken(Snapshot({"b": result}, origin="0123"))) == is_taken


def test_an_unknown_task_goes_on_counting() -> None:
    """What resolves it needs its attempt: from the result, where the export does not say."""
    bare = Snapshot({"b": TaskResult(UNKNOWN, attempt=3)}, origin="0123")
    assert taken(bare) == {"b": Progress(4, base=3, started=True)}


# Keys


@pytest.mark.parametrize("known", [{}, {"a": DONE}, {"b": TaskResult(UNKNOWN)}])
def test_a_bare_mapping_changes_keys(known: dict[str, TaskResult]) -> None:
    """Where a task that may run at most once is to run, or may have to: a charge that was at work
    when the mapping was read would be made again, under another key.
    """
    with pytest.raises(SnapshotInvalid, match=r"task 'b' may run at most once, .* new_keys=True"):
        taken(Snapshot(known))
    assert taken(Snapshot(known, origin="0123")).keys() == known.keys()
    assert taken(Snapshot(known), new_keys=True).keys() == known.keys()
    assert taken(Snapshot({**known, "b": DONE})).keys() == {*known, "b"}


def test_the_keys_of_children_change_too() -> None:
    """A map of such a task makes others when it runs."""
    child = Task("", "tests.support.tasks.behaving:tell", effects=ONCE)
    node = Task("m", MAP_FUNCTION, args=([1],), effects="idempotent", grow=Grow("map", child, "id"))
    with pytest.raises(SnapshotInvalid, match=r"task 'm' may run at most once, .* new_keys=True"):
        taken(Snapshot({}), [node])
    assert taken(Snapshot({}), [node], new_keys=True) == {}
    assert taken(Snapshot({"m": DONE}), [node]).keys() == {"m"}
    harmless = node._replace(grow=Grow("map", child._replace(effects="normal")))
    assert warnings(Snapshot({}), [harmless]).startswith("task 'm' takes ctx, and the snapshot")


def test_other_tasks_that_take_ctx(tmp_path: Path) -> None:
    """They are named in a warning, where they are to run and their keys change."""
    name = "tests.support.tasks.behaving:tell"
    tasks = [Task("tells", name), Task("told", name), Task("blind", "operator:add")]
    known = {"told": DONE}
    said = warnings(Snapshot(known), tasks)
    assert said.startswith("task 'tells' takes ctx, and the snapshot does not say which run")
    assert warnings(Snapshot(known, origin="0123"), tasks) == ""
    assert warnings(Snapshot(known), tasks, new_keys=True) == ""


# A run that went on

GAP = [
    Task("early", "pkg:p", effects=ONCE),
    Task("pay", "pkg:p", effects=ONCE),
    Task("again", "pkg:p", effects=ONCE),
    Task("free", "pkg:f"),
]
GAP_KNOWN = {"early": DONE, "again": TaskResult(FAILURE, attempt=2)}


def test_what_may_have_started_since_is_unknown() -> None:
    """By default; with the attempt that it may have been, so that a decision goes on from there."""
    new = Task("new", "pkg:p", effects=ONCE)
    graph = Graph.compile([*GAP, new])
    found = take_over(snapshot_of(GAP, GAP_KNOWN, live=True), graph)
    results = {name: decode_result(packed or b"") for name, packed, _known in found.outcomes}
    assert {name: (r.status, r.attempt, r.started) for name, r in results.items()} == {
        "early": (SUCCESS, 0, False),
        "pay": (UNKNOWN, 1, True),
        "again": (UNKNOWN, 3, True),
    }
    known = {name: progress for name, _packed, progress in found.outcomes}
    assert known["pay"] == Progress(2, started=True)
    assert "task 'pay' and 1 more come in as unknown" in found.warnings[0]


def test_a_gap_is_accepted_or_refused() -> None:
    """``run``: as if the run had stood still; ``refuse``: it is not taken."""
    live = snapshot_of(GAP, GAP_KNOWN, live=True)
    assert taken(live, GAP, gap="run") == {"early": None}
    with pytest.raises(SnapshotInvalid, match="2 tasks that may run at most once may have started"):
        taken(live, GAP, gap="refuse")
    with pytest.raises(InvalidInput, match="gap must be one of unknown, run, refuse, not 'maybe'"):
        taken(live, GAP, gap="maybe")
    assert taken(live, GAP, without=("pay", "again")) == {"early": None}
    assert taken(snapshot_of(GAP, GAP_KNOWN), GAP, gap="refuse") == {"early": None}


# What has changed


def test_a_changed_task_is_refused() -> None:
    """By name, with what has changed; what is evaluated again anyway may have changed."""
    changed = {"a": "0" * 16}
    bare = Snapshot({"a": DONE}, origin="0123", fingerprints=changed)
    with pytest.raises(SnapshotInvalid, match=r"task 'a' has changed .* --keep"):
        taken(bare)
    same = {"a": fingerprint(TASKS[0])}
    assert taken(Snapshot({"a": DONE}, origin="0123", fingerprints=same)) == {"a": None}
    assert taken(bare, keep=True) == {"a": None}
    failed = Snapshot({"a": TaskResult(FAILURE)}, origin="0123", fingerprints=changed)
    assert taken(failed) == {}
    with pytest.raises(SnapshotInvalid, match=r"'total' has changed .*\(its dependencies\)"):
        taken(all_done(parts(39)), parts(45))
    with pytest.raises(SnapshotInvalid, match="or run it again and keep the others with --k"):
        taken(all_done(parts(39)), parts(45))
    other = [*parts(3)[:-1], Task("side", "pkg:other")]
    with pytest.raises(SnapshotInvalid, match=r"'side' has .*\(its function or arguments\)"):
        taken(all_done(parts(3)), other)
    with pytest.raises(InvalidInput, match="exclude each other"):
        taken(bare, keep=True, rerun_changed=True)


@pytest.mark.parametrize("option", ["keep", "rerun_changed"])
def test_a_list_of_39_parts_is_not_kept_for_45(option: str) -> None:
    """What depends on other tasks than before runs again, and what is downstream of it; the rest
    is kept, and a person is told.
    """
    snapshot, tasks = all_done(parts(39)), parts(45)
    kept = taken(snapshot, tasks, **{option: True})
    assert kept.keys() == {"side", *(f"part-{number}" for number in range(39))}
    assert "tasks 'total', 'tell' are run again" in warnings(snapshot, tasks, **{option: True})


def test_other_arguments_are_kept_or_run_again() -> None:
    """``keep`` takes what had them before; ``rerun_changed`` runs it again, with what follows."""
    tasks = [Task("part-0", "pkg:part", args=(2,)), *parts(2)[1:]]
    snapshot = all_done(parts(2))
    assert taken(snapshot, tasks, keep=True).keys() == {task.name for task in tasks}
    assert taken(snapshot, tasks, rerun_changed=True).keys() == {"part-1", "side"}


def test_what_may_run_at_most_once_is_not_run_again() -> None:
    """``rerun_changed`` refuses it by name; ``keep`` keeps it, and says so; to leave it out by name
    is a person's decision, and is told of.
    """
    snapshot, tasks = all_done(parts(2, ONCE)), parts(3, ONCE)
    with pytest.raises(SnapshotInvalid, match="--rerun-changed would run task 'total' again"):
        taken(snapshot, tasks, rerun_changed=True)
    assert taken(snapshot, tasks, keep=True).keys() == {"part-0", "part-1", "total", "tell", "side"}
    assert "task 'total' may run at most once: its outcome is kept" in warnings(
        snapshot, tasks, keep=True
    )
    left = {"rerun_changed": True, "without": ("total",)}
    assert taken(snapshot, tasks, **left).keys() == {"part-0", "part-1", "side"}
    assert "task 'total' had started" in warnings(snapshot, tasks, **left)


def test_a_task_that_was_removed() -> None:
    """Refused by name with what it may have been; left out on request, and that is told."""
    snapshot = all_done([Task("a", "pkg:a"), Task("gone", "pkg:a")])
    tasks = [Task("a", "pkg:a")]
    with pytest.raises(SnapshotInvalid, match="the snapshot has task 'gone', which the workflow"):
        taken(snapshot, tasks)
    for option in ({"keep": True}, {"rerun_changed": True}, {"without": ("gone",)}):
        assert taken(snapshot, tasks, **option) == {"a": None}
    assert "workflow no longer has task 'gone': left out" in warnings(snapshot, tasks, keep=True)
    with pytest.raises(SnapshotInvalid, match=r"--except aa: .*; did you mean 'a'"):
        taken(snapshot, tasks, without=("aa",))


def test_what_rests_on_a_task_that_was_left_out() -> None:
    """It is never kept silently: a person is told, or it runs again as well; whether the task was
    left out now, or taken out of the snapshot before.
    """
    tasks = parts(2)
    for snapshot, left in (
        (all_done(tasks), {"without": ("part-0",)}),
        (all_done(tasks).without("part-0"), {}),
    ):
        assert "part-0" not in taken(snapshot, tasks, **left)
        said = warnings(snapshot, tasks, **left)
        assert said.startswith("task 'total' is kept, although what it rests on runs again")
        again = taken(snapshot, tasks, rerun_changed=True, **left)
        assert again.keys() == {"part-1", "side"}


def test_a_tolerated_failure_is_no_change() -> None:
    """What went on without it is kept although it is evaluated again."""
    tasks = [Task("soft", "pkg:a", continue_on_error=True)]
    tasks.append(Task("end", "pkg:b", depends_on=("soft",)))
    snapshot = snapshot_of(tasks, {"soft": TaskResult(FAILURE), "end": DONE})
    for option in ({}, {"rerun_changed": True}):
        assert taken(snapshot, tasks, **option) == {"end": None}
    assert warnings(snapshot, tasks) == ""
