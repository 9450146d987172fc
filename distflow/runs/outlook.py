"""What a person can do about a run: the commands that help, and no others."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from distflow.core.resolution import is_dead_end
from distflow.core.run import RunInfo
from distflow.core.status import ACTIVE_RUNS, RunStatus, TaskStatus
from distflow.ports.run_store import RunStore
from distflow.runs.documents import FoundTask, Survey, found_task, iter_cuts, survey_run
from distflow.wire.codec import decode_result, status_of

#: Failures that are looked through for one that a resume runs again; of more it is assumed.
_LOOKED_FAILURES = 5000

#: Names whose results are read at a time.
_CHUNK = 500

#: A larger graph is not searched for what was cancelled and cannot run again.
_SEARCHED_TASKS = 2000

#: Names that a command is given.
_SHOWN_NAMES = 3

#: Runs that have ended, and may end otherwise.
_ENDED_BADLY = frozenset({RunStatus.FAILURE, RunStatus.CANCELLED})

#: What is decided of a task: one of these is typed.
CHOICES = "--done [JSON] | --retry | --fail"


class Step(NamedTuple):
    """Something to type: the words of a command behind ``distflow``, and why. ``choices`` follow
    them, of which one is typed.
    """

    why: str
    words: tuple[str, ...]
    choices: str = ""

    def __str__(self) -> str:
        """The command, where no server need be named."""
        return f"{shlex.join(('distflow', *self.words))} {self.choices}".rstrip()


class Outlook(NamedTuple):
    """Whether a resume would do anything, and the failures that only a decision changes, some by
    name: ``open_ends`` nobody has decided yet, ``decided`` somebody has.
    """

    resumes: bool
    open_ends: list[FoundTask]
    decided: list[FoundTask]


def read_outlook(store: RunStore, info: RunInfo, survey: Survey | None = None) -> Outlook:
    """What can become of a run; ``survey`` may have been read before."""
    survey = survey or survey_run(store, info)
    cancelled = _find_cancelled(store, info)
    dead = [task for task in (*survey.failed, *(cancelled or ())) if task.dead_end]
    open_ends = [task for task in dead if not task.decided]
    decided = [task for task in dead if task.decided]
    return Outlook(_resumes(store, info, survey, cancelled), open_ends, decided)


def next_steps(info: RunInfo, outlook: Outlook) -> list[Step]:
    """What to type about a run in which nothing happens by itself; nothing where something does, or
    where it is done. Tasks that are ``unknown`` are decided first: see :func:`decide_step`.
    """
    run_id, status = info.run_id, info.status
    if status == RunStatus.CREATING:
        why = "its submit has not ended; if that was cut off, remove the run"
        return [Step(why, ("delete", run_id))]
    steps = []
    if outlook.open_ends:
        steps.append(decide_step(run_id, outlook.open_ends, "failed, and may run at most once"))
    why = _why_resume(info)
    if status == RunStatus.CANCELLING and info.coordinator is None:
        steps.append(Step("nobody carries the cancellation out", ("cancel", run_id)))
    elif why and outlook.resumes:
        accept = ("--accept-gap",) if info.gap else ()
        steps.append(Step(why, ("resume", run_id, *accept)))
    elif why and outlook.decided:
        steps.append(decide_step(run_id, outlook.decided, "stays so, unless it is decided anew"))
    return steps


def decide_step(run_id: str, tasks: list[FoundTask], what: str) -> Step:
    """How tasks are decided that ``what`` is true of."""
    names = [task.name for task in tasks[:_SHOWN_NAMES]]
    more = len(tasks) > len(names)
    said = f"{', '.join(names)}{' and more' if more else ''}: {what}"
    return Step(said, ("resolve", run_id, *names), CHOICES)


def _why_resume(info: RunInfo) -> str:
    """Why nothing goes on until somebody resumes the run; empty where something does."""
    status = info.status
    if status in ACTIVE_RUNS:
        return "" if info.coordinator else "nobody coordinates it: go on with it"
    if status == RunStatus.BLOCKED and info.counts["unknown"]:
        return "once that is decided, go on with it"
    reasons = {
        RunStatus.PAUSED: "it is paused: go on with it",
        RunStatus.INTERRUPTED: "it was interrupted: go on with it",
        RunStatus.BLOCKED: "go on with it",
        RunStatus.FAILURE: "run again what did not succeed",
        RunStatus.CANCELLED: "run again what did not succeed",
    }
    return reasons.get(status, "")


def _resumes(
    store: RunStore, info: RunInfo, survey: Survey, cancelled: list[FoundTask] | None
) -> bool:
    """Whether a resume would run anything, or end the run otherwise than it has."""
    if info.status not in _ENDED_BADLY:
        return True
    failed = info.counts["failure"] - survey.tolerated_count
    # What was decided since it ended is run, or counts now.
    if info.pending or not (failed or info.counts["cancelled"]):
        return True
    if cancelled is None or not all(task.dead_end for task in cancelled):
        return True
    if not all(task.dead_end for task in survey.failed) or failed > _LOOKED_FAILURES:
        return True
    return failed > len(survey.failed) and not _have_failed_for_good(store)


def _have_failed_for_good(store: RunStore) -> bool:
    names = store.read_troubles(_LOOKED_FAILURES).failed
    for start in range(0, len(names), _CHUNK):
        found = store.read_results(names[start : start + _CHUNK])
        if not all(is_dead_end(decode_result(one, opaque=True)) for one in found if one):
            return False
    return True


def _find_cancelled(store: RunStore, info: RunInfo) -> list[FoundTask] | None:
    """What is cancelled of a run that has ended so; None where that would be a long search. It may
    have said so of itself, at most once.
    """
    if info.status not in _ENDED_BADLY or not info.counts["cancelled"]:
        return []
    if info.total > _SEARCHED_TASKS:
        return None
    return [
        found_task(task.name, cut.packed)
        for task, cut in iter_cuts(store)
        if cut.packed is not None and status_of(cut.packed) == TaskStatus.CANCELLED
    ]
