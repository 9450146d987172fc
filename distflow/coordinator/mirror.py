"""RunMirror: a run as its coordinator sees it, read once and then kept up to date by events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from distflow.coordinator.growth import GraphOutdated, Standing, read_grown
from distflow.coordinator.missing import Known
from distflow.coordinator.open_batches import OpenBatches
from distflow.coordinator.own_times import find_deadline, place_waits
from distflow.coordinator.tools import Tools
from distflow.core.expansion import CHUNK_TASKS
from distflow.core.model import MAX_LOST, Task
from distflow.core.outcome import left_of_wait_ms
from distflow.core.readings import RunReading
from distflow.core.resolution import Resolution
from distflow.core.run import Beat, Claim, Event, event_ms
from distflow.core.state import TaskStateManager
from distflow.core.status import FINAL, RunStatus, TaskStatus
from distflow.errors import StaleEpoch, WrongState
from distflow.logs import get_logger

_log = get_logger("distflow.coordinator")

#: A chunk of an expansion counts as so many tasks at least, for the round trips that it takes.
_LEAST_OF_CHUNK = 64

#: A dict, since calling the enumeration takes longer, and each task needs it.
_STATUSES = {status.value: status for status in TaskStatus}
_SUCCESS = TaskStatus.SUCCESS.value


class RunMirror:
    """The tasks of a run that this coordinator leads.

    Args:
        tools: the run's store, and what the coordinator works with.
        epoch: the coordinator's.
        standing: the run when it was read. Events report what happened since.
    """

    def __init__(self, tools: Tools, epoch: int, standing: Standing) -> None:
        reading = standing.reading
        self._tools = tools
        self._store = tools.store
        self._announcer = tools.announcer
        self._estimates = tools.fleet.estimates
        self._clock = tools.clock
        self.epoch = epoch
        #: The graph, and which expansions are in it.
        self.growth = standing.growth
        self.graph = standing.graph
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
        #: Id of the last applied event, and whether later ones wait for a large expansion.
        self.last_event = reading.last_event
        self.is_growing = False
        #: Whether Redis has no longer what events have reported: the run must be read again.
        self.is_outdated = False
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

    def read_again(self, standing: Standing | None = None) -> None:
        """Read the state of every task, unless the caller has it. The stream's last id is read
        first: what happens while the hashes are read is then seen twice rather than not at all.
        """
        standing = standing or read_grown(self._store, self.growth)
        reading = standing.reading
        self._check(reading)
        self.growth, self.graph = standing.growth, standing.graph
        self.last_event, self.is_growing, self.is_outdated = reading.last_event, False, False
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
            self._tools.fleet,
            self.info,
            self.epoch,
            self.state,
            self.growth.records,
            number=number,
        )

    def own_ms(self) -> int:
        """Milliseconds on this host's monotonic clock. Durations are measured by it, since Redis's
        clock may be set.
        """
        return int(self._clock.monotonic() * 1000)

    @property
    def known(self) -> Known:
        """What is known about the run now, to compare with what is read later."""
        tokens = self.growth.tokens()
        return Known(
            self.state.statuses, self.confirmed_claims, self.status, self.last_event, tokens
        )

    def task_of(self, name: str) -> Task:
        """A task by its name. One that is not in the graph is of an expansion that Redis has lost,
        or that was not read yet: whatever holds it may be settled as if it were idempotent.
        """
        index = self.graph.index.get(name)
        return Task(name, "", effects="idempotent") if index is None else self.graph.tasks[index]

    def find_timeout(self, name: str) -> float | None:
        """The timeout of a task in seconds; None if it has none."""
        return self.task_of(name).timeout

    @property
    def is_at_work(self) -> bool:
        """Whether tasks are queued or running, or hooks are being asked."""
        # What events report comes first: this is called several times at each turn of the loop.
        state = self.state
        busy = self.running or state.in_flight or state.questions or self.is_growing
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

    def note_lost(self, name: str) -> None:
        """A task was running when its worker was lost."""
        index = self.graph.index.get(name)
        if index is not None:
            self.state.on_lost(index)

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
        """Apply events in their order. Applying one twice changes nothing. A large expansion takes
        several calls: the success of its node, and what follows, are then left for the next one.
        """
        try:
            self._apply(events)
        except GraphOutdated:
            self.is_outdated = True

    def _apply(self, events: Sequence[Event]) -> None:
        now = self._clock.monotonic()
        # For how many more tasks there is time; and the last event of the transition before.
        room, before = CHUNK_TASKS, self.last_event
        for event in events:
            if event.id != self.last_event:
                before, self.last_event = self.last_event, event.id
            index = self.graph.index.get(event.task)
            if index is not None and _expands(event, self.graph.tasks[index]):
                room = self._grow(index, room)
                if not self.growth.is_settled(index):
                    self.last_event, self.is_growing = before, True
                    return
            if event.kind == "batch_ended":
                self.take_back(event.batch, unasked=bool(event.unstarted))
            elif event.kind == "moved":
                self.status = RunStatus(event.status)
            elif index is not None:
                self._apply_to_task(event, index, now)
        self.is_growing = self.is_growing and not events
        if not self.is_at_work:
            self.rested_at = now

    def _grow(self, node: int, room: int) -> int:
        """Take in what a node has added to its run, a chunk at a time while there is room. Returns
        the room that is left.
        """
        while room > 0 and (added := self.growth.advance(node)) is not None:
            self.outbox.serve(self.growth.records[node].queues)
            self.state.grow(node, added)
            room -= max(len(added), _LEAST_OF_CHUNK)
        return room

    def note_at_work(self, claims: Mapping[str, Claim]) -> None:
        """Note the tasks that beats report as running: no event reports a task that was claimed in
        a group.
        """
        for name, claim in claims.items():
            index = self.graph.index.get(name)
            if index is not None and self.state.statuses[index] == TaskStatus.QUEUED:
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
            # Data that a person gives for a growing node are plain data.
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


def _expands(event: Event, task: Task) -> bool:
    """Whether an event reports the success of a growing node."""
    return task.grow is not None and event.kind == "finished" and event.status == _SUCCESS


def _started(reading: RunReading) -> set[str]:
    """The tasks whose function had been called by the time of the reading."""
    return {name for name, claim in reading.claims.items() if claim.started}
