"""LedRun: a run as its coordinator sees it, read once and then kept up to date by events."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from distflow.codec import encode_result
from distflow.coordinator.announcer import Announcer
from distflow.coordinator.outbox import Outbox
from distflow.coordinator.reopen import read_standing
from distflow.coordinator.surroundings import Surroundings
from distflow.core.graph import Graph
from distflow.core.model import MAX_LOST, TaskResult
from distflow.core.run import Claim, Event, RunInfo
from distflow.core.state import TaskStateManager
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import WrongState
from distflow.ids import new_token
from distflow.ports import Dispatcher, RunStore, Standing

_log = logging.getLogger("distflow.coordinator")

#: Looked up once per task: an enumeration takes longer to be asked.
_STATUSES = {status.value: status for status in TaskStatus}


class LedRun:
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
    outbox: Outbox
    info: RunInfo
    status: RunStatus
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
        standing: Standing | None = None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._surroundings = surroundings
        self._announcer = announcer
        self.epoch = epoch
        self.graph = graph
        #: Tasks at work by name, with the monotonic time at which they were seen to begin.
        self.running: dict[str, float] = {}
        self._number = 0
        self.attach(standing)

    def attach(self, standing: Standing | None = None) -> None:
        """Read where every task stands, unless that is known. The stream's last id comes first:
        what happens while the hashes are read is seen twice rather than not at all.
        """
        store, graph = self._store, self.graph
        standing = standing or read_standing(store, graph)
        self.last_event = standing.last_event
        self.info = standing.info
        self.status = self.info.status
        outcomes = {
            task.name: status
            for task, status in zip(graph.tasks, standing.statuses, strict=True)
            if status is not None
        }
        claims, now_ms = standing.claims, self._surroundings.now_ms()
        self.state = TaskStateManager(graph, outcomes, claims, standing.progress, now_ms)
        self.running = dict.fromkeys(claims, time.monotonic())
        self.close()
        self.outbox = Outbox(
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

    @property
    def is_at_work(self) -> bool:
        """Whether tasks are on their way or at work, or hooks are asked."""
        return bool(self.state.in_flight or self.state.questions or self.running)

    def close(self) -> None:
        """Forget what is out."""
        if hasattr(self, "outbox"):
            self._number = self.outbox.number
            self.outbox.close()

    def withdraw(self) -> None:
        """Take the run's waiting jobs off the queues."""
        self._dispatcher.withdraw(self._store.run_id, self.outbox.queues)

    def settle_pending(self, kind: str, outcomes: Sequence[tuple[int, TaskResult]]) -> None:
        """Give tasks that never ran an outcome, and tell of it by an event of this kind."""
        # What was tried before counts on: a resume must not number its attempts from 1 again.
        tried = {name: known.attempt - 1 for name, known in self._store.read_progress().items()}
        named = [(self.graph.tasks[index].name, result) for index, result in outcomes]
        left = self._store.settle_pending(
            self.epoch,
            [
                (name, encode_result(replace(result, attempt=tried.get(name, 0))))
                for name, result in named
            ],
        )
        for name, result in named:
            if name not in left:
                self._announcer.tell(kind, name, status=result.status, message=result.message or "")
        if left:
            # The store knows better: whatever it has there counts, and is read again.
            _log.warning(
                "run %s: read again, since %d tasks had moved on", self._store.run_id, len(left)
            )
            self.attach()

    def take_back(self, batch_id: str, *, failed: bool = False, vanished: bool = False) -> None:
        """A batch is gone: see :meth:`Outbox.take_back`. A hook that never answers is told of."""
        self.outbox.take_back(batch_id, failed=failed, vanished=vanished)
        for index in self.state.take_unanswered():
            name = self.graph.tasks[index].name
            packed = self._store.read_results([name])[0]
            # Where it was decided at this very moment, the event says so.
            with suppress(WrongState):
                self._store.resolve_task(
                    new_token(),
                    name,
                    "undecided",
                    b"",
                    "its coordinator",
                    f"its verify hook was asked {MAX_LOST + 1} times and lost its worker each time",
                    asked=packed or b"",
                )

    # Events

    def catch_up(self) -> None:
        """Apply the events that there are."""
        self.apply(self._store.read_events(self.last_event))

    def apply(self, events: Sequence[Event]) -> None:
        """Events happened, in this order; to apply one twice changes nothing."""
        for event in events:
            self.last_event = event.id
            index = self.graph.index.get(event.task)
            if event.kind == "batch_ended":
                self.take_back(event.batch)
            elif event.kind == "moved":
                self.status = RunStatus(event.status)
            elif index is not None:
                self._apply_to_task(event, index)

    def note_at_work(self, claims: Mapping[str, Claim]) -> None:
        """Batches said what they are in: no event tells of a task that was claimed in a group."""
        for name, claim in claims.items():
            index = self.graph.index[name]
            if self.state.statuses[index] == TaskStatus.QUEUED:
                told = Event(
                    self.last_event, "claimed", name, attempt=claim.attempt, batch=claim.batch
                )
                self._apply_to_task(told, index)

    def _apply_to_task(self, event: Event, index: int) -> None:
        name = event.task
        if event.kind == "claimed":
            self.state.on_claimed(index)
            self.running[name] = time.monotonic()
            self._announcer.tell_started(event)
        elif event.kind == "finished":
            begun = self.running.pop(name, None)
            if begun is None and self.state.statuses[index] == TaskStatus.QUEUED:
                # It was claimed in a group, which is not told by itself.
                self._announcer.tell_started(event)
            self.state.on_finished(index, _STATUSES[event.status])
            if event.duration:
                self._surroundings.estimates.learn(self.graph.tasks[index].function, event.duration)
            self._announcer.tell_finished(event)
        elif event.kind == "waiting":
            self.running.pop(name, None)
            self.state.on_waiting(index, event.not_before, self._surroundings.now_ms())
            self._announcer.tell_waiting(event)
        elif event.kind == "released":
            self.running.pop(name, None)
            self.state.on_released(index)
        elif event.kind == "resolved":
            self.state.on_resolved(index, TaskStatus(event.status))
            self._announcer.tell_resolved(event)
