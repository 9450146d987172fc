"""A run and its tasks as documents: what ``--json`` prints, and what the views for people show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from distflow.core.misfit import find_held, wanted_of
from distflow.core.model import Task, users_part
from distflow.core.options import ALWAYS_SHOWN, chosen_options
from distflow.core.picture import COUNTED
from distflow.core.run import Beat, HistoryEntry, Refusal, RunInfo, TaskCut
from distflow.core.status import OUTCOMES, TaskStatus, shown_status
from distflow.core.waits import TaskFacts, Wait, WorkerFacts, is_led, task_waits
from distflow.ids import task_key
from distflow.ports.run_store import RunStore
from distflow.runs.lookup import iter_cuts, live_status
from distflow.runs.node_reader import GrownNode, read_node
from distflow.runs.outlook import Step, step_of
from distflow.runs.survey import find_asked, found_task, last_try, timed_wait
from distflow.runs.tallies import read_tallies
from distflow.wire.as_json import iso_time, plain_result, to_plain
from distflow.wire.codec import decode_result, unpack

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


def misfit_documents(facts: WorkerFacts) -> list[dict[str, Any]]:
    """What ``distflow status --json`` prints about what workers cannot run."""
    held = {each.scope for each in find_held(facts.refusals, facts.live)}
    return [_misfit_document(each, held) for each in facts.refusals]


def _misfit_document(refusal: Refusal, held: Collection[str]) -> dict[str, Any]:
    """``held`` are the scopes that no worker can run."""
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


def wait_documents(
    info: RunInfo, waits: Iterable[Wait], command: Callable[[Step], str] = str
) -> list[dict[str, Any]]:
    """Why a run or a task waits, each wait with the command that ends it: null if it ends by
    itself, or outside of distflow. ``command`` makes the text of a step.
    """
    return [
        {
            "kind": wait.kind.value,
            "task": wait.task or None,
            "until": iso_time(wait.until),
            "on": wait.on or None,
            "since": iso_time(wait.since),
            "command": None if (step := step_of(info, wait)) is None else command(step),
        }
        for wait in waits
    ]


def done_count(info: RunInfo) -> int:
    """How many tasks have a final outcome: all outcomes but ``unknown``."""
    return sum(info.counts[status] for status in OUTCOMES if status != TaskStatus.UNKNOWN)


def result_document(packed: bytes, task: str = "") -> dict[str, Any]:
    """An encoded TaskResult as a JSON document: null for empty fields.

    ``traceback`` and ``started`` are present only if they are set.
    """
    return {**_EMPTY_RESULT, **plain_result(decode_result(packed, opaque=True, task=task))}


def result_documents(store: RunStore) -> dict[str, dict[str, Any]]:
    """The outcomes so far, by name of task."""
    return {
        task.name: result_document(cut.packed, task.name)
        for task, cut in iter_cuts(store)
        if cut.packed is not None
    }


class TaskReading(NamedTuple):
    """A task as the store has it: its dependencies in order, and what it waits for."""

    task: Task
    cut: TaskCut
    #: Name of each dependency -> its status.
    dependencies: Mapping[str, TaskStatus]
    history: Sequence[HistoryEntry]
    #: The last heartbeat of the batch that holds it.
    beat: Beat | None
    waits: Sequence[Wait]
    #: What it has added, if it is a growing node that has expanded.
    children: GrownNode | None = None


def read_task(store: RunStore, info: RunInfo, task: Task) -> TaskReading:
    """Read a task of a run, and what it waits for."""
    name, now = task.name, info.as_of
    cut, *around = store.read_cut([name, *task.depends_on])
    dependencies = {
        dependency: live_status(there, now)
        for dependency, there in zip(task.depends_on, around, strict=True)
    }
    history = store.read_history(name)
    status = live_status(cut, now)
    timed = None
    if status == TaskStatus.WAITING and cut.progress is not None:
        timed = timed_wait(name, cut.progress, last_try(history))
    found = None if cut.packed is None else found_task(name, cut.packed)
    asks = status == TaskStatus.UNKNOWN and task.verify is not None
    facts = TaskFacts(
        name,
        task.queue,
        status,
        timed,
        [name for name, there in dependencies.items() if there != TaskStatus.SUCCESS],
        dead_end=found is not None and found.dead_end and not found.decided,
        batches=_count_batches(store, info, status),
        growing=_find_growing(store, info, task, dependencies) if status not in OUTCOMES else (),
    )
    waits = task_waits(info, facts, find_asked(store, [name]) if asks and is_led(info) else {})
    beat = None if cut.claim is None else store.read_beats().get(cut.claim.batch)
    grown = None if task.grow is None or cut.packed is None else read_node(store, name, cut.packed)
    return TaskReading(task, cut, dependencies, history, beat, waits, grown)


def _find_growing(
    store: RunStore, info: RunInfo, task: Task, dependencies: Mapping[str, TaskStatus]
) -> list[str]:
    """The dependencies of a task that have added tasks which have not all ended, if it waits for
    those.
    """
    followed = () if task.grow is None else task.grow.shapes
    done = [name for name, there in dependencies.items() if there == TaskStatus.SUCCESS]
    nodes = store.read_expansions().keys() & (set(done) - set(followed))
    if not nodes:
        return []
    return [
        tally.node
        for tally in read_tallies(store, info)
        if tally.node in nodes and tally.done < tally.children
    ]


def _count_batches(store: RunStore, info: RunInfo, status: TaskStatus) -> int:
    """How many batches of the run are running, if that may keep a task from running."""
    if info.options.concurrency is None or status != TaskStatus.PENDING:
        return 0
    return len({claim.batch for claim in store.read_claims().values()})


def task_document(
    info: RunInfo, reading: TaskReading, command: Callable[[Step], str] = str
) -> dict[str, Any]:
    """What ``distflow show --json`` prints about one task; ``command`` makes the text of a step."""
    task, cut, name = reading.task, reading.cut, reading.task.name
    claim, progress, beat = cut.claim, cut.progress, reading.beat
    status = live_status(cut, info.as_of)
    result = None if cut.packed is None else result_document(cut.packed, name)
    if result is not None and reading.children is not None:
        result["data"] = reading.children.value
    document: dict[str, Any] = {
        "run_id": info.run_id,
        "task": name,
        "coordinator": info.coordinator,
        "status": shown_status(status),
        "kind": "call" if task.grow is None else task.grow.kind,
        "function": users_part(task).function,
        "children": None if reading.children is None else reading.children.counts,
        **{name: getattr(task, name) for name in ALWAYS_SHOWN},
        "options": chosen_options(task),
        "key": task_key(info.origin, name),
        "dependencies": {on: shown_status(there) for on, there in reading.dependencies.items()},
        "result": result,
        "saved": None if cut.note is None else to_plain(unpack(cut.note, opaque=True)),
        "claim": None,
        "waits_until": None,
        "next_attempt": progress.attempt if progress and claim is None and result is None else None,
        "waits": wait_documents(info, reading.waits, command),
        "history": [_history_document(entry) for entry in reading.history],
    }
    if claim is not None:
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
