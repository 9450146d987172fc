"""LostClaims: settles what a lost or frozen worker held, so that it can run elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from distflow.coordinator.evidence import LostBatch, frozen_words, stopped_words
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.tools import Tools
from distflow.core.claim import Code, Finish
from distflow.core.model import Metrics
from distflow.core.outcome import Attempt, decide_lost, to_finish
from distflow.core.run import Claim, HeldTask
from distflow.core.status import RunStatus
from distflow.core.watch.overdue import OverdueTasks
from distflow.wire.codec import encode_result


class LostClaims:
    """Settles the claims of one run's batches.

    Args:
        mirror: the run.
        tools: its store.
        overdue: knows which tasks had run for too long.
    """

    def __init__(self, mirror: RunMirror, tools: Tools, overdue: OverdueTasks) -> None:
        self._mirror = mirror
        self._tools = tools
        self._overdue = overdue
        #: Batches whose worker was told to kill their process.
        self._stopped: set[str] = set()

    def stop(self, batch: str) -> None:
        """Kill the process group that works on a batch."""
        beat = self._mirror.beats[batch]
        self._stopped.add(batch)
        self._tools.dispatcher.stop_job(beat.job, beat.worker)

    def give_up(
        self, batch: str, worker: str, claims: Mapping[str, Claim], cause: str
    ) -> LostBatch:
        """End the claims of a batch, and the batch."""
        if self._is_cancelling and batch in self._stopped:
            cause = stopped_words(worker)
        settled = self._settle(batch, worker, claims, cause)
        self._tools.store.end_batch(self._mirror.epoch, batch)
        return LostBatch(batch, worker, cause, settled)

    def give_away(
        self, batch: str, worker: str, held: tuple[HeldTask, ...] | None, silent_seconds: float
    ) -> LostBatch:
        """From the batch of a frozen worker, give away tasks that may run twice or have not
        started. The worker keeps the rest.

        Args:
            batch: its id.
            worker: its name.
            held: what it kept at the last check; None if it was not frozen then.
            silent_seconds: how long the batch has been silent.
        """
        beats = self._mirror.beats
        mine = {name: claim for name, claim in self._mirror.claims.items() if claim.batch == batch}
        kept = [
            name
            for name, claim in mine.items()
            if claim.started and self._mirror.task_of(name).effects != "idempotent"
        ]
        given = {name: claim for name, claim in mine.items() if name not in kept}
        cause = frozen_words(worker, beats.get(batch))
        if not kept:
            return self.give_up(batch, worker, given, cause)._replace(frozen=True)
        settled = self._settle(batch, worker, given, cause)
        since = self._tools.server.now() - silent_seconds
        held = held or tuple(HeldTask(name, worker, since) for name in kept)
        return LostBatch(batch, worker, cause, settled, frozen=True, held=held)

    @property
    def _is_cancelling(self) -> bool:
        return self._mirror.status == RunStatus.CANCELLING

    def _settle(
        self, batch: str, worker: str, claims: Mapping[str, Claim], cause: str
    ) -> dict[str, str]:
        """End the claims of a batch; returns task -> status of its outcome."""
        store, epoch = self._tools.store, self._mirror.epoch
        settled = {}
        for name, claim in claims.items():
            if claim.batch == batch:
                lost = self._lost_finish(name, claim, worker, cause)
                if store.settle_claim(epoch, batch, lost) == Code.RECORDED:
                    settled[name] = lost.status if lost.kind == "final" else "waiting"
        return settled

    def _lost_finish(self, name: str, claim: Claim, worker: str, cause: str) -> Finish:
        beats, task = self._mirror.beats, self._mirror.task_of(name)
        started = claim.started > 0
        metrics = None
        if started:
            began = claim.started / 1000
            # Redis's clock may have been set back since the task began.
            ended = max(began, self._tools.server.now())
            metrics = Metrics(began, ended, ended - began)
        decision = decide_lost(
            task,
            Attempt(claim.attempt, claim.iteration, claim.base, claim.lost, started),
            worker=worker,
            cancelling=self._is_cancelling,
            metrics=metrics,
            roll=self._tools.chance.roll(),
            cause=cause,
            overdue=self._overdue.is_overdue(name, claim.batch, beats),
        )
        return to_finish(decision, task, claim.token, encode_result(decision.result))
