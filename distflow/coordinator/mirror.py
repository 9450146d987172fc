"""RunMirror: a run as its coordinator sees it, read once and then kept up to date by events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from distflow.coordinator.missing import Known
from distflow.coordinator.open_batches import OpenBatches
from distflow.coordinator.own_times import find_deadline, place_waits
from distflow.coordinator.standing import read_standing
from distflow.coordinator.tools import Tools
from distflow.core.graph import Graph
from distflow.core.model import MAX_LOST, TaskResult
from distflow.core.outcome import left_of_wait_ms
from distflow.core.readings import RunReading
from distflow.core.resolution import Resolution
from distflow.core.run import Beat, Claim, Event, RefusalKey, event_ms
from distflow.core.state import TaskStateManager
from distflow.core.status import FINAL, RunStatus, TaskStatus
from distflow.errors import StaleEpoch, WrongState
from distflow.logs import get_logger
from distflow.wire.codec import encode_result

_log = get_logger("distflow.coordinator")

#: Looked up once per task: an enumeration takes longer to be asked.
_STATUSES = {status.value: status for status in TaskStatus}


class RunMirror:
    """The tasks of a run that this coordinator leads.

    Args:
        tools: the run's store, and what the coordinator works with.
        epoch: the coordinator's.
        graph: the run's.
        reading: where it stands. What happened since is told by events.
    """

    def __init__(self, tools: Tools, epoch: int, graph: Graph, reading: RunReading) -> None:
        self._tools = tools
        self._store = tools.store
        self._announcer = tools.announcer
        self._estimates = tools.fleet.estimates
        self._clock = tools.clock
        self.epoch = epoch
        self.graph = graph
        #: Tasks with which a batch began, by index, with when they were claimed: Unix ms.
        self._claimed_ms: dict[int, int] = {}
        #: Whether it is noted which tasks were run by which workers, and those.
        self.notes_who_runs = False
        self._ran: list[tuple[int, str]] = []
        #: The beats of its batches and the claims of its tasks, as they were read last.
        self.beats: Mapping[str, Beat] = {}
        self.claims: Mapping[str, Claim] = {}
        #: Claims that were read before Redis was last seen to be the same process.
        self.confirmed_claims: Mapping[str, Claim] = {}
        #: How often Redis had restarted when what is known was last compared with what it has.
        self.restarts = tools.server.restarts
        #: When nothing of the run was at work last, on the monotonic clock.
        self.rested_at = float("-inf")
        # From here on: what is read again where events do not tell, see :meth:`read_again`.
        self._check(reading)
        #: Id of the newest event that was applied.
        self.last_event = reading.last_event
        self.info = reading.info
        self.status = reading.info.status
        #: How often Redis's clock had been set when times were last placed on this host's.
        self.clock_sets = tools.server.sets
        #: When it times out, on the monotonic clock; None for never.
        self.deadline = self._find_deadline()
        self.state = self._restore(reading)
        #: Tasks at work by name, with the monotonic time at which they were seen to begin.
        self.running = dict.fromkeys(reading.claims, self._clock.monotonic())
        self._announcer.begin(_started(reading))
        #: Whether workers have refused something since that was looked at last: a predecessor may
        #: have seen some, so that who follows another asks once.
        self.was_refused = not self.info.is_first_led
        self.outbox = self._make_outbox(0)
        # Whatever was left there by a predecessor would be refused or run twice for nothing.
        if not self.info.is_first_led:
            self.withdraw()

    def read_again(self, reading: RunReading | None = None) -> None:
        """Read where every task stands, unless that is known. The stream's last id comes first:
        what happens while the hashes are read is seen twice rather than not at all.
        """
        reading = reading or read_standing(self._store, self.graph)
        self._check(reading)
        self.last_event = reading.last_event
        self.info = reading.info
        self.status = reading.info.status
        self.clock_sets = self._tools.server.sets
        self.deadline = self._find_deadline()
        self.state = self._restore(reading)
        self.running = dict.fromkeys(reading.claims, self._clock.monotonic())
        self._announcer.begin(_started(reading))
        self.was_refused = not self.info.is_first_led
        self.outbox.close()
        self._claimed_ms.clear()
        self.outbox = self._make_outbox(self.outbox.number)
        # What was sent would be refused or run twice for nothing.
        if self.outbox.number or not self.info.is_first_led:
            self.withdraw()

    def _check(self, reading: RunReading) -> None:
        if reading.info.epoch > self.epoch:
            # Another leads it, or a decision wants it read by who knows nothing of it yet.
            raise StaleEpoch(f"run {self._store.run_id}: it is to be taken over")

    def _find_deadline(self) -> float | None:
        own = self._clock.monotonic()
        return find_deadline(self.info, now=self._tools.server.now(), own=own)

    def _restore(self, reading: RunReading) -> TaskStateManager:
        """Where the tasks stand; waits that Redis has wrong are moved there."""
        graph = self.graph
        outcomes = {
            task.name: status
            for task, status in zip(graph.tasks, reading.statuses, strict=True)
            if status is not None
        }
        placed = place_waits(
            graph,
            reading.progress,
            now_ms=self._tools.server.now_ms(),
            told_ms=event_ms(reading.last_event),
            own_ms=self.own_ms(),
        )
        state = TaskStateManager(graph, outcomes, reading.claims, placed.progress, self.own_ms())
        if placed.misplaced:
            self._store.set_times(self.epoch, placed.misplaced)
        return state

    def _make_outbox(self, number: int) -> OpenBatches:
        return OpenBatches(
            self._tools.fleet, self.info, self.epoch, self.graph, self.state, number=number
        )

    def own_ms(self) -> int:
        """Milliseconds on this host's monotonic clock: lengths are measured by it, since Redis's
        clock may be set.
        """
        return int(self._clock.monotonic() * 1000)

    @property
    def known(self) -> Known:
        """What is known of the run now, to be compared with what is read of it later."""
        return Known(self.state.statuses, self.confirmed_claims, self.status, self.last_event)

    @property
    def is_at_work(self) -> bool:
        """Whether tasks are on their way or at work, or hooks are asked."""
        # What is told by events comes first: this is asked several times at each turn of the loop.
        state = self.state
        busy = self.running or state.in_flight or state.questions
        return bool(busy) or self.outbox.has_refused

    @property
    def is_at_rest(self) -> bool:
        """Whether it runs, and nothing of it is at work: it need not be looked at often."""
        return self.status == RunStatus.RUNNING and not self.is_at_work

    def close(self) -> None:
        """Forget what is out."""
        self.outbox.close()

    def withdraw(self) -> None:
        """Take the run's waiting jobs off the queues."""
        self._tools.dispatcher.withdraw(self._store.run_id, self.outbox.queues)

    def settle_unheld(
        self,
        kind: str,
        outcomes: Sequence[tuple[int, TaskResult]],
        forgotten: Sequence[RefusalKey] = (),
    ) -> list[int]:
        """Give tasks that nobody holds an outcome, and tell of it by an event of this kind, if one
        is given. Returns those that have it now, unless some had moved on: then all is read again.
        """
        # What was tried before counts on: a resume must not number its attempts from 1 again.
        tried: dict[str, int] = {}
        if outcomes:
            found = self._store.read_progress()
            tried = {name: known.attempt - 1 for name, known in found.items()}
        named = [(self.graph.tasks[index].name, result) for index, result in outcomes]
        left = self._store.settle_unheld(
            self.epoch,
            [
                (name, encode_result(replace(result, attempt=tried.get(name, 0))))
                for name, result in named
            ],
            forgotten=forgotten,
        )
        for name, result in named:
            if kind and name not in left:
                self._announcer.tell(kind, name, status=result.status, message=result.message or "")
        if left:
            # The store knows better: whatever it has there counts, and is read again.
            _log.warning(
                "run %s: read again, since %d tasks had moved on", self._store.run_id, len(left)
            )
            self.read_again()
            return []
        return [index for index, _result in outcomes]

    def write_skips(self) -> None:
        """Give tasks their outcome that do not run, since what they rest on ended badly."""
        skips = self.state.take_skips()
        if skips:
            outcomes = [
                (skip.task, TaskResult(TaskStatus.SKIPPED, message=skip.message)) for skip in skips
            ]
            self.settle_unheld("task_skipped", outcomes)

    def settle_failed(
        self, outcomes: Sequence[tuple[int, TaskResult]], forgotten: Sequence[RefusalKey]
    ) -> None:
        """Let tasks fail that no worker can run, and forget what was said of that."""
        settled = self.settle_unheld("", outcomes, forgotten)
        for index in settled:
            name = self.graph.tasks[index].name
            told = Event("", "finished", name, TaskStatus.FAILURE.value)
            before = self.state.statuses[index]
            self.state.on_finished(index, TaskStatus.FAILURE)
            self._announcer.tell_event(told, self.graph.tasks[index], before)

    def take_back(
        self,
        batch_id: str,
        *,
        failed: bool = False,
        vanished: bool = False,
        unasked: bool = False,
    ) -> None:
        """A batch is gone: see :meth:`OpenBatches.take_back`. Tells of hooks that never answer."""
        self.was_refused |= self.outbox.take_back(
            batch_id,
            self._clock.monotonic(),
            failed=failed,
            vanished=vanished,
            unasked=unasked,
        )
        for index in self.state.questions.take_unanswered():
            words = f"asked {MAX_LOST + 1} times and lost its worker each time"
            self.tell_unanswered(index, f"its verify hook was {words}")

    def tell_unanswered(self, index: int, note: str) -> None:
        """The verify hook of a task is asked no more: a person decides."""
        name = self.graph.tasks[index].name
        packed = self._store.read_results([name])[0]
        # Where it was decided at this very moment, the event says so.
        with suppress(WrongState):
            asked = Resolution(name, b"", packed or b"")
            token = self._tools.chance.new_token()
            self._store.resolve_task(token, "undecided", asked, "its coordinator", note)

    @property
    def has_run(self) -> bool:
        """Whether :meth:`take_ran` has something."""
        return bool(self._ran)

    def take_ran(self) -> Sequence[tuple[int, str]]:
        """Which tasks were run by which workers since the last call, if that is noted."""
        ran, self._ran = self._ran, []
        return ran

    # Events

    def catch_up(self) -> None:
        """Apply the events that there are."""
        self.apply(self._store.read_events(self.last_event))

    def apply(self, events: Sequence[Event]) -> None:
        """Events happened, in this order; to apply one twice changes nothing."""
        now = self._clock.monotonic()
        for event in events:
            self.last_event = event.id
            index = self.graph.index.get(event.task)
            if event.kind == "batch_ended":
                self.take_back(event.batch, unasked=bool(event.unstarted))
            elif event.kind == "moved":
                self.status = RunStatus(event.status)
            elif index is not None:
                self._apply_to_task(event, index, now)
        if not self.is_at_work:
            self.rested_at = now

    def note_at_work(self, claims: Mapping[str, Claim]) -> None:
        """Batches said what they are in: no event tells of a task that was claimed in a group."""
        for name, claim in claims.items():
            index = self.graph.index[name]
            if self.state.statuses[index] == TaskStatus.QUEUED:
                told = Event(
                    self.last_event, "claimed", name, attempt=claim.attempt, batch=claim.batch
                )
                self._apply_to_task(told, index, self._clock.monotonic())

    def _apply_to_task(self, event: Event, index: int, now: float) -> None:
        """``now`` is on the monotonic clock, in seconds."""
        name, before = event.task, self.state.statuses[index]
        is_first = self.outbox.note_told(index, now, event.batch)
        if event.kind == "claimed":
            if is_first:
                self._claimed_ms[index] = event_ms(event.id)
            self.state.on_claimed(index)
            self.running[name] = now
        elif event.kind == "finished":
            self.running.pop(name, None)
            self.state.on_finished(index, _STATUSES[event.status])
            self._learn(event, index)
            if self.notes_who_runs:
                self._ran.append((index, event.worker))
        elif event.kind == "waiting":
            self.running.pop(name, None)
            self._claimed_ms.pop(index, None)
            told_ms, now_ms = event_ms(event.id), self._tools.server.now_ms()
            left_ms = left_of_wait_ms(event.not_before, now_ms, told_ms)
            own_ms = self.own_ms()
            self.state.on_waiting(index, own_ms + left_ms, own_ms)
        elif event.kind == "released":
            self.running.pop(name, None)
            self.state.on_released(index)
            # A note says what its worker lacks.
            self.was_refused |= bool(event.note)
        elif event.kind == "resolved":
            self._apply_decision(index, TaskStatus(event.status))
        self._announcer.tell_event(event, self.graph.tasks[index], before)

    def _apply_decision(self, index: int, status: TaskStatus) -> None:
        known = self.state.statuses[index]
        if known in FINAL and known != status:
            # What was skipped because of it is evaluated again: where all that stands is read.
            self.read_again()
        else:
            self.state.on_resolved(index, status)

    def _learn(self, event: Event, index: int) -> None:
        """How long a task took, and what its batch paid before it was called."""
        claimed_ms = self._claimed_ms.pop(index, None)
        if not event.duration:
            return
        estimates, function = self._estimates, self.graph.tasks[index].function
        estimates.learn(function, event.duration)
        if claimed_ms is not None:
            took_ms = event_ms(event.id) - claimed_ms
            estimates.learn_setup(function, took_ms - event.duration * 1000)


def _started(reading: RunReading) -> set[str]:
    """The tasks whose function was called before that was read."""
    return {name for name, claim in reading.claims.items() if claim.started}
