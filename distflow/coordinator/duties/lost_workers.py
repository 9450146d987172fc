"""Recovery: lost workers and lost queue entries are found here, and what they held goes on."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from distflow.coordinator.evidence import frozen_words, lost_words, stopped_words
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.claim import Code, Finish
from distflow.core.graph import Graph
from distflow.core.model import Metrics
from distflow.core.outcome import Attempt, decide_lost, to_finish
from distflow.core.readings import JobFailure
from distflow.core.run import Beat, Claim, HeldTask, Repair
from distflow.core.watch.liveness import LivenessMonitor
from distflow.core.watch.network import NetworkWatch
from distflow.core.watch.overdue import OverdueTasks
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore
from distflow.wire.codec import encode_result

#: Seconds that a write takes at least which Redis has refused at first: the first pause of a store
#: that is patient.
_PROMPT_SECONDS = 0.2

#: Writes in a row that may be late by refusals; where more are, Redis is slow, and nothing else.
_REFUSED_IN_A_ROW = 3


class LostBatch(NamedTuple):
    """A batch whose worker is lost or frozen: what was settled (task -> status of its outcome), and
    what the worker holds on to, since it may come back.
    """

    batch: str
    worker: str
    cause: str
    settled: dict[str, str]
    frozen: bool = False
    held: tuple[HeldTask, ...] = ()

    def to_repair(self) -> Repair:
        """What is told of it."""
        what = ", ".join(f"{task}: {status}" for task, status in self.settled.items())
        kind = "worker_frozen" if self.frozen else "worker_lost"
        note = f"{self.cause}; {what or 'it had claimed nothing'}"
        return Repair(kind, self.batch, self.worker, note)


def vanished_repair(batch: str, failure: JobFailure | None) -> Repair:
    """What is told of a batch that is sent again; ``failure`` is what a worker said of it."""
    if failure is None:
        note = f"batch {batch} had vanished from its queue: it is sent again"
        return Repair("entry_lost", batch, "", note)
    note = (
        f"{failure.words}: it could not begin batch {batch}, which is sent again later; "
        "install the same distflow where that worker runs, with RQ's default serializer or "
        "distflow_worker.SafeSerializer"
    )
    return Repair("entry_refused", batch, failure.by.name, note)


class ForgottenClaims:
    """Finds tasks that were claimed, have no claim any more, and of whose end no event tells: Redis
    came back with older data.

    Args:
        stale_seconds: how long one and the same claim must be missing. Between a claim's end and
            the read of its event there is always a moment.
    """

    def __init__(self, stale_seconds: float) -> None:
        self._stale_seconds = stale_seconds
        #: (task, when its claim was seen) -> since when it is missing.
        self._missing: dict[tuple[str, float], float] = {}

    def look(self, running: Mapping[str, float], claimed: Collection[str], now: float) -> bool:
        """Whether a claim has been missing for too long.

        Args:
            running: the tasks at work by what events told, with when their claim was seen.
            claimed: the tasks that have a claim.
            now: the clock of ``running``, in seconds.
        """
        missing = [claim for claim in running.items() if claim[0] not in claimed]
        self._missing = {claim: self._missing.get(claim, now) for claim in missing}
        return any(now - since > self._stale_seconds for since in self._missing.values())


class Recovery:
    """Watches the batches of one run for one coordinator.

    Args:
        store: the run.
        dispatcher: tells what is known of workers and queues.
        graph: the run's.
        epoch: the coordinator's.
        settings: how long to wait before what.
        monotonic: seconds on the coordinator's own clock.
        now: Unix seconds on Redis's clock.
        network: shared with the other runs of the coordinator.
    """

    def __init__(
        self,
        store: RunStore,
        dispatcher: Dispatcher,
        graph: Graph,
        epoch: int,
        *,
        settings: CoordinatorSettings,
        monotonic: Callable[[], float],
        now: Callable[[], float],
        network: NetworkWatch,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._graph = graph
        self._epoch = epoch
        self._settings = settings
        self._monotonic = monotonic
        self._now = now
        self._monitor = LivenessMonitor(
            store.run_id, settings.stale_seconds, settings.silent_seconds, network
        )
        self._seen_at = monotonic()
        #: Before that nobody is judged.
        self._judges_at = self._seen_at
        self.beats: Mapping[str, Beat] = {}
        #: As they were seen last.
        self.claims: Mapping[str, Claim] = {}
        #: Batches that a frozen worker holds on to -> the tasks that it may have begun.
        self._held: dict[str, tuple[HeldTask, ...]] = {}
        self._forgotten = ForgottenClaims(settings.stale_seconds)
        self._overdue = OverdueTasks(graph, settings.overdue_seconds)
        #: Batches that nobody began and no queue holds -> when that was seen first.
        self._missed: dict[str, float] = {}
        #: Batches whose process a worker was told to kill.
        self._stopped: set[str] = set()
        #: Writes by which suspicions were checked, and that took long.
        self._late_in_a_row = 0

    def find_lost(self, *, cancelling: bool) -> list[LostBatch]:
        """Look at every batch at work, and give up those whose worker is gone."""
        self.beats = self._store.read_beats()
        claims = self.claims = self._store.read_claims()
        now = self._monotonic()
        # This process was frozen, or Redis away: beats that were not seen are no evidence.
        if now - self._seen_at > self._settings.stale_seconds:
            self._monitor.forget()
        self._seen_at = now
        watched: dict[str, Beat | None] = dict(self.beats)
        for claim in claims.values():
            watched.setdefault(claim.batch, None)
        self._monitor.observe(watched, now)
        suspects = self._monitor.suspects(now)
        if suspects and now >= self._judges_at and not self._takes_writes():
            self._judges_at = self._monotonic() + self._settings.stale_seconds
            return []
        asked = self._monitor.unmeasured(now) | set(suspects.values())
        probes = self._dispatcher.probe_workers(asked) if asked else {}
        self._monitor.measure(probes, now)
        if now < self._judges_at:
            return []
        gone = [batch for batch in suspects if self._monitor.is_lost(batch, probes, now)]
        frozen = [batch for batch in suspects if self._monitor.is_frozen(batch, probes)]
        found = []
        still_held = {}
        for batch in self._confirm([*gone, *frozen]):
            worker = suspects[batch]
            if batch in gone:
                cause = lost_words(worker, self.beats.get(batch), probes.get(worker))
                found.append(self._give_up(batch, worker, claims, cause, cancelling=cancelling))
                continue
            lost = self._settle_frozen(batch, worker, claims, now, cancelling=cancelling)
            found.append(lost)
            if lost.held:
                still_held[batch] = lost.held
        self._held = still_held
        silent = suspects.keys() - {lost.batch for lost in found}
        overdue = self._overdue.look(self.beats, claims, silent, monotonic=now, now=self._now())
        for batch in overdue & self.beats.keys():
            self._stop(batch)
        return found

    def _confirm(self, judged: Sequence[str]) -> list[str]:
        """Those of the batches that are silent still, after all that was asked about them."""
        if not judged:
            return []
        beats = self._store.read_beats()
        return [
            batch for batch in dict.fromkeys(judged) if beats.get(batch) == self.beats.get(batch)
        ]

    def _takes_writes(self) -> bool:
        """Whether Redis takes at once something that writes. One that was paused for that alone, or
        that refused it, has answered who reads, and shows old beats: workers must have the time to
        be heard again.
        """
        began = self._monotonic()
        self._store.trim_events(self._epoch, "0-0")
        is_late = self._monotonic() - began >= _PROMPT_SECONDS
        self._late_in_a_row = self._late_in_a_row + 1 if is_late else 0
        return not 1 <= self._late_in_a_row <= _REFUSED_IN_A_ROW

    @property
    def at_work(self) -> dict[str, Claim]:
        """The tasks that batches said they are in, with their claims."""
        found = {}
        for batch, beat in self.beats.items():
            claim = self.claims.get(beat.task)
            if claim and claim.batch == batch:
                found[beat.task] = claim
        return found

    @property
    def held(self) -> tuple[HeldTask, ...]:
        """The tasks that frozen workers hold on to."""
        return tuple(task for held in self._held.values() for task in held)

    def hold_off(self) -> None:
        """Another server answers: until its workers have found it, it knows none of them."""
        self._monitor.forget()
        self._judges_at = self._monotonic() + self._settings.network_seconds

    def rest(self) -> None:
        """Nothing of the run is at work."""
        self._seen_at = self._monotonic()
        self._monitor.rest(self._seen_at)

    def distrust(self) -> None:
        """Redis's clock was set: see :meth:`LivenessMonitor.distrust`."""
        self._monitor.distrust()

    def close(self) -> None:
        """The run is watched no more."""
        self._monitor.forget()

    def has_forgotten(self, running: Mapping[str, float]) -> bool:
        """Whether Redis has lost claims that were seen: see :class:`ForgottenClaims`."""
        return self._forgotten.look(running, self.claims, self._monotonic())

    def find_vanished(self, unbegun: Mapping[str, str]) -> dict[str, JobFailure | None]:
        """Of batches that nobody began (id -> queue), those that are in no queue either, with what
        a worker said that could not begin it. Where none said anything, two looks must have missed
        it: a worker that has just taken one begins it in a moment.
        """
        if not unbegun:
            return {}
        queued = self._dispatcher.find_queued(self._store.run_id, set(unbegun.values()))
        # Read after the queues: a batch that was popped meanwhile has begun by now, or is lost.
        begun = self._store.read_beats()
        gone = [batch for batch in unbegun if batch not in queued and batch not in begun]
        if gone and not self._takes_writes():
            self._missed.clear()
            return {}
        failures = self._dispatcher.read_failures(gone)
        now = self._monotonic()
        self._missed = {batch: self._missed.get(batch, now) for batch in gone}
        return {
            batch: failures.get(batch)
            for batch in gone
            if batch in failures or self._missed[batch] < now
        }

    def stop_running(self) -> None:
        """Kill the process groups that still work on the run."""
        for batch in self.beats:
            self._stop(batch)

    def _stop(self, batch: str) -> None:
        beat = self.beats[batch]
        self._stopped.add(batch)
        self._dispatcher.stop_job(beat.job, beat.worker)

    def _settle_frozen(
        self,
        batch: str,
        worker: str,
        claims: Mapping[str, Claim],
        now: float,
        *,
        cancelling: bool,
    ) -> LostBatch:
        """Give away what may run twice, or has not started; the worker holds on to the rest."""
        mine = {name: claim for name, claim in claims.items() if claim.batch == batch}
        kept = [
            name
            for name, claim in mine.items()
            if claim.started and self._graph.tasks[self._graph.index[name]].effects != "idempotent"
        ]
        given = {name: claim for name, claim in mine.items() if name not in kept}
        cause = frozen_words(worker, self.beats.get(batch))
        if not kept:
            lost = self._give_up(batch, worker, given, cause, cancelling=cancelling)
            return lost._replace(frozen=True)
        settled = self._settle(batch, worker, given, cause, cancelling=cancelling)
        since = self._now() - (now - self._monitor.silent_since(batch))
        held = self._held.get(batch) or tuple(HeldTask(name, worker, since) for name in kept)
        return LostBatch(batch, worker, cause, settled, frozen=True, held=held)

    def _give_up(
        self, batch: str, worker: str, claims: Mapping[str, Claim], cause: str, *, cancelling: bool
    ) -> LostBatch:
        if cancelling and batch in self._stopped:
            cause = stopped_words(worker)
        settled = self._settle(batch, worker, claims, cause, cancelling=cancelling)
        self._store.end_batch(self._epoch, batch)
        return LostBatch(batch, worker, cause, settled)

    def _settle(
        self, batch: str, worker: str, claims: Mapping[str, Claim], cause: str, *, cancelling: bool
    ) -> dict[str, str]:
        """End the claims of a batch; returns task -> status of its outcome."""
        settled = {}
        for name, claim in claims.items():
            if claim.batch == batch:
                lost = self._lost_finish(name, claim, worker, cause, cancelling=cancelling)
                if self._store.settle_claim(self._epoch, batch, lost) == Code.RECORDED:
                    settled[name] = lost.status if lost.kind == "final" else "waiting"
        return settled

    def _lost_finish(
        self, name: str, claim: Claim, worker: str, cause: str, *, cancelling: bool
    ) -> Finish:
        task = self._graph.tasks[self._graph.index[name]]
        started = claim.started > 0
        metrics = None
        if started:
            began = claim.started / 1000
            # Redis's clock may have been set back since.
            ended = max(began, self._now())
            metrics = Metrics(began, ended, ended - began)
        decision = decide_lost(
            task,
            Attempt(claim.attempt, claim.iteration, claim.base, claim.lost, started),
            worker=worker,
            cancelling=cancelling,
            metrics=metrics,
            roll=random.random(),
            cause=cause,
            overdue=self._overdue.is_overdue(name, claim.batch, self.beats),
        )
        return to_finish(decision, task, claim.token, encode_result(decision.result))
