"""run_batch: the function that RQ jobs name. It runs the tasks of a batch in sequence."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.exceptions import RedisError
from rq import get_current_job

from distflow import config
from distflow.core.claim import Code
from distflow.errors import DistflowError
from distflow.logs import get_logger
from distflow.places import look_here_first
from distflow.rq_compat.rq_keys import SUSPENDED_KEY, worker_key
from distflow.store.redis.patience import call_patiently
from distflow.store.redis.worker import WorkerStore
from distflow.wire.batch_payload import BatchPayload, decode_payload
from distflow.wire.codec import unpack
from distflow_worker.alarm import Deadline, StopSignals
from distflow_worker.attempt import AttemptRun
from distflow_worker.beat import BEAT_SECONDS, Heartbeat
from distflow_worker.context import RecordedResults, RunView, run_context
from distflow_worker.finish_buffer import PIECE_SECONDS
from distflow_worker.process import Original, ProcessState
from distflow_worker.redis_client import name_of, reuse_like
from distflow_worker.registration import find_registration
from distflow_worker.sequence import BatchSequence

if TYPE_CHECKING:
    # Imported only by batches that need them.
    from distflow_worker.guard import Guard
    from distflow_worker.outcomes import OutcomeKeeper
    from distflow_worker.verify import Verification

_log = get_logger("distflow.worker")

#: The field of a worker's hash that says when it was told to stop.
_STOP_FIELD = "shutdown_requested_date"

#: Keeps outcomes that Redis does not accept, and delivers them later: imported only if there are
#: any.
_OUTCOMES = "distflow_worker.outcomes"
_DELIVERY = "distflow_worker.delivery"

#: Ends tasks in time: batches without a timeout need not pay for the import.
_GUARD = "distflow_worker.guard"
_GUARDIAN = "distflow_worker.guardian"

#: Seconds for which a batch that has not begun waits for a Redis that refuses.
_PATIENCE_SECONDS = 60.0


def run_batch(payload: bytes) -> None:
    """Run the tasks of a batch; their outcomes are in the run's results.

    Args:
        payload: msgpack, from the coordinator.

    Raises:
        DistflowError: the payload has a version that this worker cannot read, or is not a batch.
    """
    job = get_current_job()
    if job is None or job.connection is None:
        raise DistflowError("run_batch is for RQ workers: submit the workflow instead")
    take_batch(payload, job.connection, job.worker_name or "?", job.id)


def take_batch(payload: bytes, connection: Redis, worker: str, job: str) -> bool:
    """The same for a worker that identifies itself. Returns whether its process is fit for another
    batch: it is not if a task that was interrupted by its timeout may still be running in it, or if
    something was missing.

    Args:
        payload: as for :func:`run_batch`.
        connection: of the RQ worker.
        worker: its name.
        job: the RQ job's id.

    Raises:
        DistflowError: as :func:`run_batch`.
    """
    client = reuse_like(connection)
    sent = decode_payload(payload)
    look_here_first()
    place: dict[str, Any] = {"prefix": sent.prefix}
    # Read first, so that an invalid setting ends nothing that has begun.
    spool, told_seconds = config.spool_folder(), config.outcome_seconds()
    store = WorkerStore(client, sent.run_id, **place)
    opening = store.begin_batch(sent.epoch, sent.batch, worker, job)
    redis = name_of(connection)
    if spool is not None and Path(spool).is_dir():
        import_module(_DELIVERY).deliver(spool, client, redis, sent.prefix)
    if opening.code != Code.OK:
        _log.info("batch %s not begun: %s", sent.batch, opening.code.name)
        return True
    make_keeper = partial(_make_keeper, sent, redis, opening.origin, spool, told_seconds)
    registration = find_registration(client, sent.prefix, worker)
    beating = WorkerStore(client, sent.run_id, **place, patience_seconds=0.0)
    guard = _guard(sent, connection, worker, job, opening.max_result_bytes, make_keeper)
    overdue = guard.is_overdue if guard else None
    stop = _StopWatch(client, worker)
    beats = Heartbeat(beating, sent.batch, worker, job, is_told=stop.is_told, is_overdue=overdue)
    # A guardian is forked before there are threads.
    state = ProcessState()
    with (
        StopSignals(),
        guard or nullcontext(),
        store.own_connection(),
        beats as heartbeat,
        closing(state),
    ):
        params = unpack(opening.params, opaque=True)
        # Wait for a task's inputs for as long as for recording its outcome: an outage of Redis is
        # no failure of the task.
        patient = store.with_patience(max(store.patience_seconds, told_seconds))
        view = RunView(
            store=patient,
            worker=worker,
            origin=opening.origin,
            params=params,
            context=partial(
                run_context,
                opening.context,
                params,
                RecordedResults(patient),
                store.keys.meta,
                sent.epoch,
            ),
            max_result_bytes=opening.max_result_bytes,
            cancelled=lambda: heartbeat.cancelled,
            stopping=lambda: heartbeat.stopping,
            deadline=guard.deadline if guard else Deadline,
            original=Original(),
            state=state,
            facts=registration.facts,
            factory=opening.context,
        )
        sequence = BatchSequence(
            store.with_patience(PIECE_SECONDS),
            view,
            sent,
            should_stop=stop.should_stop,
            on_attempt=partial(_note_attempt, heartbeat, guard),
            make_keeper=make_keeper,
        )
        sequence.run()
    # The batch has ended: others have got the tasks that it could not run.
    _rest(registration.rest_seconds(sequence.refusal), stop.should_stop)
    # A fresh process finds what has been installed since.
    return (guard is None or not guard.overran) and not sequence.refusal


def _rest(seconds: float, should_stop: Callable[[], bool]) -> None:
    """Take no other batch for a while, unless the worker was told to stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not should_stop():
        time.sleep(min(BEAT_SECONDS, left))


def _make_keeper(
    sent: BatchPayload, redis: str, origin: str, spool: str | None, seconds: float
) -> OutcomeKeeper:
    """Make the keeper of a batch's outcomes."""
    module = import_module(_OUTCOMES)
    run = sent.prefix, sent.run_id, origin, sent.version
    home = module.Home(redis, *run, sent.epoch, sent.batch)
    keeper: OutcomeKeeper = module.OutcomeKeeper(home, spool, seconds)
    return keeper


def _guard(
    sent: BatchPayload,
    connection: Redis,
    worker: str,
    job: str,
    max_result_bytes: int,
    make_keeper: Callable[[], OutcomeKeeper],
) -> Guard | None:
    """Make the guard that ends the tasks of a batch in time; None if no task has a timeout."""
    if all(header.timeout is None for header in sent.tasks):
        return None
    guarded = import_module(_GUARDIAN).Guarded(
        connection=connection,
        payload=sent,
        worker=worker,
        job=job,
        max_result_bytes=max_result_bytes,
        make_keeper=make_keeper,
    )
    # A worker that runs jobs in its own process may lead a group with unrelated processes in it.
    registered = call_patiently(
        lambda: connection.hget(worker_key(worker), "pid"), _PATIENCE_SECONDS, connection
    )
    own = str(os.getpid()).encode()
    leads = os.getpgrp() == os.getpid() and registered not in (None, own)
    guard: Guard = import_module(_GUARD).Guard(guarded, leads=leads)
    return guard


def _note_attempt(
    heartbeat: Heartbeat, guard: Guard | None, attempt: AttemptRun | Verification | None
) -> None:
    heartbeat.on_attempt(attempt)
    if guard:
        guard.on_attempt(attempt)


class _StopWatch:
    """Whether RQ wants the worker to stop or suspend; read once a second at most."""

    def __init__(self, client: Any, worker: str) -> None:
        self._client = client
        self._key = worker_key(worker)
        self._looked_at = time.monotonic()

    def should_stop(self) -> bool:
        if time.monotonic() - self._looked_at < BEAT_SECONDS:
            return False
        self._looked_at = time.monotonic()
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hexists(self._key, _STOP_FIELD)
        pipeline.exists(SUSPENDED_KEY)
        try:
            return any(pipeline.execute())
        except RedisError:
            # An outcome may be waiting to be recorded, and the store is patient.
            return False

    def is_told(self) -> bool:
        """Whether the worker was told to stop; reads it now."""
        try:
            return bool(self._client.hexists(self._key, _STOP_FIELD))
        except RedisError:
            return False
