"""A run and its tasks as documents: what ``--json`` prints, and what the forms for people show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from distflow.authoring.imports import did_you_mean
from distflow.core.graph import Graph
from distflow.core.misfit import wanted_of
from distflow.core.model import Task, TaskResult
from distflow.core.options import ALWAYS_SHOWN, chosen_options
from distflow.core.picture import COUNTED
from distflow.core.resolution import is_dead_end, is_decided
from distflow.core.run import HistoryEntry, Refusal, RunInfo, TaskCut
from distflow.core.status import ENDED_RUNS, OUTCOMES, RunStatus, TaskStatus, shown_status
from distflow.errors import TaskNotFound
from distflow.ids import task_key
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore
from distflow.wire.as_json import iso_time, plain_result, to_plain
from distflow.wire.codec import decode_result, status_of, unpack

_EMPTY_RESULT: Mapping[str, Any] = {
    "status": None,
    "message": None,
    "error": None,
    "data": None,
    "metrics": None,
    "attempt": 0,
    "worker": None,
    "host": None,
}

#: Tasks with progress that are looked through for some that wait: more are answered as fast.
_SAMPLED_TASKS = 2000

#: Entries of the history that are looked through for the errors of tasks that wait.
_RECENT_ENTRIES = 200

#: A larger graph is not searched for names like the one that was given.
_GUESSED_TASKS = 20_000

#: Names that are read at a time.
_CHUNK = 1000


class FoundTask(NamedTuple):
    """A task that a person should know of; ``why`` is its error or message, in one line.

    No resume runs a ``dead_end`` again; ``decided`` says that a person has said how it ended.
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


class WaitingTask(NamedTuple):
    """A task that waits for a time, Unix seconds; ``attempt`` is the next one, and ``error`` what
    the last one failed of, empty where it did not or nobody remembers.
    """

    name: str
    attempt: int
    until: float
    error: str = ""


class Survey(NamedTuple):
    """Some tasks of a run by name, as many as a person reads; ``info.counts`` has the numbers."""

    #: Failures that count against the run.
    failed: list[FoundTask]
    #: Those with ``continue_on_error``, and how many of the run's failures they are.
    tolerated: list[FoundTask]
    tolerated_count: int
    unknown: list[FoundTask]
    running: list[RunningTask]
    waiting: list[WaitingTask]
    #: Of the unknown, those whose verify hook has not answered yet -> the worker that asks it,
    #: empty before one does.
    asked: Mapping[str, str]
    #: What workers cannot run, the oldest first.
    refused: list[Refusal]


def status_document(info: RunInfo) -> dict[str, Any]:
    """What ``distflow status --json`` prints. Times are ISO 8601, UTC."""
    return {
        "run_id": info.run_id,
        "workflow": info.workflow,
        "status": info.status.value,
        "params": to_plain(info.params),
        "tasks": {
            "total": info.total,
            **{name: info.counts[name] for name in COUNTED},
            "pending": info.pending,
        },
        "as_of": iso_time(info.as_of),
        "created_at": iso_time(info.created_at),
        "started_at": iso_time(info.started_at),
        "ended_at": iso_time(info.ended_at),
        "run_seconds": info.run_seconds,
        "coordinator": info.coordinator,
        "durability": info.durability,
        "redis_version": info.server.redis_version,
        "maxmemory_policy": info.server.maxmemory_policy,
        "repairs": dict(info.repairs),
        "held": [
            {"task": held.task, "worker": held.worker, "since": iso_time(held.since)}
            for held in info.held
        ],
    }


def misfit_document(refusal: Refusal, held: Collection[str]) -> dict[str, Any]:
    """What ``distflow status --json`` prints of what a worker cannot run; ``held`` are the scopes
    that none of the workers can.
    """
    return {
        "worker": refusal.worker,
        "registered_at": refusal.born or None,
        "host": refusal.host or None,
        "pid": refusal.pid or None,
        "directory": refusal.directory or None,
        "cannot_run": wanted_of(refusal),
        "missing": refusal.what,
        "error": refusal.words,
        "tasks": list(refusal.tasks),
        "since": iso_time(refusal.since),
        "no_worker_can": refusal.scope in held,
    }


def done_count(info: RunInfo) -> int:
    """How many tasks have an outcome that stands: all but the ``unknown``."""
    return sum(info.counts[status] for status in OUTCOMES if status != TaskStatus.UNKNOWN)


def iter_cuts(store: RunStore) -> Iterator[tuple[Task, TaskCut]]:
    """Every task, in the graph's order, with what the store has of it."""
    for tasks in _chunks(store):
        yield from zip(tasks, store.read_cut([task.name for task in tasks]), strict=True)


def result_document(packed: bytes, task: str = "") -> dict[str, Any]:
    """An encoded TaskResult as JSON says it: null where it has nothing to say.

    ``traceback`` and ``started`` are there only where they say something.
    """
    return {**_EMPTY_RESULT, **plain_result(decode_result(packed, opaque=True, task=task))}


def result_documents(store: RunStore) -> dict[str, dict[str, Any]]:
    """The outcomes so far, by name of task."""
    return {
        task.name: result_document(cut.packed, task.name)
        for task, cut in iter_cuts(store)
        if cut.packed is not None
    }


def live_status(cut: TaskCut, now: float) -> TaskStatus:
    """Where a task stands: ``pending`` until a worker claims it. ``now`` is Unix seconds."""
    if cut.packed is not None:
        return status_of(cut.packed)
    if cut.claim is not None:
        return TaskStatus.STARTED if cut.claim.started else TaskStatus.CLAIMED
    if cut.progress is not None and cut.progress.not_before > now * 1000:
        return TaskStatus.WAITING
    return TaskStatus.PENDING


def live_statuses(store: RunStore, graph: Graph, now: float) -> dict[str, TaskStatus]:
    """Where every task stands, without reading what the tasks returned."""
    # The claims come first: what ends in between is found among the outcomes.
    claims, progress = store.read_claims(), store.read_progress()
    statuses: dict[str, TaskStatus] = {}
    for start in range(0, len(graph), _CHUNK):
        names = [task.name for task in graph.tasks[start : start + _CHUNK]]
        for name, status in zip(names, store.read_statuses(names), strict=True):
            cut = TaskCut(None, claims.get(name), progress.get(name))
            statuses[name] = status or live_status(cut, now)
    return statuses


def survey_run(store: RunStore, info: RunInfo, *, limit: int = 10) -> Survey:
    """Find the tasks that say why a run stands where it stands, without a search of its graph.

    Args:
        store: that of the run.
        info: it, read before.
        limit: names of each kind.
    """
    troubles = store.read_troubles(limit)
    return Survey(
        failed=_reasons(store, troubles.failed),
        tolerated=_reasons(store, troubles.tolerated),
        tolerated_count=troubles.tolerated_count,
        unknown=_reasons(store, troubles.unknown),
        asked=_asked(store, troubles.hooked) if _is_led(info) else {},
        running=_running(store, info, limit) if info.counts["running"] else [],
        waiting=_waiting(store, info, limit) if info.status not in ENDED_RUNS else [],
        refused=store.read_refusals() if info.status not in ENDED_RUNS else [],
    )


def unserved_queues(dispatcher: Dispatcher, info: RunInfo) -> list[str]:
    """The queues where work of a run waits although no worker listens."""
    if not is_sending(info):
        return []
    workers = dispatcher.count_workers(info.queues)
    idle = [queue for queue in info.queues if not workers[queue]]
    return [queue for queue in idle if dispatcher.find_queued(info.run_id, [queue])]


def is_sending(info: RunInfo) -> bool:
    """Whether somebody leads a run and sends its tasks to workers."""
    return _is_led(info) and info.status == RunStatus.RUNNING


def _is_led(info: RunInfo) -> bool:
    return info.coordinator is not None and info.status not in ENDED_RUNS


def find_task(store: RunStore, name: str) -> Task:
    """A task of a run by its name, found without compiling the graph.

    Raises:
        TaskNotFound: the run has no such task; the message has the closest name.
    """
    names: list[str] = []
    for tasks in store.iter_tasks():
        for task in tasks:
            if task.name == name:
                return task
        names += [task.name for task in tasks]
    hint = did_you_mean(name, names) if len(names) <= _GUESSED_TASKS else ""
    raise TaskNotFound(
        f"run {store.run_id} has no task {name!r}"
        + (hint or f"; see `distflow status {store.run_id} --tasks`")
    )


def task_document(store: RunStore, info: RunInfo, task: Task) -> dict[str, Any]:
    """What ``distflow show --json`` prints of one task."""
    name = task.name
    cut, *around = store.read_cut([name, *task.depends_on])
    claim, progress = cut.claim, cut.progress
    status = live_status(cut, info.as_of)
    result = None if cut.packed is None else result_document(cut.packed, name)
    document: dict[str, Any] = {
        "run_id": info.run_id,
        "task": name,
        "coordinator": info.coordinator,
        "status": shown_status(status),
        "function": task.function,
        **{name: getattr(task, name) for name in ALWAYS_SHOWN},
        "options": chosen_options(task),
        "key": task_key(info.origin, name),
        "dependencies": {
            dependency: shown_status(live_status(there, info.as_of))
            for dependency, there in zip(task.depends_on, around, strict=True)
        },
        "result": result,
        "saved": None if cut.note is None else to_plain(unpack(cut.note, opaque=True)),
        "claim": None,
        "waits_until": None,
        "next_attempt": progress.attempt if progress and claim is None and result is None else None,
        "history": [_history_document(entry) for entry in store.read_history(name)],
    }
    if claim is not None:
        beat = store.read_beats().get(claim.batch)
        document["claim"] = {
            "attempt": claim.attempt,
            "iteration": claim.iteration,
            "worker": beat.worker if beat else None,
            "batch": claim.batch,
            "claimed_at": iso_time(claim.claimed / 1000),
            "started_at": iso_time(claim.started / 1000) if claim.started else None,
            "last_beat_at": iso_time(beat.at / 1000) if beat else None,
        }
    if progress is not None and status == TaskStatus.WAITING:
        document["waits_until"] = iso_time(progress.not_before / 1000)
    return document


def found_task(name: str, packed: bytes) -> FoundTask:
    """What a person should know of a task with this outcome."""
    result = decode_result(packed, opaque=True, task=name)
    return FoundTask(name, why_of(result), is_dead_end(result), is_decided(result))


def why_of(result: TaskResult) -> str:
    """An outcome's error, else its message, in one line."""
    return " ".join((result.error or result.message or "").split())


def _history_document(entry: HistoryEntry) -> dict[str, Any]:
    result = result_document(entry.packed, entry.task) if entry.packed else None
    return {
        "at": iso_time(entry.at),
        "kind": entry.kind,
        "status": entry.status or None,
        "attempt": entry.attempt or (result["attempt"] if result else 0) or None,
        "by": entry.by or None,
        "note": entry.note or None,
        "result": result,
    }


def _chunks(store: RunStore) -> Iterator[list[Task]]:
    for tasks in store.iter_tasks():
        for start in range(0, len(tasks), _CHUNK):
            yield tasks[start : start + _CHUNK]


def _reasons(store: RunStore, names: Sequence[str]) -> list[FoundTask]:
    found = []
    for name, packed in zip(names, store.read_results(names), strict=True):
        # A resume may have set it aside in between.
        if packed is not None:
            found.append(found_task(name, packed))
    return found


def _asked(store: RunStore, hooked: Sequence[str]) -> dict[str, str]:
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


def _waiting(store: RunStore, info: RunInfo, limit: int) -> list[WaitingTask]:
    waiting = [
        WaitingTask(name, progress.attempt, progress.not_before / 1000)
        for name, progress in store.sample_progress(_SAMPLED_TASKS).items()
        if progress.not_before > info.as_of * 1000
    ]
    first: list[WaitingTask] = _first(waiting, limit, key=lambda task: task.until)
    if not first:
        return []
    errors = _recent_errors(store)
    return [task._replace(error=errors.get(task.name, "")) for task in first]


def _recent_errors(store: RunStore) -> dict[str, str]:
    """What the tasks that failed lately, and are to be tried again, failed of."""
    errors = {}
    for entry in store.read_history(newest=_RECENT_ENTRIES):
        if entry.kind in ("retried", "lost") and entry.packed is not None:
            result = decode_result(entry.packed, opaque=True, task=entry.task)
            errors[entry.task] = result.error or result.message or ""
    return errors


def _first(tasks: Iterable[Any], limit: int, *, key: Any) -> list[Any]:
    return sorted(tasks, key=key)[:limit]
