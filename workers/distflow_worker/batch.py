"""run_batch: the function that RQ jobs name. It takes a batch's tasks one after another."""

from __future__ import annotations

import logging
import time
from typing import Any

from rq import get_current_job
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import BaseWorker

from distflow.codec import unpack
from distflow.core.claim import WIRE_VERSION, ClaimReply, ClaimRequest, Code, Finish
from distflow.errors import DistflowError
from distflow.ids import new_token
from distflow.store.working import WorkerStore
from distflow_worker.attempt import ClaimVoid, RunView, run_attempt
from distflow_worker.beat import BEAT_SECONDS, Heartbeat
from distflow_worker.connection import open_like

_log = logging.getLogger("distflow.worker")

#: Answers after which nothing more of the batch may run.
_ENDS_BATCH = frozenset({Code.STALE_EPOCH, Code.STOPPED, Code.GONE})


def run_batch(payload: bytes) -> None:
    """Run the tasks of a batch; what becomes of each is in the run's results.

    Args:
        payload: msgpack, made by the coordinator.

    Raises:
        DistflowError: the payload is of a version that this worker does not know.
    """
    job = get_current_job()
    if job is None or job.connection is None:
        raise DistflowError("run_batch is for RQ workers: submit the workflow instead")
    fields = unpack(payload)
    if fields["wire"] != WIRE_VERSION:
        raise DistflowError(
            f"this worker speaks wire version {WIRE_VERSION}, the coordinator "
            f"{fields['wire']}: install the same distflow on both"
        )
    client = open_like(job.connection)
    worker = job.worker_name or "?"
    place: dict[str, Any] = {"prefix": fields["prefix"]}
    store = WorkerStore(client, fields["run_id"], **place)
    opening = store.begin_batch(fields["epoch"], fields["batch"], worker, job.id)
    if opening.code != Code.OK:
        _log.info("batch %s not begun: %s", fields["batch"], opening.code.name)
        return
    beating = WorkerStore(client, fields["run_id"], **place, patience_seconds=0.0)
    with Heartbeat(beating, fields["batch"], worker, job.id) as heartbeat:
        view = RunView(
            store=store,
            worker=worker,
            origin=opening.origin,
            params=unpack(opening.params, opaque=True),
            factory=opening.context,
            max_result_bytes=opening.max_result_bytes,
            cancelled=lambda: heartbeat.cancelled,
        )
        _BatchRun(view, store, fields, heartbeat, worker).run()


class _BatchRun:
    """The tasks of a batch, in order, with one round trip between two."""

    def __init__(
        self,
        view: RunView,
        store: WorkerStore,
        fields: dict[str, Any],
        heartbeat: Heartbeat,
        worker: str,
    ) -> None:
        self._view = view
        self._store = store
        self._epoch: int = fields["epoch"]
        self._batch: str = fields["batch"]
        self._headers: list[dict[str, Any]] = fields["tasks"]
        self._heartbeat = heartbeat
        self._worker = worker
        self._looked_at = time.monotonic()

    def run(self) -> None:
        finish: Finish | None = None
        unstarted: list[str] = []
        names = [header["name"] for header in self._headers]
        for position, header in enumerate(self._headers):
            if self._should_stop():
                unstarted += names[position:]
                break
            token = new_token()
            reply = self._claim(header, token, finish)
            finish = None
            if reply.code in _ENDS_BATCH:
                _log.info("batch %s ends: %s", self._batch, reply.code.name)
                unstarted += names[position:]
                break
            if reply.code == Code.GRANTED:
                finish = self._attempt(header, token, reply)
            elif reply.code != Code.DONE:
                _log.info("task %s left alone: %s", header["name"], reply.code.name)
                unstarted.append(header["name"])
        done = self._store.advance(
            self._epoch,
            self._batch,
            [finish] if finish else [],
            ending=True,
            unstarted=unstarted,
        )
        self._report(finish, done.finishes)

    def _claim(self, header: dict[str, Any], token: str, finish: Finish | None) -> ClaimReply:
        """Record the last outcome and claim the next task."""
        request = ClaimRequest(
            header["name"],
            token,
            header["effects"] != "at_most_once",
            tuple((name, tolerated) for name, tolerated in header["needs"]),
        )
        finishes = [finish] if finish else []
        advanced = self._store.advance(self._epoch, self._batch, finishes, [request])
        self._report(finish, advanced.finishes)
        return advanced.claims[0]

    def _attempt(self, header: dict[str, Any], token: str, claim: ClaimReply) -> Finish | None:
        name = header["name"]
        self._heartbeat.task = name
        try:
            return run_attempt(self._view, name, header["body"], token, header["effects"], claim)
        except ClaimVoid:
            _log.warning("task %s was given to another worker before it started here", name)
            return None
        finally:
            self._heartbeat.task = ""

    def _report(self, finish: Finish | None, codes: tuple[Code, ...]) -> None:
        if finish and codes and codes[0] != Code.RECORDED:
            _log.warning(
                "task %s attempt %d: its outcome %s came too late and is kept in the history: %s",
                finish.task,
                finish.attempt,
                finish.status,
                codes[0].name,
            )

    def _should_stop(self) -> bool:
        """Whether RQ wants this worker to stop or to be suspended: asked once a second at most."""
        if time.monotonic() - self._looked_at < BEAT_SECONDS:
            return False
        self._looked_at = time.monotonic()
        key = BaseWorker.redis_worker_namespace_prefix + self._worker
        pipeline: Any = self._store.client.pipeline(transaction=False)
        pipeline.hexists(key, "shutdown_requested_date")
        pipeline.exists(WORKERS_SUSPENDED)
        return any(pipeline.execute())
