"""The statuses of tasks and runs, and every move that they may make."""

from __future__ import annotations

from enum import StrEnum

from distflow.errors import IllegalTransition


class TaskStatus(StrEnum):
    """Where a task stands. The values are what Redis, JSON and users see."""

    #: It waits for its dependencies.
    PENDING = "pending"
    #: Its dependencies are satisfied.
    READY = "ready"
    #: It travels in a batch that no worker has claimed it from.
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
    #: It started, at most once, and nobody knows how it ended.
    UNKNOWN = "unknown"


class RunStatus(StrEnum):
    """Where a run stands. The values are what Redis, JSON and users see."""

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
    #: Nothing new is claimed, and what runs is being stopped.
    CANCELLING = "cancelling"
    #: Every task succeeded, failed with ``continue_on_error``, or was skipped by a condition.
    SUCCESS = "success"
    #: A task failed.
    FAILURE = "failure"
    #: It was stopped by a person, a signal or its timeout.
    CANCELLED = "cancelled"
    #: A task is ``unknown``, and all that does not wait for it has ended.
    BLOCKED = "blocked"


_T = TaskStatus

#: The one table of the moves of a task.
TASK_MOVES: dict[TaskStatus, frozenset[TaskStatus]] = {
    _T.PENDING: frozenset({_T.READY, _T.SKIPPED, _T.CANCELLED}),
    # No worker can run it: it waits for one, and has failed when none comes.
    _T.READY: frozenset({_T.QUEUED, _T.WAITING, _T.SKIPPED, _T.FAILURE, _T.CANCELLED}),
    # What travels behind its dependency comes back pending, or skipped, if that has not succeeded.
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
    # The worker that was given up may come back and tell any outcome.
    _T.UNKNOWN: frozenset({_T.SUCCESS, _T.FAILURE, _T.SKIPPED, _T.CANCELLED, _T.READY}),
    _T.SUCCESS: frozenset(),
    _T.FAILURE: frozenset(),
    _T.SKIPPED: frozenset(),
    _T.CANCELLED: frozenset(),
}

#: What people are told of a task that a worker holds: whether it was claimed or has started as well
#: is for who has to decide what became of it.
RUNNING = "running"

#: What a TaskResult may say.
OUTCOMES = frozenset({_T.SUCCESS, _T.FAILURE, _T.SKIPPED, _T.CANCELLED, _T.UNKNOWN})

#: Those that only a person changes: a resume, or a decision on what started at most once.
FINAL = OUTCOMES - {_T.UNKNOWN}

#: Each by its text, as it stands in Redis and in snapshots.
OUTCOME_OF = {status.value: status for status in OUTCOMES}

#: What a person's resume evaluates again (a started ``at_most_once`` task excepted).
REOPENED = frozenset({_T.FAILURE, _T.SKIPPED, _T.CANCELLED})

#: Runs that somebody should lead; a coordinator service adopts them.
ACTIVE_RUNS = frozenset({RunStatus.RUNNING, RunStatus.REOPENING, RunStatus.CANCELLING})

#: Runs in which nothing more will happen by itself.
ENDED_RUNS = frozenset(
    {RunStatus.SUCCESS, RunStatus.FAILURE, RunStatus.CANCELLED, RunStatus.BLOCKED}
)

#: Those of them in which nothing is left to decide.
OVER_RUNS = ENDED_RUNS - {RunStatus.BLOCKED}

#: Runs at rest: they go on only when a person says so.
RESTING_RUNS = ENDED_RUNS | {RunStatus.PAUSED, RunStatus.INTERRUPTED}

#: Runs whose batches are begun, and whose tasks are claimed.
CLAIMED_RUNS = frozenset({RunStatus.RUNNING})

#: Runs in which nothing starts any more, not even what is claimed.
UNSTARTED_RUNS = frozenset({RunStatus.CANCELLING})

#: Where a blocked run goes once what blocked it is decided, by whether it was stopped before: then
#: it goes on with being stopped.
UNBLOCKED = {False: RunStatus.RUNNING, True: RunStatus.CANCELLING}

#: Outcomes with which the dependents of a task may run, by whether its failure is tolerated.
SATISFYING = {
    False: frozenset({TaskStatus.SUCCESS}),
    True: frozenset({TaskStatus.SUCCESS, TaskStatus.FAILURE}),
}


def shown_status(status: TaskStatus) -> str:
    """A task's status in the one word that all screens and documents have for it."""
    return RUNNING if status in {_T.CLAIMED, _T.STARTED} else _T(status).value


def check_move(task: str, old: TaskStatus, new: TaskStatus) -> None:
    """Check that a task may go from ``old`` to ``new``.

    Raises:
        IllegalTransition: the table has no such move.
    """
    if new not in TASK_MOVES[old]:
        raise IllegalTransition(f"task {task!r} may not go from {old} to {new}")
