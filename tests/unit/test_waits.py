"""Why a task or a run does not go on now: each reason from what was read, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from distflow.core.claim import Progress
from distflow.core.misfit import Registration
from distflow.core.readings import Apart
from distflow.core.run import HeldTask, Refusal, RunInfo
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from distflow.core.waits import (
    FAILED_ONCE,
    UNMET,
    RunFacts,
    TaskFacts,
    Wait,
    WaitKind,
    WorkerFacts,
    frozen_waits,
    is_led,
    is_sending,
    rest_waits,
    run_waits,
    stall_waits,
    stands,
    task_waits,
    time_wait,
    worker_waits,
)
from distflow.runs.outlook import stall_step, step_of
from distflow.runs.wait_words import stall_words, task_words, timed_words
from distflow.store.memory.store import MemoryRunStore
from tests.support.stores import make_spec

K = WaitKind
S = TaskStatus
REFUSAL = Refusal("function m:f", "w1", "born", "m", "no m", "", "host", 7, "/srv", ("a",), 9.0)
LIVE = {"gpu": [Registration("w1", "born")]}
APART_WORDS = (
    "a worker of queue 'gpu' with RQ_KEY_PREFIX=rq, as its coordinator; 1 has RQ_KEY_PREFIX=team; "
    "2 have RQ_KEY_PREFIX=other: start one with `env RQ_KEY_PREFIX=rq distflow worker gpu`"
)
APART = Apart("gpu", "rq", {"team": 1, "other": 2})


def info_of(status: RunStatus = RunStatus.RUNNING, **fields: Any) -> RunInfo:
    """A run that anna leads."""
    store = MemoryRunStore("run-1")
    store.create_run(make_spec(), "creation", [])
    info = store.read_info()
    return replace(info, **{"status": status, "coordinator": "anna", **fields})


def facts_of(info: RunInfo, **fields: Any) -> RunFacts:
    """A run of which nothing is known."""
    return RunFacts(info, WorkerFacts(), (), {}, (), ())._replace(**fields)


def counts_of(**counts: int) -> Mapping[str, int]:
    """A run's tasks by where they stand."""
    return {"running": 0, "queued": 0, "waiting": 0, **counts}


def test_a_run_tells_every_reason() -> None:
    """All that is known at once: workers, frozen ones, decisions, times; and who asks."""
    info = info_of(held=(HeldTask("f", "w9", 3.0),))
    workers = WorkerFacts(["cpu", "gpu"], [APART], [REFUSAL], LIVE, suspended=True)
    timed = [Wait(K.TIME, "t")]
    found = run_waits(
        facts_of(
            info, workers=workers, unknown=["u", "v"], timed=timed, asked={"u": "w2"}, failed=["x"]
        )
    )
    assert [(wait.kind, wait.task, wait.on, wait.why) for wait in found] == [
        (K.SUSPENDED, "", "", ""),
        (K.WORKER, "", "gpu", "1 has RQ_KEY_PREFIX=team\n2 have RQ_KEY_PREFIX=other"),
        (K.WORKER, "", "cpu", ""),
        (K.MISFIT, "", "gpu", "m"),
        (K.FROZEN, "f", "w9", ""),
        (K.DECISION, "u", "verify hook", "w2"),
        (K.DECISION, "v", "person", ""),
        (K.TIME, "t", "", ""),
        (K.DECISION, "x", "person", FAILED_ONCE),
    ]  # fmt: skip
    commands = [None if (step := step_of(info, wait)) is None else str(step) for wait in found]
    choices = "--done [JSON] | --retry | --fail"
    assert commands == [
        "rq resume",
        "env RQ_KEY_PREFIX=rq distflow worker gpu",
        "distflow worker cpu",
        "distflow worker gpu",
        None,
        *(f"distflow resolve run-1 {task} {choices}" for task in "uv"),
        None,
        f"distflow resolve run-1 x {choices}",
    ]


@pytest.mark.parametrize(
    ("status", "led", "kind", "command"),
    [
        (RunStatus.CREATING, False, K.SUBMIT, "distflow delete run-1"),
        (RunStatus.RUNNING, True, None, ""),
        (RunStatus.RUNNING, False, K.LEADER, "distflow resume run-1"),
        (RunStatus.REOPENING, False, K.LEADER, "distflow resume run-1"),
        (RunStatus.CANCELLING, False, K.LEADER, "distflow cancel run-1"),
        (RunStatus.PAUSED, True, K.PAUSED, "distflow resume run-1"),
        (RunStatus.INTERRUPTED, False, K.PAUSED, "distflow resume run-1"),
        (RunStatus.BLOCKED, False, K.PAUSED, "distflow resume run-1"),
        (RunStatus.SUCCESS, False, None, ""),
        (RunStatus.FAILURE, False, None, ""),
        (RunStatus.CANCELLED, False, None, ""),
    ],
)
def test_a_run_that_stands_as_a_whole(
    status: RunStatus, led: bool, kind: WaitKind | None, command: str
) -> None:
    """For who makes, leads or resumes it; a run that has ended waits for nobody."""
    info = info_of(status, coordinator="anna" if led else None)
    found = list(rest_waits(info))
    assert [wait.kind for wait in found] == ([kind] if kind else [])
    assert [str(step_of(info, wait)) for wait in found] == ([command] if kind else [])


def test_a_task_tells_the_nearest_reason_first() -> None:
    """Of one task: what it waits for itself, then its run."""
    info, unled = info_of(), info_of(coordinator=None)
    pending = TaskFacts("a", "gpu", S.PENDING)
    limited = replace(info, options=RunOptions(concurrency=2))
    timed = Wait(K.TIME, "a", "attempt 2", until=0.0)
    cases = [
        (info, pending, [(K.WORKER, "gpu")], "a worker of queue 'gpu'"),
        (limited, pending._replace(batches=1), [(K.WORKER, "gpu")], "a worker of queue 'gpu'"),
        (limited, pending._replace(batches=2), [(K.CONCURRENCY, "2")],
         "one of 2 batches at work: the run has concurrency=2"),
        (info, pending._replace(open=["b", "c"]), [(K.DEPENDENCY, "b"), (K.DEPENDENCY, "c")],
         "b, c"),
        (unled, pending._replace(open=["b"]), [(K.DEPENDENCY, "b"), (K.LEADER, "running")], "b"),
        (unled, pending, [(K.LEADER, "running")],
         "somebody who leads the run: see `distflow status run-1`"),
        (info_of(RunStatus.PAUSED), pending, [(K.PAUSED, "paused")],
         "somebody who resumes the run: see `distflow status run-1`"),
        (info, TaskFacts("a", "gpu", S.WAITING, timed), [(K.TIME, "attempt 2")],
         "for attempt 2 at 1970-01-01T00:00:00.000Z"),
        (info, TaskFacts("a", "gpu", S.UNKNOWN), [(K.DECISION, "person")], ""),
        (info, TaskFacts("a", "gpu", S.FAILURE, dead_end=True), [(K.DECISION, "person")], ""),
        (info, TaskFacts("a", "gpu", S.FAILURE), [], ""),
        (info_of(held=(HeldTask("a", "w9", 3.0), HeldTask("b", "w9", 3.0))),
         TaskFacts("a", "gpu", S.STARTED), [(K.FROZEN, "w9")], ""),
    ]  # fmt: skip
    for run, facts, expected, words in cases:
        found = task_waits(run, facts, {})
        assert [(wait.kind, wait.on) for wait in found] == expected
        assert {wait.task for wait in found} <= {"a"}
        assert (task_words(found, "run-1") or ("", ""))[1] == words


@pytest.mark.parametrize(
    ("progress", "last", "words"),
    [
        (Progress(2, not_before=4000), "retried", "t: attempt 2 in 3.0 s, after OSError: no"),
        (Progress(1, 3, not_before=4000), "looped", "t: iteration 3 in 3.0 s, condition not met"),
        (Progress(4, 3, 3, not_before=4000), "", "t: iteration 3 in 3.0 s, condition not met"),
        (Progress(5, 3, 3, not_before=4000), "", "t: attempt 5, iteration 3 in 3.0 s"),
        (Progress(2, not_before=500), "", "t: attempt 2 in 0.00 s"),
        (
            Progress(5, 3, 3, not_before=4000),
            "lost",
            "t: attempt 5, iteration 3 in 3.0 s, after OSError: no",
        ),
    ],
)
def test_a_loop_waits_for_its_next_iteration(progress: Progress, last: str, words: str) -> None:
    """And a retry for its next attempt, also where the history does not say which it is."""
    wait = time_wait("t", progress, last=last, error="OSError: no" if last else "")
    assert timed_words(wait, now=1.0) == words


def test_what_is_told_of_a_standstill() -> None:
    """The nearest reason alone; nothing is concluded from counts that may be out of date."""
    queued, waiting = counts_of(queued=1), counts_of(waiting=2)
    idle = WorkerFacts(["cpu", "gpu"])
    misfit = WorkerFacts(["cpu"], (), [REFUSAL], LIVE)
    apart = misfit._replace(apart=[APART])
    cases = [
        (idle, queued, False,
         "queues 'cpu', 'gpu' have no workers: start one with `distflow worker cpu gpu`"),
        (WorkerFacts(["cpu"]), queued, True,
         "queue 'cpu' has no workers: start one with `distflow worker cpu`"),
        (misfit, waiting, False,
         "no worker on queue 'gpu' can run m:f: start one with `distflow worker gpu`"),
        (apart, queued, True, APART_WORDS),
        (apart._replace(suspended=True), queued, False,
         "the workers are suspended: resume them with `rq resume`"),
        (WorkerFacts(suspended=True), waiting, True,
         "2 tasks wait until their next attempt is due"),
        (WorkerFacts(), counts_of(waiting=1), True,
         "1 task waits until its next attempt is due"),
        (WorkerFacts(), queued, True, "the workers on its queues are busy with other work"),
        (WorkerFacts(), queued, False, ""),
        (idle, counts_of(running=1, queued=1), True, ""),
        (WorkerFacts(), counts_of(), True, ""),
    ]  # fmt: skip
    for facts, counts, leading, words in cases:
        waits = stall_waits(facts, counts, leading=leading)
        assert stall_words(waits, counts, str(stall_step(waits))) == words


def test_since_when_workers_are_missed() -> None:
    """A misfit counts from the first refusal, a frozen task from when its worker went silent."""
    refusals = [REFUSAL._replace(worker="w2", since=12.0), REFUSAL]
    live = {"gpu": [Registration("w1", "born"), Registration("w2", "born")]}
    (misfit,) = worker_waits(WorkerFacts(refusals=refusals, live=live))
    assert (misfit.kind, misfit.since) == (K.MISFIT, 9.0)
    held = info_of(held=(HeldTask("f", "w9", 3.0),))
    assert list(frozen_waits(held)) == [Wait(K.FROZEN, "f", "w9", since=3.0)]


@pytest.mark.parametrize(
    ("status", "unknown", "expected"),
    [
        (RunStatus.CREATING, 0, Wait(K.SUBMIT, on="creating", since=5.0)),
        (RunStatus.PAUSED, 0, Wait(K.PAUSED, on="paused", since=7.0)),
        (RunStatus.PAUSED, 1, Wait(K.PAUSED, on="paused", since=7.0)),
        (RunStatus.BLOCKED, 0, Wait(K.PAUSED, on="blocked", since=7.0)),
        (RunStatus.BLOCKED, 1, Wait(K.PAUSED, on="blocked", since=7.0, needs="a decision")),
    ],
)
def test_since_when_a_run_stands(status: RunStatus, unknown: int, expected: Wait) -> None:
    """A blocked run needs a decision for as long as a task is unknown, others only a resume."""
    info = info_of(status, created_at=5.0, rest_at=7.0, counts=counts_of(unknown=unknown))
    assert list(rest_waits(info)) == [expected]


@pytest.mark.parametrize(
    ("progress", "on", "why"),
    [
        (Progress(1, not_before=4000), "attempt 1", ""),
        (Progress(2, 2, 1, not_before=4000), "iteration 2", UNMET),
        (Progress(3, 2, 1, not_before=4000), "attempt 3, iteration 2", ""),
    ],
)
def test_a_wait_for_a_time_without_a_history(progress: Progress, on: str, why: str) -> None:
    """The first attempt of a later iteration waits for the loop, any other for its attempt."""
    expected = Wait(K.TIME, "t", on, until=4.0, since=2.0, why=why)
    assert time_wait("t", progress, since=2.0) == expected


@pytest.mark.parametrize(
    ("status", "coordinator", "led", "sending"),
    [
        (RunStatus.RUNNING, "anna", True, True),
        (RunStatus.RUNNING, None, False, False),
        (RunStatus.CANCELLING, "anna", True, False),
        (RunStatus.SUCCESS, "anna", False, False),
        (RunStatus.SUCCESS, None, False, False),
    ],
)
def test_who_leads_a_run(
    status: RunStatus, coordinator: str | None, led: bool, sending: bool
) -> None:
    """A run that has ended is led by nobody, and only one that runs sends tasks to workers."""
    info = info_of(status, coordinator=coordinator)
    assert (is_led(info), is_sending(info)) == (led, sending)


@pytest.mark.parametrize(("queued", "running", "expected"), [
    (1, 0, True), (0, 0, False), (1, 1, False), (0, 1, False)
])  # fmt: skip
def test_a_run_stands_where_tasks_are_queued_and_none_is_at_work(
    queued: int, running: int, expected: bool
) -> None:
    """Tasks that nobody has queued are no standstill."""
    assert stands(counts_of(queued=queued, running=running)) is expected
