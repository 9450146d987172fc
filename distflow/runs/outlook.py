"""What a person can do about a run: the commands that end its waits, and no others."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from distflow.core.resolution import is_dead_end
from distflow.core.run import RunInfo
from distflow.core.status import RunStatus, TaskStatus
from distflow.core.waits import FAILED_ONCE, Wait, WaitKind, rest_waits
from distflow.ports.run_store import RunStore
from distflow.runs.lookup import iter_cuts
from distflow.runs.survey import FoundTask, Survey, found_task, survey_run
from distflow.runs.wait_words import advice_of
from distflow.wire.codec import decode_result, status_of

#: Failures that are searched for one that a resume runs again; if there are more, one is assumed.
_LOOKED_FAILURES = 5000

#: Names whose results are read at a time.
_CHUNK = 500

#: A larger graph is not searched for cancelled tasks that cannot run again.
_SEARCHED_TASKS = 2000

#: Names that are put into a command.
_SHOWN_NAMES = 3

#: Runs that have ended, and whose end may change.
_ENDED_BADLY = frozenset({RunStatus.FAILURE, RunStatus.CANCELLED})

#: The decisions about a task, of which one is typed.
CHOICES = "--done [JSON] | --retry | --fail"


class Step(NamedTuple):
    """A command to type: its ``program``, the words after it, and why. One of the ``choices``
    follows the words; ``needs`` is an environment variable to set for it.
    """

    why: str
    words: tuple[str, ...]
    choices: str = ""
    needs: str = ""
    program: str = "distflow"

    @property
    def is_resume(self) -> bool:
        """Whether it continues a run."""
        return (self.program, self.words[0]) == ("distflow", "resume")

    def __str__(self) -> str:
        """The command, without an option for the server."""
        before = ("env", self.needs) if self.needs else ()
        return f"{shlex.join((*before, self.program, *self.words))} {self.choices}".rstrip()


class Outlook(NamedTuple):
    """Whether a resume would do anything, and the failures that only a decision can change, some by
    name: ``open_ends`` are not decided yet, ``decided`` are.
    """

    resumes: bool
    open_ends: list[FoundTask]
    decided: list[FoundTask]


def read_outlook(store: RunStore, info: RunInfo, survey: Survey | None = None) -> Outlook:
    """What can become of a run; ``survey`` if it was read already."""
    survey = survey or survey_run(store, info)
    cancelled = _find_cancelled(store, info)
    dead = [task for task in (*survey.failed, *(cancelled or ())) if task.dead_end]
    open_ends = [task for task in dead if not task.decided]
    decided = [task for task in dead if task.decided]
    return Outlook(_resumes(store, info, survey, cancelled), open_ends, decided)


def step_of(info: RunInfo, wait: Wait) -> Step | None:
    """The command that ends a wait of a run; None if the wait ends by itself or outside of
    distflow.
    """
    why, run_id = advice_of(wait), info.run_id
    match wait.kind:
        case WaitKind.DECISION:
            return decide_step(run_id, [wait.task], why)
        case WaitKind.LEADER if wait.on == RunStatus.CANCELLING:
            return Step(why, ("cancel", run_id))
        case WaitKind.LEADER | WaitKind.PAUSED:
            return _resume(info, why)
        case WaitKind.SUBMIT:
            return Step(why, ("delete", run_id))
        case _:
            return stall_step([wait])


def stall_step(waits: Sequence[Wait]) -> Step | None:
    """The one command that gets a stalled run moving; if workers of several queues are missing, one
    for all of them.
    """
    if not waits:
        return None
    kind = waits[0].kind
    if kind == WaitKind.SUSPENDED:
        return Step("", ("resume",), program="rq")
    if kind not in (WaitKind.WORKER, WaitKind.MISFIT) or waits[0].task:
        return None
    needs = waits[0].needs if kind == WaitKind.WORKER else ""
    return Step("", ("worker", *(wait.on for wait in waits)), needs=needs)


def next_steps(info: RunInfo, outlook: Outlook) -> list[Step]:
    """What to type for a run in which nothing happens by itself; nothing if something does, or if
    it is done. Tasks that are ``unknown`` are decided first: see :func:`decide_step`.
    """
    steps = []
    if outlook.open_ends and info.status != RunStatus.CREATING:
        names = [task.name for task in outlook.open_ends]
        steps.append(decide_step(info.run_id, names, FAILED_ONCE))
    steps += [step for wait in rest_waits(info) if (step := step_of(info, wait)) is not None]
    if info.status in _ENDED_BADLY:
        # It waits for nothing, but its end may change.
        if outlook.resumes:
            steps.append(_resume(info, "run again what did not succeed"))
        elif outlook.decided:
            names = [task.name for task in outlook.decided]
            what = "stays as it is unless decided anew"
            steps.append(decide_step(info.run_id, names, what))
    return steps


def decide_step(run_id: str, tasks: Sequence[str], what: str) -> Step:
    """The command that decides tasks; ``what`` says why."""
    names = tasks[:_SHOWN_NAMES]
    more = len(tasks) > len(names)
    said = f"{', '.join(names)}{' and more' if more else ''}: {what}"
    return Step(said, ("resolve", run_id, *names), CHOICES)


def _resume(info: RunInfo, why: str) -> Step:
    return Step(why, ("resume", info.run_id, *(("--accept-gap",) if info.gap else ())))


def _resumes(
    store: RunStore, info: RunInfo, survey: Survey, cancelled: list[FoundTask] | None
) -> bool:
    """Whether a resume would run anything, or change how the run ends."""
    if info.status not in _ENDED_BADLY:
        return True
    failed = info.counts["failure"] - survey.tolerated_count
    # A decision since it ended makes a task run, or counts now.
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
    """The cancelled tasks of a cancelled run; None if the search would take long. An at-most-once
    task may have reported itself as cancelled.
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
