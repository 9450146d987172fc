"""The statuses of tasks and runs, and all allowed moves between them."""

from __future__ import annotations

from enum import StrEnum

from distflow.errors import IllegalTransition


class TaskStatus(StrEnum):
    """The status of a task. The values are what Redis, JSON and users see."""

    #: It waits for its dependencies.
    PENDING = "pending"
    #: Its dependencies are satisfied.
    READY = "ready"
    #: It is in a batch, and no worker has claimed it.
    QUEUED = "queued"
    #: A worker holds it and has not called its function.
    CLAIMED = "claimed"
    #: Its function may have had effects from here on.
    STARTED = "started"
    #: It waits for a time: a retry's backoff or a loop's interval; or for a worker that can run it.
    WAITING = "waiting"
    #: Its function returned.
    SUCCESS = "success"
    #: It failed, and no retry is left.
    FAILURE = "failure"
    #: Its condition was false, or a dependency did not succeed.
    SKIPPED = "skipped"
    #: The run was stopped before it ended.
    CANCELLED = "cancelled"
    #: It is ``at_most_once`` and has started, and nobody knows how it ended.
    UNKNOWN = "unknown"


class RunStatus(StrEnum):
    """The status of a run. The values are what Redis, JSON and users see."""

    #: Its graph is being written; nothing runs.
    CREATING = "creating"
    #: Its tasks may be claimed.
    RUNNING = "running"
    #: Nothing new is claimed until a person resumes it.
    PAUSED = "paused"
    #: Its coordinator was interrupted by a person, who may resume it.
    INTERRUPTED = "interrupted"
    #: A resume is setting aside what will be evaluated again; nothing is claimed.
    REOPENING = "reopening"
    #: Nothing new is claimed, and running tasks are being stopped.
    CANCELLING = "cancelling"
    #: Every task succeeded, failed with ``continue_on_error``, or was skipped by a condition.
    SUCCESS = "success"
    #: A task failed.
    FAILURE = "failure"
    #: It was stopped by a person, a signal or its timeout.
    CANCELLED = "cancelled"
    #: A task is ``unknown``, and everything that does not wait for it has ended.
    BLOCKED = "blocked"


_T = TaskStatus

#: All moves of a task.
TASK_MOVES: dict[TaskStatus, frozenset[TaskStatus]] = {
    _T.PENDING: frozenset({_T.READY, _T.SKIPPED, _T.CANCELLED}),
    # No worker can run it: it waits for one, and fails if none comes.
    _T.READY: frozenset({_T.QUEUED, _T.WAITING, _T.SKIPPED, _T.FAILURE, _T.CANCELLED}),
    # A task that travels behind its dependency comes back pending, or skipped if that did not
    # succeed.
    _T.QUEUED: frozenset({_T.CLAIMED, _T.READY, _T.PENDING, _T.SKIPPED, _T.FAILURE, _T.CANCELLED}),
    _T.CLAIMED: frozenset(
        {_T.STARTED, _T.SKIPPED, _T.FAILURE, _T.CANCELLED, _T.WAITING, _T.READY, _T.PENDING}
    ),
    _T.STARTED: frozenset(
        {
            _T.SUCCESS,
            _T.FAILURE,
            _T.SKIPPED,
            _T.CANCELLED,
            _T.UNKNOWN,
            _T.WAITING,
            _T.READY,
            _T.PENDING,
        }
    ),
    _T.WAITING: frozenset({_T.READY, _T.PENDING, _T.SKIPPED, _T.FAILURE, _T.CANCELLED}),
    # A worker that was given up may come back and report any outcome.
    _T.UNKNOWN: frozenset({_T.SUCCESS, _T.FAILURE, _T.SKIPPED, _T.CANCELLED, _T.READY}),
    _T.SUCCESS: frozenset(),
    _T.FAILURE: frozenset(),
    _T.SKIPPED: frozenset(),
    _T.CANCELLED: frozenset(),
}

#: The word that people see for a task that a worker holds. Whether it is claimed or started matters
#: only to those who decide on it.
RUNNING = "running"

#: The statuses that a TaskResult may have.
OUTCOMES = frozenset({_T.SUCCESS, _T.FAILURE, _T.SKIPPED, _T.CANCELLED, _T.UNKNOWN})

#: Outcomes that only a person changes: by a resume, or by a decision on an ``at_most_once`` task.
FINAL = OUTCOMES - {_T.UNKNOWN}

#: Outcomes by their text in Redis and snapshots.
OUTCOME_OF = {status.value: status for status in OUTCOMES}

#: Outcomes after which what depends on the task does not run, unless a failure is tolerated.
BAD = frozenset({_T.FAILURE, _T.SKIPPED, _T.CANCELLED})

#: Outcomes that a person's resume evaluates again (except for a started ``at_most_once`` task).
REOPENED = BAD

#: Runs that somebody should lead; a coordinator service adopts them.
ACTIVE_RUNS = frozenset({RunStatus.RUNNING, RunStatus.REOPENING, RunStatus.CANCELLING})

#: Statuses of runs in which nothing more will happen by itself.
ENDED_RUNS = frozenset(
    {RunStatus.SUCCESS, RunStatus.FAILURE, RunStatus.CANCELLED, RunStatus.BLOCKED}
)

#: Those of them in which nothing is left to decide.
OVER_RUNS = ENDED_RUNS - {RunStatus.BLOCKED}

#: Runs at rest: they continue only when a person says so.
RESTING_RUNS = ENDED_RUNS | {RunStatus.PAUSED, RunStatus.INTERRUPTED}

#: Runs whose batches may begin and whose tasks may be claimed.
CLAIMED_RUNS = frozenset({RunStatus.RUNNING})

#: Runs in which nothing may start, not even claimed tasks.
UNSTARTED_RUNS = frozenset({RunStatus.CANCELLING})

#: The next status of a blocked run once its unknown tasks are decided, by whether it was being
#: stopped before: then stopping continues.
UNBLOCKED = {False: RunStatus.RUNNING, True: RunStatus.CANCELLING}

#: Outcomes after which the dependents of a task may run, by whether its failure is tolerated.
SATISFYING = {
    False: frozenset({TaskStatus.SUCCESS}),
    True: frozenset({TaskStatus.SUCCESS, TaskStatus.FAILURE}),
}


def shown_status(status: TaskStatus) -> str:
    """A task's status as the word that all screens and documents use."""
    return RUNNING if status in {_T.CLAIMED, _T.STARTED} else _T(status).value


def check_move(task: str, old: TaskStatus, new: TaskStatus) -> None:
    """Check that a task may move from ``old`` to ``new``.

    Raises:
        IllegalTransition: the table has no such move.
    """
    if new not in TASK_MOVES[old]:
        raise IllegalTransition(f"task {task!r} may not go from {old} to {new}")
