"""RunMirror: a run as its coordinator sees it, read once and then kept up to date by events."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil

from distflow.coordinator.attach import read_standing
from distflow.coordinator.fleet import Surroundings, own_ms
from distflow.coordinator.open_batches import OpenBatches
from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import MAX_LOST, TaskResult
from distflow.core.outcome import left_of_wait_ms, longest_wait_seconds
from distflow.core.readings import RunReading
from distflow.core.resolution import Resolution
from distflow.core.run import Claim, Event, RefusalKey, RunInfo, event_ms
from distflow.core.state import TaskStateManager
from distflow.core.status import FINAL, OUTCOMES, RunStatus, TaskStatus
from distflow.errors import StaleEpoch, WrongState
from distflow.events.announcer import Announcer
from distflow.ids import new_token
from distflow.logs import get_logger
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore
from distflow.wire.codec import encode_result

_log = get_logger("distflow.coordinator")

#: Looked up once per task: an enumeration takes longer to be asked.
_STATUSES = {status.value: status for status in TaskStatus}

#: A wait that stands this much too far in the future is moved.
_MISPLACED_MS = 1000


class RunMirror:
    """The tasks of a run that this coordinator leads.

    Args:
        store: the run.
        dispatcher: how batches reach workers.
        surroundings: what it shares with other runs.
        announcer: told what happens.
        epoch: the coordinator's.
        graph: the run's.
        standing: where it stands, if that is known; None reads it.
    """

    state: TaskStateManager
    outbox: OpenBatches
    info: RunInfo
    status: RunStatus
    #: When it times out, on the monotonic clock; None for never.
    deadline: float | None
    #: Id of the newest event that was applied.
    last_event: str

    def __init__(
        self,
        store: RunStore,
        dispatcher: Dispatcher,
        surroundings: Surroundings,
        announcer: Announcer,
        epoch: int,
        graph: Graph,
        *,
        standing: RunReading | None = None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._surroundings = surroundings
        self._announcer = announcer
        self.epoch = epoch
        self.graph = graph
        #: Tasks at work by name, with the monotonic time at which they were seen to begin.
        self.running: dict[str, float] = {}
        #: Tasks with which a batch began, by index, with when they were claimed: Unix ms.
        self._claimed_ms: dict[int, int] = {}
        #: Those of which was told that they started.
        self._told: set[str] = set()
        self._number = 0
        #: Whether workers have refused something since that was looked at last, and whether it is
        #: wanted to know who runs what.
        self.was_refused = self.notes_who_runs = False
        self._ran: list[tuple[int, str]] = []
        self.attach(standing)

    def attach(self, standing: RunReading | None = None) -> None:
        """Read where every task stands, unless that is known. The stream's last id comes first:
        what happens while the hashes are read is seen twice rather than not at all.
        """
        store, graph = self._store, self.graph
        standing = standing or read_standing(store, graph)
        if standing.info.epoch > self.epoch:
            # Another leads it, or a decision wants it read by who knows nothing of it yet.
            raise StaleEpoch(f"run {store.run_id}: it is to be taken over")
        self.last_event = standing.last_event
        self.info = standing.info
        self.status = self.info.status
        outcomes = {
            task.name: status
            for task, status in zip(graph.tasks, standing.statuses, strict=True)
            if status is not None
        }
        claims = standing.claims
        self._clock_sets = self._surroundings.clock_sets
        self.deadline = self._find_deadline()
        progress, misplaced = self._place_waits(standing.progress)
        self.state = TaskStateManager(graph, outcomes, claims, progress, own_ms())
        if misplaced:
            self._store.set_times(self.epoch, misplaced)
        self.running = dict.fromkeys(claims, time.monotonic())
        self._told = {name for name, claim in claims.items() if claim.started}
        # A predecessor may have seen some; who follows another asks once.
        self.was_refused = not self.info.is_first_led
        self.close()
        self._claimed_ms.clear()
        self.outbox = OpenBatches(
            self._surroundings,
            self.info,
            self.epoch,
            graph,
            self.state,
            number=self._number,
        )
        # Whatever was left there, by a predecessor too, would be refused or run twice for nothing.
        if self._number or not self.info.is_first_led:
            self.withdraw()

    def _find_deadline(self) -> float | None:
        """When the run times out, on the monotonic clock."""
        timeout, began = self.info.options.timeout, self.info.clock_at
        if timeout is None or began is None:
            return None
        # It did not begin in the future: Redis's clock was set back since.
        return time.monotonic() + timeout - max(0.0, self._surroundings.now() - began)

    def _place_waits(
        self, progress: Mapping[str, Progress]
    ) -> tuple[dict[str, Progress], list[tuple[str, int, int]]]:
        """The same with times on this host's own clock; and those that Redis has wrong, as
        ``set_times`` takes them: a task would wait for longer than it was told to.
        """
        placed: dict[str, Progress] = {}
        misplaced = []
        now_ms, told_ms = self._surroundings.now_ms(), event_ms(self.last_event)
        for name, known in progress.items():
            index = self.graph.index.get(name)
            if not known.not_before or index is None:
                placed[name] = known
                continue
            left_ms = left_of_wait_ms(known.not_before, now_ms, told_ms)
            if known.not_before <= told_ms:
                # It was over, or is of a time after the clock was set back: nobody knows.
                longest = longest_wait_seconds(self.graph.tasks[index], known)
                left_ms = min(left_ms, ceil(longest * 1000))
            placed[name] = known._replace(not_before=own_ms() + left_ms)
            if known.not_before - now_ms - left_ms > _MISPLACED_MS:
                misplaced.append((name, known.not_before, now_ms + left_ms))
        return placed, misplaced

    def follow_clock(self) -> None:
        """Where Redis's clock was set, move what is waited for to where it now stands: whoever
        leads the run next, and the scripts, go by that clock.
        """
        if self._clock_sets == self._surroundings.clock_sets:
            return
        self._clock_sets = self._surroundings.clock_sets
        now_ms, own = self._surroundings.now_ms(), own_ms()
        found = self._store.read_progress()
        waits = []
        for index, due_ms in self.state.waits().items():
            name = self.graph.tasks[index].name
            if name in found and found[name].not_before:
                waits.append((name, found[name].not_before, now_ms + max(0, due_ms - own)))
        clock_at = None
        timeout = self.info.options.timeout
        if self.deadline is not None and timeout is not None and self.info.clock_at is not None:
            began_ms = now_ms + int((self.deadline - time.monotonic() - timeout) * 1000)
            clock_at = round(self.info.clock_at * 1000), began_ms
            self.info = replace(self.info, clock_at=began_ms / 1000)
        self._store.set_times(self.epoch, waits, clock_at=clock_at)

    @property
    def is_at_work(self) -> bool:
        """Whether tasks are on their way or at work, or hooks are asked."""
        state = self.state
        busy = state.in_flight or state.questions or self.running
        return bool(busy) or self.outbox.has_refused

    def close(self) -> None:
        """Forget what is out."""
        if hasattr(self, "outbox"):
            self._number = self.outbox.number
            self.outbox.close()

    def withdraw(self) -> None:
        """Take the run's waiting jobs off the queues."""
        self._dispatcher.withdraw(self._store.run_id, self.outbox.queues)

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
            self.attach()
            return []
        return [index for index, _result in outcomes]

    def settle_failed(
        self, outcomes: Sequence[tuple[int, TaskResult]], forgotten: Sequence[RefusalKey]
    ) -> None:
        """Let tasks fail that no worker can run, and forget what was said of that."""
        settled = self.settle_unheld("", outcomes, forgotten)
        for index in settled:
            name = self.graph.tasks[index].name
            self.state.on_finished(index, TaskStatus.FAILURE)
            self._announcer.tell_finished(Event("", "finished", name, TaskStatus.FAILURE.value))

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
            batch_id, failed=failed, vanished=vanished, unasked=unasked
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
            self._store.resolve_task(new_token(), "undecided", asked, "its coordinator", note)

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
        now = time.monotonic()
        for event in events:
            self.last_event = event.id
            index = self.graph.index.get(event.task)
            if event.kind == "batch_ended":
                self.take_back(event.batch, unasked=bool(event.unstarted))
            elif event.kind == "moved":
                self.status = RunStatus(event.status)
            elif index is not None:
                self._apply_to_task(event, index, now)

    def note_at_work(self, claims: Mapping[str, Claim]) -> None:
        """Batches said what they are in: no event tells of a task that was claimed in a group."""
        for name, claim in claims.items():
            index = self.graph.index[name]
            if self.state.statuses[index] == TaskStatus.QUEUED:
                told = Event(
                    self.last_event, "claimed", name, attempt=claim.attempt, batch=claim.batch
                )
                self._apply_to_task(told, index, time.monotonic())

    def _apply_to_task(self, event: Event, index: int, now: float) -> None:
        """``now`` is on the monotonic clock, in seconds."""
        name = event.task
        is_first = self.outbox.note_told(index, now, event.batch)
        if event.kind == "claimed":
            if is_first:
                self._claimed_ms[index] = event_ms(event.id)
            self.state.on_claimed(index)
            self.running[name] = now
            task = self.graph.tasks[index]
            if task.condition is None and task.effects != "at_most_once":
                self._tell_started(event)
        elif event.kind == "started":
            self._tell_started(event)
        elif event.kind == "finished":
            self._note_end(event, index)
            self.state.on_finished(index, _STATUSES[event.status])
            self._learn(event, index)
            if self.notes_who_runs:
                self._ran.append((index, event.worker))
            self._announcer.tell_finished(event)
        elif event.kind == "waiting":
            self._note_end(event, index)
            self._claimed_ms.pop(index, None)
            told_ms, now_ms = event_ms(event.id), self._surroundings.now_ms()
            left_ms = left_of_wait_ms(event.not_before, now_ms, told_ms)
            self.state.on_waiting(index, own_ms() + left_ms, own_ms())
            self._announcer.tell_waiting(event)
        elif event.kind == "released":
            self.running.pop(name, None)
            self._told.discard(name)
            self.state.on_released(index)
            # A note says what its worker lacks.
            self.was_refused |= bool(event.note)
        elif event.kind == "resolved":
            self._apply_decision(index, TaskStatus(event.status))
            self._announcer.tell_resolved(event)

    def _apply_decision(self, index: int, status: TaskStatus) -> None:
        known = self.state.statuses[index]
        if known in FINAL and known != status:
            # What was skipped because of it is evaluated again: where all that stands is read.
            self.attach()
        else:
            self.state.on_resolved(index, status)

    def _learn(self, event: Event, index: int) -> None:
        """How long a task took, and what its batch paid before it was called."""
        claimed_ms = self._claimed_ms.pop(index, None)
        if not event.duration:
            return
        estimates, function = self._surroundings.estimates, self.graph.tasks[index].function
        estimates.learn(function, event.duration)
        if claimed_ms is not None:
            took_ms = event_ms(event.id) - claimed_ms
            estimates.learn_setup(function, took_ms - event.duration * 1000)

    def _tell_started(self, event: Event) -> None:
        """Once per attempt that calls the function."""
        if event.task not in self._told:
            self._told.add(event.task)
            self._announcer.tell_started(event)

    def _note_end(self, event: Event, index: int) -> None:
        """An attempt has ended. Where nothing told of its start, it was short or its worker is of
        0.1: how long it took says whether its function was called.
        """
        self.running.pop(event.task, None)
        # The late outcome of an unknown task is that of an attempt that was told of.
        if event.duration and self.state.statuses[index] not in OUTCOMES:
            self._tell_started(event)
        self._told.discard(event.task)
