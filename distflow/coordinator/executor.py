"""WorkflowExecutor: leads one run, from the lease to its last outcome."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from distflow.codec import encode_result
from distflow.coordinator.announcer import Announcer
from distflow.coordinator.lease import LeaseKeeper
from distflow.coordinator.notices import Listener, Signal
from distflow.coordinator.outbox import Outbox
from distflow.coordinator.recovery import Recovery, describe_vanished
from distflow.coordinator.reopen import read_graph, read_statuses, reopen_run
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.graph import Graph
from distflow.core.model import TaskResult
from distflow.core.plan import PlanItem
from distflow.core.run import Event, RunInfo
from distflow.core.state import TaskStateManager
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import DistflowError, WrongState
from distflow.ids import new_token
from distflow.ports import Dispatcher, RunStore

_log = logging.getLogger("distflow.coordinator")

#: In these a coordinator has something to do.
_LED = frozenset({RunStatus.RUNNING, RunStatus.CANCELLING})


class WorkflowExecutor:
    """Coordinates one run.

    Args:
        store: the run.
        dispatcher: how batches reach workers.
        settings: intervals and patience.
        listener: told what happens; it must not raise.
        interrupt: when it is set, the run is left as it is, to be resumed by a person.
        cancel: when it is set, the run is cancelled.
        lease_store: the same run with little patience, for renewing the lease.
    """

    def __init__(
        self,
        store: RunStore,
        dispatcher: Dispatcher,
        *,
        settings: CoordinatorSettings | None = None,
        listener: Listener | None = None,
        interrupt: threading.Event | None = None,
        cancel: Signal | None = None,
        lease_store: RunStore | None = None,
    ) -> None:
        self._store = store
        self._lease_store = lease_store or store
        self._dispatcher = dispatcher
        self._settings = settings or CoordinatorSettings()
        self._announcer = Announcer(store, listener)
        self._interrupt = interrupt or threading.Event()
        self._cancel_signal = cancel
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{new_token()[:6]}"
        self.run_id = store.run_id
        self.graph: Graph | None = None
        self.state: TaskStateManager | None = None
        self.outbox: Outbox | None = None
        #: Tasks at work by name, with the monotonic time at which they were seen to begin.
        self.running: dict[str, float] = {}
        #: What the last reopening planned; empty where there was none.
        self.plan: list[PlanItem] = []

    def lead(self, *, force: bool = False, reopen: bool = False) -> RunStatus:
        """Lead the run until it is over, or until it may not go on, and return its status.

        Args:
            force: take the lease even from one who holds it.
            reopen: a person resumes: evaluate again what is not success.

        Raises:
            LeaseHeld: another coordinator leads it.
            StaleEpoch: another coordinator has taken it over.
            RunGone: there is no such run (any more).
        """
        lease_seconds = self._settings.lease_seconds
        self._epoch = self._store.acquire_lease(self.owner, lease_seconds, force=force)
        try:
            # The index lies in another slot, so that a crash may have left it behind.
            self._store.mark_active(active=True)
            with LeaseKeeper(
                self._lease_store, self.owner, self._epoch, lease_seconds, self._load
            ) as keeper:
                self.graph = read_graph(self._store)
                # A reopening that was cut off is ended by whoever leads the run next.
                if reopen or self._store.read_status() == RunStatus.REOPENING:
                    self.plan = reopen_run(self._store, self._epoch, self.graph)
                self._attach(self.graph)
                return self._loop(keeper)
        finally:
            self._release()

    def _release(self) -> None:
        try:
            self._store.release_lease(self.owner, self._epoch)
        except DistflowError as error:
            # It lapses by itself, and what ended the coordinator matters more.
            _log.warning("run %s: its lease was not released: %s", self.run_id, error)

    def _load(self) -> tuple[int, int]:
        """How many tasks are queued and waiting: published with each renewal."""
        if self.state is None:
            return 0, 0
        counts = self.state.counts
        return counts[TaskStatus.QUEUED], counts[TaskStatus.WAITING]

    def _attach(self, graph: Graph) -> None:
        """Read where every task stands. The stream's last id comes first: what happens while the
        hashes are read is seen twice rather than not at all.
        """
        store = self._store
        self._last_event = store.last_event_id()
        info = store.read_info()
        self._announcer.clock_offset = info.as_of - time.monotonic()
        self._info: RunInfo = info
        self._status = info.status
        statuses = read_statuses(store, graph)
        outcomes = {
            task.name: status
            for task, status in zip(graph.tasks, statuses, strict=True)
            if status is not None
        }
        claims = store.read_claims()
        self.state = self._state = TaskStateManager(
            graph, outcomes, claims, store.read_progress(), self._now_ms()
        )
        self._graph = graph
        self.running = dict.fromkeys(claims, time.monotonic())
        number = self.outbox.number if self.outbox else 0
        self.outbox = self._outbox = Outbox(
            self._dispatcher,
            self.run_id,
            self._epoch,
            graph,
            self._state,
            now_ms=self._now_ms,
            number=number,
        )
        self._recovery = Recovery(
            store,
            self._dispatcher,
            graph,
            self._epoch,
            settings=self._settings,
            monotonic=time.monotonic,
            now=self._now,
        )
        self._watched_at = self._checked_at = time.monotonic()
        self._cancelled_at: float | None = None

    def _now(self) -> float:
        """Unix seconds on Redis's clock, by this host's monotonic one."""
        return time.monotonic() + self._announcer.clock_offset

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    # The loop

    def _loop(self, keeper: LeaseKeeper) -> RunStatus:
        self._announcer.tell("workflow_start", message=self._info.workflow)
        # What happened while the hashes were read comes before the first batch.
        self._apply(self._store.read_events(self._last_event))
        while True:
            if keeper.lost:
                raise keeper.lost
            self._state.on_time(self._now_ms())
            if self._interrupt.is_set():
                return self._interrupt_run()
            self._check_stop()
            if self._status == RunStatus.CANCELLING:
                self._cancel()
            self._write_skips()
            if self._status == RunStatus.RUNNING:
                self._outbox.send_ready(self._info.options.concurrency)
            ended = self._try_end()
            if ended is not None:
                self._announcer.tell("workflow_end", status=ended)
                return ended
            self._apply(self._store.read_events(self._last_event, block_ms=self._block_ms()))
            self._watch()

    def _block_ms(self) -> int:
        tick_ms = int(self._settings.tick_seconds * 1000)
        due = self._state.next_due()
        return tick_ms if due is None else max(1, min(tick_ms, due - self._now_ms()))

    def _try_end(self) -> RunStatus | None:
        """The run's status where this coordinator has nothing more to do, else None."""
        state = self._state
        if self._status == RunStatus.PAUSED:
            # Asked once more: a resume at this very moment counts on this coordinator.
            if state.claimed or self._store.read_status() != RunStatus.PAUSED:
                return None
            return self._status
        if self._status not in _LED or not state.is_over:
            return None if self._status in _LED else self._status
        verdict = state.verdict(cancelled=self._status == RunStatus.CANCELLING)
        try:
            self._store.set_status(verdict, _LED, epoch=self._epoch)
        except WrongState:
            # Paused or cancelled at this very moment: the event says so.
            return None
        self._status = verdict
        if verdict != RunStatus.BLOCKED:
            self._store.mark_active(active=False)
        # A decision that came just before did not find the run blocked: it must not wait.
        elif self._goes_on():
            # Where it was cancelled at this very moment, the event says so.
            with suppress(WrongState):
                self._store.set_status(RunStatus.RUNNING, {RunStatus.BLOCKED}, epoch=self._epoch)
            self._status = self._store.read_status()
            return None
        return verdict

    def _goes_on(self) -> bool:
        """Whether something can happen by itself, once all events are read."""
        self._apply(self._store.read_events(self._last_event))
        return not self._state.is_over or not self._state.counts[TaskStatus.UNKNOWN]

    def _interrupt_run(self) -> RunStatus:
        """Leave the run as it is: what runs ends by itself, and nothing more is claimed."""
        # A cancellation is a person's decision already: whoever leads next carries it out.
        with suppress(WrongState):
            self._status = self._store.set_status(
                RunStatus.INTERRUPTED,
                {RunStatus.RUNNING},
                epoch=self._epoch,
                reason="interrupted",
            )
        self._outbox.withdraw()
        self._announcer.tell("workflow_end", status=self._status)
        return self._status

    def _check_stop(self) -> None:
        """Whether the signal or the run's timeout cancels it."""
        if self._status != RunStatus.RUNNING:
            return
        timeout = self._info.options.timeout
        began = self._info.clock_at
        if self._cancel_signal is not None and self._cancel_signal.is_set():
            reason = "cancelled by a signal"
        elif timeout is not None and began is not None and self._now() - began > timeout:
            reason = f"timed out after {timeout:g} s"
        else:
            return
        # Where it was paused at this very moment, the event says so.
        with suppress(WrongState):
            self._status = self._store.set_status(
                RunStatus.CANCELLING, {RunStatus.RUNNING}, epoch=self._epoch, reason=reason
            )

    def _cancel(self) -> None:
        """Cancel what no worker holds; what runs may end by itself, and is then killed."""
        now = time.monotonic()
        if self._cancelled_at is None:
            self._cancelled_at = now
            self._outbox.withdraw()
        cancelled = self._state.cancel_open()
        if cancelled:
            reason = self._store.read_info().reason or "cancelled"
            result = TaskResult(TaskStatus.CANCELLED, message=reason)
            self._settle_pending("task_end", [(index, result) for index in cancelled])
        if self._state.claimed and now - self._cancelled_at > self._settings.grace_seconds:
            self._recovery.stop_running()
            self._cancelled_at = now

    def _write_skips(self) -> None:
        skips = self._state.take_skips()
        if skips:
            self._settle_pending(
                "task_skipped",
                [
                    (skip.task, TaskResult(TaskStatus.SKIPPED, message=skip.message))
                    for skip in skips
                ],
            )

    def _settle_pending(self, kind: str, outcomes: Sequence[tuple[int, TaskResult]]) -> None:
        """Give tasks that never ran an outcome, and tell of it by an event of this kind."""
        # What was tried before counts on: a resume must not number its attempts from 1 again.
        tried = {name: known.attempt - 1 for name, known in self._store.read_progress().items()}
        named = [(self._graph.tasks[index].name, result) for index, result in outcomes]
        left = self._store.settle_pending(
            self._epoch,
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
            _log.warning("run %s: read again, since %d tasks had moved on", self.run_id, len(left))
            self._attach(self._graph)

    # Watching

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._watched_at < self._settings.watch_seconds:
            return
        self._watched_at = now
        # Redis's clock may be set, and what was lost with an older Redis is not told by events.
        self._announcer.clock_offset = self._store.read_info().as_of - time.monotonic()
        self._outbox.count_workers()
        self._store.trim_events(self._epoch, self._last_event)
        for lost in self._recovery.find_lost(cancelling=self._status == RunStatus.CANCELLING):
            self._announcer.tell("repair", message=lost.describe())
            self._outbox.take_back(lost.batch)
        if self._recovery.has_forgotten(self.running):
            self._announcer.tell("repair", message="Redis forgot claims: all is read again")
            self._attach(self._graph)
            return
        if now - self._checked_at < self._settings.unbegun_seconds:
            return
        self._checked_at = now
        old = self._outbox.older_than(self._settings.unbegun_seconds)
        for batch_id, failure in self._recovery.find_vanished(old).items():
            # Its end may be among the events that were not read yet.
            self._apply(self._store.read_events(self._last_event))
            if self._outbox.is_out(batch_id):
                self._announcer.tell("repair", message=describe_vanished(batch_id, failure))
                self._outbox.take_back(batch_id, failed=bool(failure))

    # Events

    def _apply(self, events: Sequence[Event]) -> None:
        for event in events:
            self._last_event = event.id
            index = self._graph.index.get(event.task)
            if event.kind == "batch_ended":
                self._outbox.take_back(event.batch)
            elif event.kind == "moved":
                self._status = RunStatus(event.status)
            elif index is not None:
                self._apply_to_task(event, index)

    def _apply_to_task(self, event: Event, index: int) -> None:
        name = event.task
        if event.kind == "claimed":
            self._state.on_claimed(index)
            self.running[name] = time.monotonic()
            self._announcer.tell_started(event)
        elif event.kind == "finished":
            self.running.pop(name, None)
            self._state.on_finished(index, TaskStatus(event.status))
            self._announcer.tell_finished(event)
        elif event.kind == "waiting":
            self.running.pop(name, None)
            self._state.on_waiting(index, event.not_before, self._now_ms())
            self._announcer.tell_waiting(event)
        elif event.kind == "resolved":
            self._state.on_resolved(index, TaskStatus(event.status))
