"""Timeouts hold, whatever the task does: stock ``rq worker`` processes and real tasks, ended at
their time. One run has a task for each way of not ending, so that they do not end at once.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from distflow import TaskResult, TaskStatus
from distflow.events.notice import Notice
from distflow.procfs import iter_processes
from distflow.runs.client import Client
from tests.support.redis_server import RedisServer
from tests.support.tasks import overrunning, recording
from tests.support.tasks.overrunning import TIMEOUT
from tests.support.wait import wait_for
from tests.support.worker_process import FORKING, SIMPLE, WorkerProcess

#: Seconds beyond the timeout after which every such task has its outcome.
ALLOWED = 5.0

WAYS = ("swallow", "seize", "spawn", "spawn_and_swallow", "simple", "middle", "soft")


class Overrun(NamedTuple):
    """What became of the run."""

    log: Path
    results: dict[str, TaskResult]
    #: Task -> seconds from its last start until its outcome was told.
    took: dict[str, float]
    workers: dict[str, WorkerProcess]
    #: Task -> what verify hooks said of it.
    notes: dict[str, list[str]]

    def lines(self, name: str) -> list[list[str]]:
        """What was noted under a name, without it."""
        return [line[1:] for line in recording.lines(self.log) if line[0] == name]

    def children(self, task: str) -> set[int]:
        """The ids of the processes that a task has started."""
        return {int(line[0]) for line in self.lines(f"{task}-child")}


def alive() -> set[int]:
    """The ids of all processes."""
    return {process.pid for process in iter_processes()}


@pytest.fixture(scope="module")
def overrun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overrun]:
    """The run, at its end, on one worker per queue."""
    log = tmp_path_factory.mktemp("overrun") / "log"
    flow = overrunning.overrun(log)
    ended: dict[str, float] = {}

    def listen(notice: Notice) -> None:
        if notice.kind in ("task_end", "task_unknown"):
            ended[notice.task] = time.time()

    with ExitStack() as started:
        server = RedisServer()
        started.callback(server.close)
        workers = {}
        for queue in {task.queue for task in flow.tasks}:
            kind = SIMPLE if queue == "simple" else FORKING
            workers[queue] = WorkerProcess(server.url, [queue], worker_class=kind)
            started.callback(workers[queue].close)
        for worker in workers.values():
            worker.wait_ready()
        redis = started.enter_context(server.client())
        run = Client(redis).submit(flow, {"log": str(log)}, listener=listen)
        run.wait(60)
        starts = {line[0]: float(line[2]) for line in recording.lines(log) if len(line) > 2}
        took = {task: ended[task] - starts[task] for task in starts if task in ended}
        notes: dict[str, list[str]] = {}
        for entry in run.store.read_history():
            if entry.kind == "asked":
                notes.setdefault(entry.task, []).append(entry.note)
        yield Overrun(log, run.results(), took, workers, notes)
        for line in recording.lines(log):
            if line[0].endswith("-child"):
                with suppress(ProcessLookupError):
                    os.kill(int(line[1]), signal.SIGKILL)


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_in_time(overrun: Overrun, way: str) -> None:
    """A task that swallows every exception, holds the interpreter lock, or waits for children is
    a failure within its timeout and 5 seconds, in a worker without work horses too.
    """
    result = overrun.results[way]
    assert result.status == TaskStatus.FAILURE
    assert result.error == "TaskTimeout: ran longer than 1 s"
    assert result.attempt == 1
    assert TIMEOUT <= overrun.took[way] <= TIMEOUT + ALLOWED
    assert len(overrun.lines(way)) == 1


def test_at_most_once_is_unknown(overrun: Overrun) -> None:
    """Nobody knows what a started task did that was ended."""
    assert overrun.results["charge"].status == TaskStatus.UNKNOWN
    assert TIMEOUT <= overrun.took["charge"] <= TIMEOUT + ALLOWED
    assert len(overrun.lines("charge")) == 1


def test_a_hook_that_does_not_end_is_asked_once(overrun: Overrun) -> None:
    """A verify hook has its task's timeout: ended, it cannot tell, and a person decides."""
    assert overrun.results["asked"].status == TaskStatus.UNKNOWN
    assert len(overrun.lines("asked")) == 2
    assert overrun.notes["asked"] == ["it took longer than the task's timeout of 1 s"]


def test_it_is_tried_again(overrun: Overrun) -> None:
    """The retry policy applies, and the next process does as well as the first would have."""
    again = overrun.results["again"]
    assert (again.status, again.data) == (TaskStatus.SUCCESS, 2)
    first, second = overrun.lines("again")
    assert first[0] != second[0]


@pytest.mark.parametrize("way", ["spawn", "spawn_and_swallow", "soft"])
def test_nothing_is_left_behind(overrun: Overrun, way: str) -> None:
    """The processes that it had started are gone, also one that ignores SIGTERM: whether the task
    ended by itself or was killed.
    """
    children = overrun.children(way)
    assert len(children) >= 2
    wait_for(lambda: not children & alive(), 5, f"the children of {way} to be gone")


def test_who_ends_in_time_is_left_alone(overrun: Overrun) -> None:
    """What a task has started and left goes on, if it has ended by itself."""
    assert overrun.results["leave"].data == "left"
    assert overrun.children("leave") <= alive()


def test_other_tasks_of_its_job_run(overrun: Overrun) -> None:
    """Those before it keep their outcomes, those behind it are dispatched again: each ran once."""
    processes = {}
    for name in ("before", "middle", "behind", "soft", "last"):
        ((process, _at),) = overrun.lines(name)
        processes[name] = process
    assert processes["before"] == processes["middle"] != processes["behind"]
    assert processes["soft"] != processes["last"]
    for name in ("before", "behind", "last"):
        assert overrun.results[name].status == TaskStatus.SUCCESS


def test_the_coordinator_ends_what_the_worker_cannot(overrun: Overrun) -> None:
    """Where the guardian itself is gone, the coordinator has the process killed."""
    result = overrun.results["swallow_alone"]
    assert result.error == "TaskTimeout: ran longer than 1 s"
    assert TIMEOUT + ALLOWED < overrun.took["swallow_alone"] < TIMEOUT + 3 * ALLOWED


def test_a_guardian_keeps_no_worker_alive(overrun: Overrun) -> None:
    """It holds no connection of the worker's, by which that would count as alive when it is dead,
    and stands outside of the horse's session.
    """
    assert overrun.results["look"].data == {"sockets": 1, "session": False}


def test_workers_go_on(overrun: Overrun) -> None:
    """The worker of an ended work horse is alive; one that runs tasks in its own process is not."""
    gone = {queue for queue, worker in overrun.workers.items() if worker.has_ended()}
    assert gone == {"simple"}


def test_no_child_outlives_a_killed_horse(overrun: Overrun) -> None:
    """A work horse that is killed inside a guarded task takes along what the task had started; it
    was lost, in time.
    """
    children = overrun.children("die")
    assert len(children) == 2
    assert not children & alive()
    error = overrun.results["die"].error or ""
    assert error.startswith("WorkerLost: its process was lost: no heartbeat since ")
