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

#: A dict, since calling the enumeration takes longer, and each task needs it.
_STATUSES = {status.value: status for status in TaskStatus}


class RunMirror:
    """The tasks of a run that this coordinator leads.

    Args:
        tools: the run's store, and what the coordinator works with.
        epoch: the coordinator's.
        graph: the run's.
        reading: the state of the run when it was read. Events report what happened since.
    """

    def __init__(self, tools: Tools, epoch: int, graph: Graph, reading: RunReading) -> None:
        self._tools = tools
        self._store = tools.store
        self._announcer = tools.announcer
        self._estimates = tools.fleet.estimates
        self._clock = tools.clock
        self.epoch = epoch
        self.graph = graph
        #: First tasks of their batches, by index, with the time of their claim in Unix ms.
        self._claimed_ms: dict[int, int] = {}
        #: Whether to note which worker ran which task; and what was noted.
        self.notes_who_runs = False
        self._ran: list[tuple[int, str]] = []
        #: The beats of its batches and the claims of its tasks, as last read.
        self.beats: Mapping[str, Beat] = {}
        self.claims: Mapping[str, Claim] = {}
        #: The claims that were read before Redis was last confirmed to be the same process.
        self.confirmed_claims: Mapping[str, Claim] = {}
        #: How often Redis had restarted when its data were last compared with this mirror.
        self.restarts = tools.server.restarts
        #: When the run last had nothing running, on the monotonic clock.
        self.rested_at = float("-inf")
        # From here on: what :meth:`read_again` replaces when events do not suffice.
        self._check(reading)
        #: Id of the last applied event.
        self.last_event = reading.last_event
        self.info = reading.info
        self.status = reading.info.status
        #: How often Redis's clock had been set when times were last converted to this host's clock.
        self.clock_sets = tools.server.sets
        #: When the run times out, on the monotonic clock; None for never.
        self.deadline = self._find_deadline()
        self.state = self._restore(reading)
        #: Running tasks by name, with the monotonic time at which they were seen to begin.
        self.running = dict.fromkeys(reading.claims, self._clock.monotonic())
        self._announcer.begin(_started(reading))
        #: Whether workers have refused something since refusals were last read. True at first if
        #: the run was led before: only the predecessor may know of some.
        self.was_refused = not self.info.is_first_led
        self.outbox = self._make_outbox(0)
        # Jobs that a predecessor queued would be refused, or run twice for nothing.
        if not self.info.is_first_led:
            self.withdraw()

    def read_again(self, reading: RunReading | None = None) -> None:
        """Read the state of every task, unless the caller has it. The stream's last id is read
        first: what happens while the hashes are read is then seen twice rather than not at all.
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
        # Jobs that are queued would be refused, or run twice for nothing.
        if self.outbox.number or not self.info.is_first_led:
            self.withdraw()

    def _check(self, reading: RunReading) -> None:
        if reading.info.epoch > self.epoch:
            # Another coordinator leads the run, or a decision raised the epoch to have it read from
            # scratch.
            raise StaleEpoch(f"run {self._store.run_id}: another coordinator must take it over")

    def _find_deadline(self) -> float | None:
        own = self._clock.monotonic()
        return find_deadline(self.info, now=self._tools.server.now(), own=own)

    def _restore(self, reading: RunReading) -> TaskStateManager:
        """Build the state of the tasks, and correct waits that are wrong in Redis."""
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
        """Milliseconds on this host's monotonic clock. Durations are measured by it, since Redis's
        clock may be set.
        """
        return int(self._clock.monotonic() * 1000)

    @property
    def known(self) -> Known:
        """What is known about the run now, to compare with what is read later."""
        return Known(self.state.statuses, self.confirmed_claims, self.status, self.last_event)

    @property
    def is_at_work(self) -> bool:
        """Whether tasks are queued or running, or hooks are being asked."""
        # What events report comes first: this is called several times at each turn of the loop.
        state = self.state
        busy = self.running or state.in_flight or state.questions
        return bool(busy) or self.outbox.has_refused

    @property
    def is_at_rest(self) -> bool:
        """Whether the run is running and none of its tasks are: it needs no frequent checks."""
        return self.status == RunStatus.RUNNING and not self.is_at_work

    def close(self) -> None:
        """Forget the batches that are out."""
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
        """Give an outcome to tasks that nobody holds, and announce it by an event of this kind, if
        one is given. Returns these tasks; or none, if some of them had moved on: then the run is
        read again.
        """
        # Keep the number of attempts so far: a resume must not count from 1 again.
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
            # The store is right: read what it has.
            _log.warning(
                "run %s: reading it again: %d tasks had moved on", self._store.run_id, len(left)
            )
            self.read_again()
            return []
        return [index for index, _result in outcomes]

    def write_skips(self) -> None:
        """Record as skipped the tasks that cannot run because a dependency ended badly."""
        skips = self.state.take_skips()
        if skips:
            outcomes = [
                (skip.task, TaskResult(TaskStatus.SKIPPED, message=skip.message)) for skip in skips
            ]
            self.settle_unheld("task_skipped", outcomes)

    def settle_failed(
        self, outcomes: Sequence[tuple[int, TaskResult]], forgotten: Sequence[RefusalKey]
    ) -> None:
        """Fail tasks that no worker can run, and forget the refusals that led to it."""
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
        """A batch has ended: see :meth:`OpenBatches.take_back`. Reports hooks that never answer."""
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
        """Give up on the verify hook of a task: a person decides."""
        name = self.graph.tasks[index].name
        packed = self._store.read_results([name])[0]
        # If it was decided in the same moment, an event will say so.
        with suppress(WrongState):
            asked = Resolution(name, b"", packed or b"")
            token = self._tools.chance.new_token()
            self._store.resolve_task(token, "undecided", asked, "its coordinator", note)

    @property
    def has_run(self) -> bool:
        """Whether :meth:`take_ran` has anything to return."""
        return bool(self._ran)

    def take_ran(self) -> Sequence[tuple[int, str]]:
        """Which worker ran which task since the last call, if that is noted."""
        ran, self._ran = self._ran, []
        return ran

    # Events

    def catch_up(self) -> None:
        """Apply all events that have arrived."""
        self.apply(self._store.read_events(self.last_event))

    def apply(self, events: Sequence[Event]) -> None:
        """Apply events in their order. Applying one twice changes nothing."""
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
        """Note the tasks that beats report as running: no event reports a task that was claimed in
        a group.
        """
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
            # The note, if there is one, says what the worker lacks.
            self.was_refused |= bool(event.note)
        elif event.kind == "resolved":
            self._apply_decision(index, TaskStatus(event.status))
        self._announcer.tell_event(event, self.graph.tasks[index], before)

    def _apply_decision(self, index: int, status: TaskStatus) -> None:
        known = self.state.statuses[index]
        if known in FINAL and known != status:
            # Tasks that were skipped because of it are evaluated again: read the state of all.
            self.read_again()
        else:
            self.state.on_resolved(index, status)

    def _learn(self, event: Event, index: int) -> None:
        """Learn how long a task took, and what its batch spent before calling it."""
        claimed_ms = self._claimed_ms.pop(index, None)
        if not event.duration:
            return
        estimates, function = self._estimates, self.graph.tasks[index].function
        estimates.learn(function, event.duration)
        if claimed_ms is not None:
            took_ms = event_ms(event.id) - claimed_ms
            estimates.learn_setup(function, took_ms - event.duration * 1000)


def _started(reading: RunReading) -> set[str]:
    """The tasks whose function had been called by the time of the reading."""
    return {name for name, claim in reading.claims.items() if claim.started}
