"""CoordinatorService: leads all runs that nobody else leads, from one loop.

Several may run at once: the lease of a run says which of them leads it, and the others take over
the runs of one that died.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from distflow.chance import SYSTEM_CHANCE, Chance
from distflow.clock import SYSTEM_CLOCK, Clock
from distflow.coordinator.executor import PACE_SECONDS, WorkflowExecutor
from distflow.coordinator.fleet import Fleet, Shared
from distflow.coordinator.leases import LeaseKeeper, new_owner
from distflow.coordinator.sending import send_batches
from distflow.coordinator.server_clock import ServerClock
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.batches import Batch
from distflow.core.readings import UnledRun
from distflow.core.run import Event
from distflow.core.status import ACTIVE_RUNS, RunStatus
from distflow.errors import (
    DamagedRun,
    DistflowError,
    LeaseHeld,
    RedisUnavailable,
    RunGone,
    RunNotFound,
    StaleEpoch,
)
from distflow.events.notice import Listener
from distflow.logs import get_logger
from distflow.ports.backend import Backend
from distflow.text import counted

_log = get_logger("distflow.coordinator")

#: Seconds between two checks whether leases of others end in time.
_SHORTEN_SECONDS = 30.0

#: Seconds between two searches for runs that nobody leads.
_DISCOVER_SECONDS = 1.0

#: The longest wait for events, in seconds: a signal to stop is noticed this late at worst.
_LONGEST_WAIT_SECONDS = 1.0

#: Seconds until a run that could not be led is tried again: its bytes are damaged, say.
_REST_SECONDS = 60.0

#: Seconds for taking on new runs before the loop returns to the runs that it leads.
_ADOPT_SECONDS = 0.005

#: Seconds between two reads of the events of idle runs while other runs are busy.
_QUIET_SECONDS = 0.1

#: An announcement lasts this many times the interval between two.
_ANNOUNCED_INTERVALS = 5


@dataclass(slots=True)
class ServiceCounts:
    """What a service has done since it started."""

    adopted: int = 0
    ended: int = 0
    #: Runs that another coordinator has taken over.
    lost: int = 0
    failed: int = 0


class CoordinatorService:
    """Leads many runs from one thread.

    Args:
        backend: where the runs live.
        stop: when it is set, the service hands its runs over and ends.
        settings: intervals and patience.
        listener: called with everything that happens; it must not raise.
        report: called with one line about what the service itself does.
        clock: for measuring and waiting.
        chance: the source of randomness.
    """

    def __init__(
        self,
        backend: Backend,
        stop: threading.Event,
        *,
        settings: CoordinatorSettings | None = None,
        listener: Listener | None = None,
        report: Callable[[str], object] = _log.info,
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance = SYSTEM_CHANCE,
    ) -> None:
        self._backend = backend
        self._service = backend.service
        #: For calls that are tried only once.
        self._impatient = backend.with_patience(0.0).service
        self._stop = stop
        self._settings = settings or CoordinatorSettings()
        self._listener = listener
        self._report = report
        self._clock = clock
        self.owner = new_owner(chance)
        self.counts = ServiceCounts()
        #: The runs that are led, by id.
        self.led: dict[str, WorkflowExecutor] = {}
        #: For each of them: the last applied event, and when it is due even without another.
        self._after: dict[str, str] = {}
        self._wake_at: dict[str, float] = {}
        self._keeper = LeaseKeeper(
            self._impatient.renew_leases, self.owner, self._settings.lease_seconds, clock
        )
        self._shared = Shared(
            self.owner,
            Fleet(backend.dispatcher, self._settings.network_seconds),
            ServerClock(backend.store("-"), clock, self._settings.watch_seconds),
            self._keeper,
            clock,
            chance,
        )
        #: Run id -> when it may be tried again, on the monotonic clock.
        self._resting: dict[str, float] = {}
        self._discover_at = self._shorten_at = 0.0
        #: Runs that nobody led at the last search, and their statuses.
        self._unled: deque[tuple[str, RunStatus]] = deque()
        #: The busy runs; the events of the others are read less often.
        self._at_work: set[str] = set()
        self._read_all_at = 0.0
        #: Runs that were led when Redis went away, with how often it had restarted by then.
        self._left: dict[str, int] = {}
        #: Runs that have something to send, the next one first.
        self._turns: dict[str, WorkflowExecutor] = {}

    def run(self) -> None:
        """Lead runs until ``stop`` is set; then another coordinator can take them at once."""
        try:
            while not self._stop.is_set():
                try:
                    self.turn()
                except RedisUnavailable as error:
                    self._report(f"{error}: waiting for it")
                    # Redis may come back with other data: read everything again.
                    self._forget_all()
                    self._clock.wait(self._stop, _DISCOVER_SECONDS)
        finally:
            self._hand_over()

    # The loop

    def turn(self) -> None:
        """One turn of the loop: wait for events, or until something is due.

        Raises:
            RedisUnavailable: the runs that are led must be read again.
        """
        self._shared.look()
        if self._clock.monotonic() >= self._discover_at:
            self._discover()
        if self._adopt_some():
            self._send()
        found = self._read_undamaged()
        now = self._clock.monotonic()
        due = [run_id for run_id, at in self._wake_at.items() if at <= now]
        for run_id in dict.fromkeys([*found, *due, *self._keeper.lost_runs()]):
            executor = self.led.get(run_id)
            if executor is not None:
                self._guard(executor, partial(self._advance, executor, found.get(run_id, ())))
        if not self._send() and any(self.led[run].is_busy for run in found if run in self.led):
            # Many short tasks are running: their events are read together.
            self._clock.sleep(PACE_SECONDS)

    def _read_undamaged(self) -> dict[str, list[Event]]:
        """The events of all runs; a run with damaged events is set aside."""
        try:
            return self._read()
        except DamagedRun as error:
            executor = self.led.get(error.run_id)
            if executor is None:
                raise
            self._leave_aside(executor, error)
            return {}

    def _read(self) -> dict[str, list[Event]]:
        """The events of all runs; waits for one, or until something is due."""
        wait, after = self._wait_seconds(), self._after
        left = self._read_all_at - self._clock.monotonic()
        if self._at_work and left > 0:
            wait = min(wait, left)
            after = {run_id: self._after[run_id] for run_id in self._at_work}
        else:
            self._read_all_at = self._clock.monotonic() + _QUIET_SECONDS
        if after:
            return self._service.read_events(after, block_ms=max(1, int(wait * 1000)))
        self._clock.wait(self._stop, wait)
        return {}

    def _wait_seconds(self) -> float:
        """How long until something is due."""
        if self._unled:
            return 0.0
        first = min(self._wake_at.values(), default=self._discover_at)
        left = min(first, self._discover_at) - self._clock.monotonic()
        return max(0.0, min(_LONGEST_WAIT_SECONDS, left))

    def _advance(self, executor: WorkflowExecutor, events: Sequence[Event]) -> None:
        ended = executor.step(events)
        if ended is None:
            self._note(executor)
            return
        self._drop(executor)
        executor.end()
        self.counts.ended += 1
        self._report(f"run {executor.run_id} is {ended}")

    def _note(self, executor: WorkflowExecutor) -> None:
        self._after[executor.run_id] = executor.last_event
        self._wake_at[executor.run_id] = executor.wake_at
        (self._at_work.add if executor.at_work else self._at_work.discard)(executor.run_id)
        if executor.hungry:
            self._turns.setdefault(executor.run_id, executor)
        else:
            self._turns.pop(executor.run_id, None)

    def _send(self) -> bool:
        """Send ready tasks, one batch per run and queue in turn, so that no run starves another.
        Returns whether anything was sent.
        """
        batches: list[Batch] = []
        waiting = deque(self._turns.items())
        while waiting and self._shared.fleet.has_room():
            run_id, executor = waiting.popleft()
            taken = executor.take_batches(limit=1)
            batches += taken
            if taken:
                # Next time it comes after the runs that had to wait.
                del self._turns[run_id]
            self._note(executor)
            if taken and run_id in self._turns:
                waiting.append((run_id, executor))
        if batches:
            send_batches(self._backend.dispatcher, batches, self._keep)
        return bool(batches)

    def _keep(self, batch: Batch) -> None:
        executor = self.led[batch.run_id]
        executor.keep(batch)
        self._note(executor)

    # Runs come and go

    def _discover(self) -> None:
        """Look for runs that nobody leads."""
        now = self._clock.monotonic()
        self._discover_at = now + _DISCOVER_SECONDS
        self._service.announce(self.owner, _DISCOVER_SECONDS * _ANNOUNCED_INTERVALS)
        active = self._service.list_active()
        self._tell_forgotten(active)
        self._resting = {run: at for run, at in self._resting.items() if run in active and at > now}
        others = sorted(active - self.led.keys() - self._resting.keys())
        if now >= self._shorten_at:
            self._shorten_at = now + _SHORTEN_SECONDS
            self._service.shorten_leases(others)
        unled = self._service.find_unled(others)
        self._unled = deque(
            (run_id, run.status) for run_id, run in unled.items() if self._is_fit(run)
        )

    def _adopt_some(self) -> bool:
        """Take on more runs, but only for a moment: the runs that are led already must not wait for
        long. Returns whether there were any.
        """
        until = self._clock.monotonic() + _ADOPT_SECONDS
        adopted = False
        while self._unled and not self._stop.is_set() and self._clock.monotonic() < until:
            self._adopt(*self._unled.popleft())
            adopted = True
        return adopted

    def _is_fit(self, run: UnledRun) -> bool:
        # A process that submits a run without detaching it will lead it in a moment. A run made "in
        # the future" dates from before Redis's clock was set back.
        is_new = 0 <= run.age_seconds <= self._settings.lease_seconds
        settled = run.detached or run.led_before or not is_new
        return run.status in ACTIVE_RUNS and settled

    def _adopt(self, run_id: str, status: RunStatus) -> None:
        executor = WorkflowExecutor(
            self._backend.store(run_id),
            self._backend.dispatcher,
            settings=self._settings,
            listener=self._listener,
            shared=self._shared,
        )

        def begin() -> None:
            executor.begin()
            self.led[run_id] = executor
            self.counts.adopted += 1
            self._report(f"leading run {run_id}, which was {status}")
            self._advance(executor, ())

        self._guard(executor, begin)

    def _guard(self, executor: WorkflowExecutor, call: Callable[[], None]) -> None:
        """Keep the failure of one run away from the others."""
        try:
            call()
        except RedisUnavailable:
            raise
        except LeaseHeld:
            # Another coordinator was faster.
            self._drop(executor)
        except (StaleEpoch, RunGone) as error:
            self._drop(executor)
            executor.abandon()
            self.counts.lost += 1
            self._report(str(error))
        except Exception as error:  # noqa: BLE001 - damaged bytes may raise anything
            self._leave_aside(executor, error)

    def _leave_aside(self, executor: WorkflowExecutor, error: Exception) -> None:
        """Set aside a run that cannot be led, and try it again later; the others continue."""
        self._drop(executor)
        executor.end()
        self._resting[executor.run_id] = self._clock.monotonic() + _REST_SECONDS
        self.counts.failed += 1
        known = isinstance(error, DistflowError)
        _log.log(
            logging.WARNING if known else logging.ERROR,
            "run %s is set aside, trying again in %d s: %s",
            executor.run_id,
            _REST_SECONDS,
            error,
            exc_info=None if known else error,
        )

    def _drop(self, executor: WorkflowExecutor) -> None:
        self._at_work.discard(executor.run_id)
        for known in (self.led, self._after, self._wake_at, self._turns):
            known.pop(executor.run_id, None)

    def _forget_all(self) -> None:
        for executor in list(self.led.values()):
            self._left[executor.run_id] = self._shared.server.restarts
            self._drop(executor)
            executor.abandon()
        self._unled.clear()
        self._discover_at = 0.0

    def _tell_forgotten(self, active: set[str]) -> None:
        """Report the runs that Redis had before it went away and no longer has."""
        left, self._left = self._left, {}
        for run_id in left.keys() - active:
            store = self._backend.store(run_id)
            try:
                store.read_status()
            except RunNotFound:
                self._report(str(self._shared.server.explain_gone(store, left[run_id])))

    def _hand_over(self) -> None:
        """Release every lease, so that the runs need not wait until they lapse."""
        self._keeper.close()
        epochs = {run_id: executor.epoch for run_id, executor in self.led.items()}
        try:
            self._impatient.release_leases(self.owner, epochs)
            self._impatient.withdraw_announcement(self.owner)
        except DistflowError as error:
            # The leases lapse by themselves.
            _log.warning("the leases of %s were not released: %s", self.owner, error)
        if epochs:
            self._report(f"{counted(len(epochs), 'run')} handed over to the next coordinator")
