"""What a run waits for when nothing moves, and the command that mends it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import click

from distflow.cli.ui.common import next_command, quote_word
from distflow.core.misfit import Held, find_held, wanted_of
from distflow.core.readings import Apart
from distflow.core.run import Refusal, RunInfo
from distflow.core.status import ENDED_RUNS
from distflow.errors import RedisUnavailable
from distflow.ports.backend import Backend
from distflow.runs.documents import is_sending, unserved_queues
from distflow.text import counted

#: Seconds without a change after which a run is asked what it waits for, and how often then.
_STILL_SECONDS = 3.0
_AGAIN_SECONDS = 2.0


class Stall:
    """Notices that nothing moves. ``answer`` is what was found; empty while something does."""

    def __init__(self) -> None:
        self._counts: Mapping[str, int] = {}
        self._due_at = 0.0
        self.answer = ""

    def is_due(self, counts: Mapping[str, int]) -> bool:
        """Whether it is time to ask what the run waits for."""
        now = time.monotonic()
        if counts != self._counts:
            self._counts = counts
            self.answer = ""
            self._due_at = now + _STILL_SECONDS
        if now < self._due_at:
            return False
        self._due_at = now + _AGAIN_SECONDS
        return True


def go_on_command(info: RunInfo, backend: Backend) -> str:
    """The command that goes on with a run.

    That is ``resume``; on the private Redis of ``distflow run``, where nobody listens to the
    run's queues, it is one that starts workers as well.
    """
    accept = ("--accept-gap",) if info.gap else ()
    resume = next_command("resume", info.run_id, *accept)
    private = click.get_current_context().params.get("data_dir") is not None
    if not private or info.gap or ":" not in info.workflow:
        return resume
    if any(backend.dispatcher.count_workers(info.queues).values()):
        return resume
    return next_command("run", info.workflow, "--run-id", info.run_id)


def worker_waits(backend: Backend, info: RunInfo) -> list[tuple[str, str]]:
    """The workers that a run waits for: each in words, with the command that starts it."""
    if not is_sending(info):
        return []
    unserved = unserved_queues(backend.dispatcher, info)
    # Nobody listens; or this process has the prefix of the workers, and sees no task that waits.
    suspect = info.queues if _stands(info.counts) else unserved
    apart = {each.queue: each for each in backend.find_apart(info.run_id, suspect)}
    waits = [_apart_words(each) for each in apart.values()]
    for queue in unserved:
        if queue not in apart:
            what = f"a worker: tasks wait and nobody listens to queue {queue!r}"
            waits.append((what, next_command("worker", queue)))
    return waits


def held_by_all(backend: Backend, info: RunInfo, refusals: Sequence[Refusal]) -> list[Held]:
    """What none of the workers can run that are there."""
    if not refusals or info.status in ENDED_RUNS:
        return []
    return find_held(refusals, backend.dispatcher.list_workers(info.queues))


def misfit_waits(
    backend: Backend, info: RunInfo, refusals: Sequence[Refusal]
) -> list[tuple[str, str]]:
    """The workers that a run waits for since none that is there can run something: each in words,
    with the command that starts one.
    """
    waits = []
    for held in held_by_all(backend, info, refusals):
        one = next(each for each in refusals if each.scope == held.scope)
        what = f"a worker of queue {held.queue!r} that can run {wanted_of(one)}"
        missing = f"{what}: none of those there has {one.what}"
        waits.append((missing, next_command("worker", held.queue)))
    return waits


def _missing_words(idle: Sequence[str], refusals: Sequence[Refusal], held: Sequence[Held]) -> str:
    """Which worker is missing, and what starts one; empty where none is."""
    if held:
        one = next(each for each in refusals if each.scope == held[0].scope)
        queue, begin = held[0].queue, next_command("worker", held[0].queue)
        return f"no worker on queue {queue!r} can run {wanted_of(one)}: start one by `{begin}`"
    if not idle:
        return ""
    names = ", ".join(map(repr, idle))
    what = f"queue {names} has" if len(idle) == 1 else f"queues {names} have"
    return f"{what} no workers: start one by `{next_command('worker', *idle)}`"


def _stands(counts: Mapping[str, int]) -> bool:
    return bool(counts["queued"]) and not counts["running"]


def _apart_words(apart: Apart) -> tuple[str, str]:
    """What is missing where coordinator and workers miss each other, on lines of their own, and
    what to type.
    """
    needed = f"RQ_KEY_PREFIX={apart.prefix}"
    what = f"a worker of queue {apart.queue!r} with {needed}, as its coordinator"
    for prefix, count in apart.workers.items():
        what += f"\n{count} {'has' if count == 1 else 'have'} RQ_KEY_PREFIX={prefix}"
    return what, f"env {quote_word(needed)} {next_command('worker', apart.queue)}"


def describe_wait(
    impatient: Backend,
    run_id: str,
    counts: Mapping[str, int],
    queues: Collection[str],
    *,
    leading: bool,
) -> str:
    """What a run that stands still waits for; empty where its tasks simply take their time.

    Args:
        impatient: where it lives; what is asked is asked once.
        run_id: the run.
        counts: its tasks by status.
        queues: those that its open tasks are for.
        leading: whether the counts are this process's own. What another coordinator published
            may be out of date, where that one has died: nothing is concluded from it.
    """
    try:
        with impatient.translate_errors():
            workers = impatient.dispatcher.count_workers(sorted(queues))
            suspended = impatient.are_workers_suspended()
            idle = [queue for queue, count in workers.items() if not count]
            suspect = queues if _stands(counts) and not leading else idle
            apart = impatient.find_apart(run_id, sorted(suspect))
            store = impatient.store(run_id)
            refusals = store.read_refusals() if counts["waiting"] else []
            # What no worker can run is open, and neither ready nor queued.
            everywhere = store.read_info().queues if refusals else ()
            live = impatient.dispatcher.list_workers(everywhere) if refusals else {}
    except RedisUnavailable as error:
        return str(error)
    except OSError as error:
        return f"Redis cannot be reached: {error}"
    if counts["running"]:
        return ""
    if suspended and counts["queued"]:
        return "the workers are suspended: `rq resume` lets them go on"
    if apart:
        what, command = _apart_words(apart[0])
        return f"{'; '.join(what.splitlines())}: start one by `{command}`"
    missing = _missing_words(idle, refusals, find_held(refusals, live))
    if missing or not leading:
        return missing
    if counts["queued"]:
        return "the workers on its queues are busy with other work"
    if counts["waiting"]:
        one = counts["waiting"] == 1
        whose = "waits for the time of its" if one else "wait for the time of their"
        return f"{counted(counts['waiting'], 'task')} {whose} next attempt"
    return ""
