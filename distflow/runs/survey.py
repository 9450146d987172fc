"""Survey: the tasks of a run, by name, that explain its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from distflow.core.claim import Progress
from distflow.core.model import TaskResult
from distflow.core.resolution import is_dead_end, is_decided
from distflow.core.run import HistoryEntry, Refusal, RunInfo
from distflow.core.status import ENDED_RUNS
from distflow.core.waits import Wait, is_led, time_wait
from distflow.ports.run_store import RunStore
from distflow.wire.codec import decode_result

#: Tasks with progress that are searched for waiting ones: more would not make it slower.
_SAMPLED_TASKS = 2000

#: Entries of the history that are searched for the errors of waiting tasks.
_RECENT_ENTRIES = 200

#: Kinds of history entries of a task that will be tried again.
_TRIED = frozenset({"retried", "looped", "lost"})


class FoundTask(NamedTuple):
    """A task worth naming; ``why`` is its error or message, in one line.

    No resume runs a ``dead_end`` again; ``decided`` says that a person decided its outcome.
    """

    name: str
    why: str
    dead_end: bool = False
    decided: bool = False


class RunningTask(NamedTuple):
    """A task that a worker holds; ``seconds`` since it was claimed."""

    name: str
    attempt: int
    worker: str
    seconds: float


class Survey(NamedTuple):
    """Some tasks of a run, by name, as many as a person reads; ``info.counts`` has the totals."""

    #: Failures that count against the run.
    failed: list[FoundTask]
    #: Failures with ``continue_on_error``, and how many of them the run has.
    tolerated: list[FoundTask]
    tolerated_count: int
    unknown: list[FoundTask]
    running: list[RunningTask]
    #: Tasks that wait for a time.
    waiting: list[Wait]
    #: Unknown tasks whose verify hook has not answered yet -> the worker that is asking it, empty
    #: if none is.
    asked: Mapping[str, str]
    #: What workers cannot run, the oldest first.
    refused: list[Refusal]


def survey_run(store: RunStore, info: RunInfo, *, limit: int = 10) -> Survey:
    """Find the tasks that explain a run's status, without searching its graph.

    Args:
        store: that of the run.
        info: the run, read before.
        limit: how many names of each kind.
    """
    troubles = store.read_troubles(limit)
    return Survey(
        failed=_reasons(store, troubles.failed),
        tolerated=_reasons(store, troubles.tolerated),
        tolerated_count=troubles.tolerated_count,
        unknown=_reasons(store, troubles.unknown),
        asked=find_asked(store, troubles.hooked) if is_led(info) else {},
        running=_running(store, info, limit) if info.counts["running"] else [],
        waiting=_waiting(store, info, limit) if info.status not in ENDED_RUNS else [],
        refused=store.read_refusals() if info.status not in ENDED_RUNS else [],
    )


def found_task(name: str, packed: bytes) -> FoundTask:
    """A task with this outcome, as a person should know it."""
    result = decode_result(packed, opaque=True, task=name)
    return FoundTask(name, why_of(result), is_dead_end(result), is_decided(result))


def why_of(result: TaskResult) -> str:
    """An outcome's error, else its message, in one line."""
    return " ".join((result.error or result.message or "").split())


def _reasons(store: RunStore, names: Sequence[str]) -> list[FoundTask]:
    found = []
    for name, packed in zip(names, store.read_results(names), strict=True):
        # A resume may have set the outcome aside in between.
        if packed is not None:
            found.append(found_task(name, packed))
    return found


def find_asked(store: RunStore, hooked: Sequence[str]) -> dict[str, str]:
    """Of these unknown tasks, those whose verify hook has not answered yet -> the worker that is
    asking it, empty if none is.
    """
    if not hooked:
        return {}
    at_work = {beat.task: beat.worker for beat in store.read_beats().values()}
    last_said = {entry.task: entry.kind for entry in store.read_history()}
    return {
        name: at_work.get(name, "")
        for name in hooked
        if name in at_work or last_said.get(name) != "asked"
    }


def _running(store: RunStore, info: RunInfo, limit: int) -> list[RunningTask]:
    beats = store.read_beats()
    running = [
        RunningTask(
            name,
            claim.attempt,
            beats[claim.batch].worker if claim.batch in beats else "",
            max(0.0, info.as_of - claim.claimed / 1000),
        )
        for name, claim in store.read_claims().items()
    ]
    return _first(running, limit, key=lambda task: -task.seconds)


def _waiting(store: RunStore, info: RunInfo, limit: int) -> list[Wait]:
    waiting = {
        name: progress
        for name, progress in store.sample_progress(_SAMPLED_TASKS).items()
        if progress.not_before > info.as_of * 1000
    }
    first = sorted(waiting, key=lambda name: waiting[name].not_before)[:limit]
    if not first:
        return []
    newest = store.read_history(newest=_RECENT_ENTRIES)
    last = {entry.task: entry for entry in newest if entry.kind in _TRIED}
    return [timed_wait(name, waiting[name], last.get(name)) for name in first]


def timed_wait(task: str, progress: Progress, last: HistoryEntry | None) -> Wait:
    """A task that waits for a time; ``last`` is the history entry of its last attempt."""
    if last is None:
        return time_wait(task, progress)
    error = ""
    if last.packed is not None:
        result = decode_result(last.packed, opaque=True, task=task)
        error = result.error or result.message or ""
    return time_wait(task, progress, last=last.kind, error=error, since=last.at)


def last_try(history: Iterable[HistoryEntry]) -> HistoryEntry | None:
    """The last entry of a task's history about an attempt that another one follows."""
    return next((entry for entry in reversed([*history]) if entry.kind in _TRIED), None)


def _first(tasks: Iterable[Any], limit: int, *, key: Any) -> list[Any]:
    return sorted(tasks, key=key)[:limit]
