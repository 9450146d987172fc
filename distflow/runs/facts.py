"""Reads of a run, its queues and its workers just what it takes to say what the run waits for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from distflow.core.run import Refusal, RunInfo
from distflow.core.status import ENDED_RUNS
from distflow.core.waits import RunFacts, WorkerFacts, is_sending, stands
from distflow.ports.backend import Backend
from distflow.runs.survey import Survey


def read_facts(backend: Backend, info: RunInfo, survey: Survey) -> RunFacts:
    """The facts about a run that an onlooker can know; of its tasks, only those of the survey."""
    return RunFacts(
        info,
        read_workers(backend, info, survey.refused),
        unknown=[task.name for task in survey.unknown],
        asked=survey.asked,
        failed=[task.name for task in survey.failed if task.dead_end and not task.decided],
        timed=survey.waiting,
    )


def read_workers(backend: Backend, info: RunInfo, refusals: Sequence[Refusal]) -> WorkerFacts:
    """The workers of a run: on queues where its batches wait, and those that refuse some."""
    if info.status in ENDED_RUNS:
        return WorkerFacts()
    live = backend.dispatcher.list_workers(info.queues) if refusals else {}
    facts = WorkerFacts(refusals=refusals, live=live)
    if not is_sending(info):
        return facts
    dispatcher = backend.dispatcher
    workers = dispatcher.count_workers(info.queues)
    idle = [queue for queue in info.queues if not workers[queue]]
    unserved = [queue for queue in idle if dispatcher.find_queued(info.run_id, [queue])]
    # No workers; or this process shares the workers' prefix, and sees no waiting tasks.
    suspect = info.queues if stands(info.counts) else unserved
    apart = backend.find_apart(info.run_id, suspect)
    suspended = stands(info.counts) and backend.are_workers_suspended()
    return facts._replace(unserved=unserved, apart=apart, suspended=suspended)


def read_stall(
    impatient: Backend,
    run_id: str,
    counts: Mapping[str, int],
    queues: Collection[str],
    *,
    leading: bool,
) -> WorkerFacts:
    """The workers of a run in which nothing moves, by its counts; ``queues`` are the queues of its
    open tasks. The arguments are those of :func:`~distflow.core.waits.stall_waits`.
    """
    workers = impatient.dispatcher.count_workers(sorted(queues))
    idle = [queue for queue, count in workers.items() if not count]
    suspended = impatient.are_workers_suspended()
    suspect = queues if stands(counts) and not leading else idle
    apart = impatient.find_apart(run_id, sorted(suspect))
    store = impatient.store(run_id)
    refusals = store.read_refusals() if counts["waiting"] else []
    # A task that no worker can run is open, but neither ready nor queued.
    everywhere = store.read_info().queues if refusals else ()
    live = impatient.dispatcher.list_workers(everywhere) if refusals else {}
    return WorkerFacts(idle, apart, refusals, live, suspended)
