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
    RunFacts,
    TaskFacts,
    Wait,
    WaitKind,
    WorkerFacts,
    rest_waits,
    run_waits,
    stall_waits,
    task_waits,
    time_wait,
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
    ]  # fmt: skip
    for facts, counts, leading, words in cases:
        waits = stall_waits(facts, counts, leading=leading)
        assert stall_words(waits, counts, str(stall_step(waits))) == words
