"""Waits: every reason why a task or a run does not go on now, derived from what was read. Nothing
else derives them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from distflow.core.claim import Progress
from distflow.core.misfit import Registration, find_held, wanted_of
from distflow.core.readings import Apart
from distflow.core.run import Refusal, RunInfo
from distflow.core.status import ACTIVE_RUNS, ENDED_RUNS, FINAL, RunStatus, TaskStatus

#: Why a person should decide on a task that already has an outcome.
FAILED_ONCE = "failed, and may run at most once"

#: Why a loop has a next iteration.
UNMET = "condition not met"

#: The rank of queues without listeners: these are reported together.
_LAST_RANK = 3

#: Who decides: the ``on`` of a wait for a decision.
_PERSON, _HOOK = "person", "verify hook"


class WaitKind(StrEnum):
    """What a task or its run waits for. The values are those in JSON."""

    #: Its next attempt or iteration begins at a time: a retry's backoff, a loop's interval.
    TIME = "time"
    #: Work is queued, and no worker that could see it listens to the queue.
    WORKER = "worker"
    #: Workers listen to the queue, and none of them can run its tasks.
    MISFIT = "misfit"
    #: Workers are there, and were told to take no jobs: ``rq suspend``.
    SUSPENDED = "suspended"
    #: Workers listen to the queue, and all are busy.
    BUSY = "busy"
    #: A task that it depends on has not succeeded.
    DEPENDENCY = "dependency"
    #: The tasks that a dependency has added have not all ended.
    CHILDREN = "children"
    #: Somebody must decide how the task ended: it is ``unknown``, or is ``at_most_once``, started
    #: and failed.
    DECISION = "decision"
    #: A worker is frozen inside the task, which may not run twice.
    FROZEN = "frozen"
    #: As many batches of the run are running as its ``concurrency`` allows.
    CONCURRENCY = "concurrency"
    #: The run waits for a resume: it is paused or interrupted, or was blocked.
    PAUSED = "paused"
    #: Nobody leads the run.
    LEADER = "leader"
    #: The run is being created: its submit has not ended.
    SUBMIT = "submit"


class Wait(NamedTuple):
    """One reason why something does not go on now. Times are Unix seconds.

    ``on`` is what it waits for: the queue that needs a worker; the frozen worker; a dependency; the
    next attempt or iteration; ``person`` or ``verify hook``; for a run that nobody leads, its
    status.
    """

    kind: WaitKind
    #: Empty if the wait is about the run as a whole, or about many tasks.
    task: str = ""
    on: str = ""
    until: float | None = None
    since: float | None = None
    #: What a worker needs in order to end the wait: ``shop:charge``, ``RQ_KEY_PREFIX=rq``.
    needs: str = ""
    #: Details for people: what workers lack, who asks the hook, how the last attempt ended.
    why: str = ""

    @property
    def is_asked(self) -> bool:
        """Whether it waits for a decision that a verify hook may make."""
        return self.kind == WaitKind.DECISION and self.on == _HOOK


class WorkerFacts(NamedTuple):
    """What was read about the queues and workers of a led run.

    ``unserved`` are queues with work that nobody listens to, ``apart`` those whose workers cannot
    see it; ``live`` are the workers of each queue.
    """

    unserved: Sequence[str] = ()
    apart: Sequence[Apart] = ()
    refusals: Sequence[Refusal] = ()
    live: Mapping[str, Collection[Registration]] = {}
    suspended: bool = False


class RunFacts(NamedTuple):
    """What was read about a run: ``unknown`` and ``failed`` are tasks that somebody should decide,
    ``timed`` are waits for a time, ``asked`` is as for :func:`unknown_wait`.
    """

    info: RunInfo
    workers: WorkerFacts
    unknown: Sequence[str]
    asked: Mapping[str, str]
    failed: Sequence[str]
    timed: Sequence[Wait]


class TaskFacts(NamedTuple):
    """What was read about a task that may be waiting.

    ``timed`` is its wait for a time; ``open`` are the dependencies that have not succeeded, and
    ``growing`` those that have added tasks which have not all ended;
    ``dead_end`` says that only a decision can change its outcome; ``batches`` is how many batches
    of the run are running.
    """

    name: str
    queue: str
    status: TaskStatus
    timed: Wait | None = None
    open: Sequence[str] = ()
    dead_end: bool = False
    batches: int = 0
    growing: Sequence[str] = ()


def is_led(info: RunInfo) -> bool:
    """Whether a coordinator leads a run that has not ended."""
    return info.coordinator is not None and info.status not in ENDED_RUNS


def is_sending(info: RunInfo) -> bool:
    """Whether a coordinator leads a run and sends its tasks to workers."""
    return is_led(info) and info.status == RunStatus.RUNNING


def stands(counts: Mapping[str, int]) -> bool:
    """Whether tasks are queued and none is running."""
    return bool(counts["queued"]) and not counts["running"]


def run_waits(facts: RunFacts) -> list[Wait]:
    """Every reason why a run does not go on now."""
    info = facts.info
    waits = [*worker_waits(facts.workers), *frozen_waits(info)]
    waits += [unknown_wait(task, facts.asked) for task in facts.unknown]
    return [*waits, *facts.timed, *failed_waits(facts.failed), *rest_waits(info)]


def worker_waits(facts: WorkerFacts) -> Iterator[Wait]:
    """The workers that a run waits for."""
    kind = WaitKind.WORKER
    if facts.suspended:
        yield Wait(WaitKind.SUSPENDED)
    for each in facts.apart:
        others = (
            f"{count} {'has' if count == 1 else 'have'} RQ_KEY_PREFIX={prefix}"
            for prefix, count in each.workers.items()
        )
        needs = f"RQ_KEY_PREFIX={each.prefix}"
        yield Wait(kind, on=each.queue, needs=needs, why="\n".join(others))
    apart = {each.queue for each in facts.apart}
    yield from (Wait(kind, on=queue) for queue in facts.unserved if queue not in apart)
    for held in find_held(facts.refusals, facts.live):
        some = [each for each in facts.refusals if each.scope == held.scope]
        yield Wait(
            WaitKind.MISFIT,
            on=held.queue,
            since=min(each.since for each in some),
            needs=wanted_of(some[0]),
            why=some[0].what,
        )


def frozen_waits(info: RunInfo) -> Iterator[Wait]:
    """The tasks that a frozen worker holds."""
    for held in info.held:
        yield Wait(WaitKind.FROZEN, held.task, held.worker, since=held.since)


def unknown_wait(task: str, asked: Mapping[str, str]) -> Wait:
    """The wait of an ``unknown`` task. ``asked`` maps tasks whose hook is being asked to the worker
    that does it; empty before one does.
    """
    on = _HOOK if task in asked else _PERSON
    return Wait(WaitKind.DECISION, task, on, why=asked.get(task, ""))


def failed_waits(tasks: Iterable[str]) -> Iterator[Wait]:
    """Tasks that are ``at_most_once``, started and failed, unless somebody has confirmed the
    failure.
    """
    return (Wait(WaitKind.DECISION, task, _PERSON, why=FAILED_ONCE) for task in tasks)


def time_wait(
    task: str, progress: Progress, *, last: str = "", error: str = "", since: float | None = None
) -> Wait:
    """A task whose next attempt or iteration begins at a time.

    Args:
        task: its name.
        progress: the task's.
        last: the kind of its last entry in the history; empty if there is none.
        error: why its last attempt failed.
        since: when that attempt ended, Unix seconds.
    """
    looped = last == "looped"
    if not last:
        looped = progress.iteration > 1 and progress.attempt - progress.base == 1
    if looped:
        on, why = f"iteration {progress.iteration}", UNMET
    else:
        more = f", iteration {progress.iteration}" if progress.iteration > 1 else ""
        on, why = f"attempt {progress.attempt}{more}", f"after {error}" if error else ""
    until = progress.not_before / 1000
    return Wait(WaitKind.TIME, task, on, until=until, since=since, why=why)


def rest_waits(info: RunInfo) -> Iterator[Wait]:
    """What the run as a whole waits for: somebody to create, lead or resume it."""
    status = info.status
    if status == RunStatus.CREATING:
        yield Wait(WaitKind.SUBMIT, on=status.value, since=info.created_at)
    elif status in ACTIVE_RUNS:
        if info.coordinator is None:
            yield Wait(WaitKind.LEADER, on=status.value)
    elif status in (RunStatus.PAUSED, RunStatus.INTERRUPTED, RunStatus.BLOCKED):
        undecided = status == RunStatus.BLOCKED and info.counts["unknown"]
        needs = "a decision" if undecided else ""
        yield Wait(WaitKind.PAUSED, on=status.value, since=info.rest_at, needs=needs)


def task_waits(info: RunInfo, facts: TaskFacts, asked: Mapping[str, str]) -> list[Wait]:
    """Every reason why one task of a run does not go on now, nearest first."""
    name, status = facts.name, facts.status
    if status in (TaskStatus.CLAIMED, TaskStatus.STARTED):
        return [wait for wait in frozen_waits(info) if wait.task == name]
    if status == TaskStatus.UNKNOWN:
        return [unknown_wait(name, asked)]
    if status in FINAL:
        return list(failed_waits([name] if facts.dead_end else []))
    waits = [facts.timed] if facts.timed else []
    waits += [Wait(WaitKind.DEPENDENCY, name, on) for on in facts.open]
    waits += [Wait(WaitKind.CHILDREN, name, on) for on in facts.growing]
    waits += [wait._replace(task=name) for wait in rest_waits(info)]
    limit = info.options.concurrency
    if not waits:
        full = limit is not None and facts.batches >= limit
        kind = WaitKind.CONCURRENCY if full else WaitKind.WORKER
        waits.append(Wait(kind, name, str(limit) if full else facts.queue))
    return waits


def stall_waits(facts: WorkerFacts, counts: Mapping[str, int], *, leading: bool) -> list[Wait]:
    """What a run that has come to a standstill waits for: only the nearest reason, which for kind
    ``worker`` may cover several queues. Empty if its tasks simply take their time.

    Args:
        facts: about the queues of its open tasks.
        counts: its tasks by status.
        leading: whether the counts are this process's own. Those of another coordinator may be
            stale if it has died, so nothing is concluded from them.
    """
    if counts["running"]:
        return []
    suspended = facts.suspended and counts["queued"] > 0
    waits = sorted(worker_waits(facts._replace(suspended=suspended)), key=_rank)
    if waits and _rank(waits[0]) < _LAST_RANK:
        return waits[:1]
    if waits or not leading:
        return waits
    if counts["queued"]:
        return [Wait(WaitKind.BUSY)]
    return [Wait(WaitKind.TIME)] if counts["waiting"] else []


def _rank(wait: Wait) -> int:
    """Sort key, most telling first: if a queue has workers after all, the missing one matters
    less.
    """
    if wait.kind == WaitKind.WORKER and not wait.needs:
        return _LAST_RANK
    return (WaitKind.SUSPENDED, WaitKind.WORKER, WaitKind.MISFIT).index(wait.kind)
