"""LostWorkerDuty: finds lost and frozen workers, and lets others do what they held."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.coordinator.duties.duty import NEVER, Duty
from distflow.coordinator.evidence import LostBatch, lost_words
from distflow.coordinator.lost_claims import LostClaims
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.rereading import read_again, record_repair
from distflow.coordinator.tools import Tools
from distflow.coordinator.write_probe import WriteProbe
from distflow.core.run import Beat, Claim, HeldTask
from distflow.core.watch.forgotten import ForgottenClaims
from distflow.core.watch.liveness import LivenessMonitor
from distflow.core.watch.overdue import OverdueTasks


class LostWorkerDuty(Duty):
    """Watches the running batches of one run.

    Args:
        mirror: the run.
        tools: its store, and what is known about workers.
        probe: asked before a worker is judged by its silence.
    """

    def __init__(self, mirror: RunMirror, tools: Tools, probe: WriteProbe) -> None:
        self._mirror = mirror
        self._tools = tools
        self._probe = probe
        self._watch_seconds = tools.settings.watch_seconds
        settings, run_id = tools.settings, tools.store.run_id
        self._monitor = LivenessMonitor(
            run_id, settings.stale_seconds, settings.silent_seconds, tools.fleet.network
        )
        self._forgotten = ForgottenClaims(settings.stale_seconds)
        self._overdue = OverdueTasks(mirror.find_timeout, settings.overdue_seconds)
        self._claims = LostClaims(mirror, tools, self._overdue)
        self._restarts, self._clock_sets = tools.server.restarts, tools.server.sets
        #: When beats were last read, before when no worker is judged, and when all were last
        #: checked.
        self._seen_at = self._judges_at = self._looked_at = tools.clock.monotonic()
        #: Batches that a frozen worker holds on to -> the tasks that it may have begun.
        self._held: dict[str, tuple[HeldTask, ...]] = {}
        #: What was last reported about them; None before, since a predecessor may have reported
        #: some.
        self._told: tuple[HeldTask, ...] | None = None

    def due(self, now: float) -> float:
        """``watch_seconds`` after the last check while tasks are running; at once after an event
        that changes how beats are judged.
        """
        mirror, server = self._mirror, self._tools.server
        at_work = mirror.is_at_work
        if (
            self._restarts != server.restarts
            or self._clock_sets != server.sets
            or self._can_confirm
            or (not at_work and (self._monitor.is_watching or self._told))
        ):
            return now
        return self._looked_at + self._watch_seconds if at_work else NEVER

    def act(self, now: float) -> None:
        """Check every running batch, and give up those whose worker is gone."""
        mirror, server, settings = self._mirror, self._tools.server, self._tools.settings
        if self._restarts != server.restarts:
            self._restarts = server.restarts
            # Another server answers: it knows no worker until they have reconnected.
            self._monitor.forget()
            self._judges_at = now + settings.network_seconds
            return
        if self._clock_sets != server.sets:
            self._clock_sets = server.sets
            self._monitor.distrust()
        if self._can_confirm:
            mirror.confirmed_claims = mirror.claims
        if not mirror.is_at_work:
            self._rest(now)
            if self._told:
                self._tell_held(())
        elif now >= self._looked_at + settings.watch_seconds:
            self._looked_at = now
            self._look()

    def stop_running(self) -> None:
        """Kill the process groups that still work on the run."""
        for batch in self._mirror.beats:
            self._claims.stop(batch)

    def close(self) -> None:
        """Forget this run's silent batches: they are no evidence about the network."""
        self._monitor.forget()

    # How

    @property
    def _can_confirm(self) -> bool:
        """Whether Redis was seen to be the same process after the claims were read."""
        mirror = self._mirror
        is_newer = self._tools.server.looked_at > self._looked_at
        return is_newer and mirror.confirmed_claims is not mirror.claims

    def _rest(self, now: float) -> None:
        """Nothing of the run is at work."""
        self._seen_at = now
        self._monitor.rest(now)

    def _look(self) -> None:
        mirror, tools = self._mirror, self._tools
        gone = self._find_lost()
        mirror.outbox.note_begun(mirror.beats)
        mirror.note_at_work(self._at_work())
        for lost in gone:
            self._take_back(lost)
        self._tell_held(tuple(task for held in self._held.values() for task in held))
        now = tools.clock.monotonic()
        # While events wait for a large expansion, they may report the end of any claim.
        running = {} if mirror.is_growing else mirror.running
        if self._forgotten.look(running, mirror.claims, now):
            read_again(
                mirror,
                tools,
                "events_lost",
                "claims disappeared, and no event says how their tasks ended",
            )

    def _find_lost(self) -> list[LostBatch]:
        mirror, tools, monitor = self._mirror, self._tools, self._monitor
        if mirror.rested_at >= self._seen_at:
            self._rest(mirror.rested_at)
        beats = mirror.beats = tools.store.read_beats()
        claims = mirror.claims = tools.store.read_claims()
        now = tools.clock.monotonic()
        # This process was frozen, or Redis was away: beats that nobody could see prove nothing.
        if now - self._seen_at > tools.settings.stale_seconds:
            monitor.forget()
        self._seen_at = now
        watched: dict[str, Beat | None] = dict(beats)
        for claim in claims.values():
            watched.setdefault(claim.batch, None)
        monitor.observe(watched, now)
        suspects = monitor.suspects(now)
        if suspects and now >= self._judges_at and not self._probe.takes_writes():
            self._judges_at = tools.clock.monotonic() + tools.settings.stale_seconds
            return []
        asked = monitor.unmeasured(now) | set(suspects.values())
        probes = tools.dispatcher.probe_workers(asked) if asked else {}
        monitor.measure(probes, now)
        if now < self._judges_at:
            return []
        gone = [batch for batch in suspects if monitor.is_lost(batch, probes, now)]
        frozen = [batch for batch in suspects if monitor.is_frozen(batch, probes)]
        found = []
        still_held = {}
        for batch in self._confirm([*gone, *frozen]):
            worker = suspects[batch]
            if batch in gone:
                cause = lost_words(worker, beats.get(batch), probes.get(worker))
                found.append(self._claims.give_up(batch, worker, claims, cause))
                continue
            silent_seconds = now - monitor.silent_since(batch)
            lost = self._claims.give_away(batch, worker, self._held.get(batch), silent_seconds)
            found.append(lost)
            if lost.held:
                still_held[batch] = lost.held
        self._held = still_held
        silent = suspects.keys() - {lost.batch for lost in found}
        unix = tools.server.now()
        overdue = self._overdue.look(beats, claims, silent, monotonic=now, now=unix)
        for batch in overdue & beats.keys():
            self._claims.stop(batch)
        return found

    def _confirm(self, judged: Sequence[str]) -> list[str]:
        """The batches that are still silent after all these queries."""
        if not judged:
            return []
        beats, before = self._tools.store.read_beats(), self._mirror.beats
        return [batch for batch in dict.fromkeys(judged) if beats.get(batch) == before.get(batch)]

    def _at_work(self) -> dict[str, Claim]:
        """The tasks that batches report as running, with their claims."""
        found = {}
        for batch, beat in self._mirror.beats.items():
            claim = self._mirror.claims.get(beat.task)
            if claim and claim.batch == batch:
                found[beat.task] = claim
        return found

    def _take_back(self, lost: LostBatch) -> None:
        mirror = self._mirror
        if lost.settled or not lost.held:
            record_repair(mirror, self._tools, lost.to_repair())
        # Other workers may run what a frozen worker has not begun.
        mirror.take_back(lost.batch)
        for task in lost.settled:
            mirror.note_lost(task)

    def _tell_held(self, held: tuple[HeldTask, ...]) -> None:
        if held == self._told:
            return
        self._tools.store.hold_tasks(self._mirror.epoch, held)
        told = self._told or ()
        for task, worker, _since in held:
            if task not in {other.task for other in told}:
                self._tools.announcer.tell(
                    "warning",
                    message=f"worker {worker} is frozen inside {task}, which may not run twice: "
                    "wake it or kill it",
                )
        self._told = held
