"""Session: leads a run, or follows its coordinator and takes over if that dies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple, Protocol

from distflow.clock import SYSTEM_CLOCK, Clock
from distflow.coordinator.executor import WorkflowExecutor
from distflow.coordinator.pictures import Onlooker
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.picture import Picture, ResumePlan, info_counts
from distflow.core.run import Event, RunInfo, event_order
from distflow.core.status import ENDED_RUNS, RESTING_RUNS, RunStatus
from distflow.core.tally import SHOWN_TALLIES
from distflow.errors import LeaseHeld, StaleEpoch, WrongState
from distflow.events.notice import Interrupt, Listener, Notice, Signal
from distflow.events.translation import Translator
from distflow.events.vocabulary import EventKind
from distflow.ports.run_store import RunStore
from distflow.runs.tallies import TallyReader

#: Seconds between two looks at a run that somebody else leads.
FOLLOW_SECONDS = 0.5

#: Seconds between two attempts to lead a run whose coordinator is about to release it.
_RETRY_SECONDS = 0.1

#: Statuses that a stopping coordinator sets right before it releases its lease.
_LEFT = ENDED_RUNS | {RunStatus.INTERRUPTED}


class Turn(NamedTuple):
    """A change of what a session does.

    It ``unpauses`` a paused run; ``follows`` its coordinator (``by``, empty if not known); is
    ``superseded`` by somebody who took the run over; or ``takes_over`` from a dead coordinator.
    """

    kind: Literal["unpauses", "follows", "superseded", "takes_over"]
    by: str = ""


class Watcher:
    """Hears about the run of a session, on the session's thread. Its methods must not raise; by
    default they do nothing.
    """

    #: Whether nobody hears: then no notice need be made of what happens.
    is_deaf = False
    #: Whether to report starts while somebody else leads, too: this reads the graph.
    hears_starts = True
    #: Whether it wants pictures, and whether the next one should have the queues of open tasks.
    wants_pictures = False
    wants_queues = False

    def hear(self, notice: Notice) -> None:
        """Something happened in the run, whoever leads it."""

    def turn(self, turn: Turn) -> None:
        """The session takes a turn."""

    def begin(self, plan: ResumePlan) -> None:
        """The session leads the run, and a resume is about to do this."""

    def see(self, picture: Picture) -> None:
        """The run looks like this now."""


class Listening(Watcher):
    """Passes notices to a listener.

    Args:
        listener: the listener, or None.
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self.is_deaf = listener is None
        self.hears_starts = listener is not None

    def hear(self, notice: Notice) -> None:
        """Something happened."""
        if self._listener is not None:
            self._listener(notice)


class MakeExecutor(Protocol):
    """Makes the executor of a session's run."""

    def __call__(self, *, listener: Listener | None, onlooker: Onlooker) -> WorkflowExecutor:
        """An executor that reports to these two."""


class Session:
    """Leads or follows one run, on the thread that calls it.

    Args:
        store: the run.
        make_executor: makes its executor, which must heed ``interrupt`` and ``cancel``.
        read_graph: reads its graph, if needed.
        interrupt: once set, the run is left as it is, or handed over, and no longer followed.
        watcher: hears what happens.
        cancel: once set, the run is cancelled, whoever leads it.
        grace_seconds: how long running tasks may then take to finish.
        clock: by which it waits.
    """

    def __init__(
        self,
        store: RunStore,
        make_executor: MakeExecutor,
        read_graph: Callable[[], Graph],
        interrupt: Interrupt,
        watcher: Watcher,
        *,
        cancel: Signal | None = None,
        grace_seconds: float = 0.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._store = store
        self._make_executor = make_executor
        self._read_graph = read_graph
        self._interrupt = interrupt
        self._watcher = watcher
        self._cancel = cancel
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._tallies = TallyReader(store, clock.monotonic)

    def finish(self, *, reopen: bool, force: bool = False) -> RunStatus:
        """Lead the run until it stands still, or follow its coordinator and take over if that dies.

        Args:
            reopen: a person resumes: evaluate again what did not succeed, and unpause a paused run.
            force: take the run over even from a live coordinator.

        Returns:
            The run's status; an active one if the session was interrupted.

        Raises:
            RedisUnavailable: Redis was away for longer than a coordinator waits.
            RunGone: the run was deleted while this session led it.
            RunNotFound: the run was deleted.
        """
        while True:
            try:
                listener = None if self._watcher.is_deaf else self._watcher.hear
                executor = self._make_executor(listener=listener, onlooker=self._watcher)
                return executor.lead(reopen=reopen, force=force)
            except LeaseHeld:
                info = self._store.read_info()
                if info.status in _LEFT:
                    if not reopen or self._interrupt.is_set():
                        return info.status
                    # Its coordinator is stopping, or died while it stopped.
                    self._clock.wait(self._interrupt, _RETRY_SECONDS)
                    continue
                if reopen and unpause(self._store):
                    self._watcher.turn(Turn("unpauses"))
                self._watcher.turn(Turn("follows", info.coordinator or ""))
            except StaleEpoch:
                self._watcher.turn(Turn("superseded"))
            force = False
            status = self.follow()
            if status is not None:
                return status
            self._watcher.turn(Turn("takes_over"))
            # A cancelled run stays cancelled, whoever carries it out.
            reopen = reopen and self._store.read_status() != RunStatus.CANCELLING

    def follow(self) -> RunStatus | None:
        """Watch a run that somebody else leads, without changing it.

        Returns:
            The run's status if it stands still, or if the session was interrupted; None if nobody
            leads it although it has not ended.
        """
        ear = _Ear(self._store, self._watcher, self._read_graph)
        while True:
            info = self._store.read_info()
            ear.listen(info)
            has_left = info.status in _LEFT or info.coordinator is None
            if has_left and info.status in RESTING_RUNS:
                ear.end(info.status)
                return info.status
            if self._interrupt.is_set():
                return info.status
            if has_left:
                return None
            self._hand_on_cancel(info)
            if self._watcher.wants_pictures:
                self._watcher.see(self._draw(info))
            self._clock.wait(self._interrupt, FOLLOW_SECONDS)

    def _hand_on_cancel(self, info: RunInfo) -> None:
        if self._cancel is None or not self._cancel.is_set() or info.status != RunStatus.RUNNING:
            return
        # If it has changed at this very moment, the next look shows that.
        with suppress(WrongState):
            self._store.set_status(
                RunStatus.CANCELLING,
                {RunStatus.RUNNING},
                reason="cancelled by a signal",
                grace_seconds=self._grace_seconds,
            )

    def _draw(self, info: RunInfo) -> Picture:
        running = {
            name: max(0.0, info.as_of - claim.claimed / 1000)
            for name, claim in self._store.read_claims().items()
        }
        going = [each for each in self._tallies.read(info) if each.done < each.children]
        return Picture(info_counts(info), running, info.queues, going[:SHOWN_TALLIES])


class _Ear:
    """Reads the event stream of a run from now on.

    Args:
        store: the run.
        watcher: hears of the events.
        read_graph: reads its graph, if the watcher wants starts.
    """

    def __init__(self, store: RunStore, watcher: Watcher, read_graph: Callable[[], Graph]) -> None:
        self._store = store
        self._watcher = watcher
        self._read_graph = read_graph
        self._graph = read_graph() if watcher.hears_starts else None
        self._last = store.last_event_id()
        self._now = 0.0
        self._translator = Translator(store, lambda: self._now)

    def listen(self, info: RunInfo) -> None:
        """Report what has happened up to this reading of the run."""
        self._now = info.as_of
        newest = event_order(self._store.last_event_id())
        while event_order(self._last) < newest:
            events = self._store.read_events(self._last)
            if not events:
                # The coordinator has read these events, and trimmed them.
                return
            self._last = events[-1].id
            for event in events:
                for notice in self._translator.notices_of(event, self._task_of(event)):
                    self._watcher.hear(notice)

    def _task_of(self, event: Event) -> Task | None:
        """The task of an event, if the graph matters."""
        if self._graph is None or not event.task:
            return None
        if event.task not in self._graph.index:
            # The run has more tasks now.
            self._graph = self._read_graph()
        index = self._graph.index.get(event.task)
        # An older Redis may answer by now, which does not have it.
        return None if index is None else self._graph.tasks[index]

    def end(self, status: RunStatus) -> None:
        """Report that the run has come to rest."""
        self._watcher.hear(self._translator.other(EventKind.WORKFLOW_END, status=status))


def unpause(store: RunStore) -> bool:
    """Let the coordinator of a paused run continue it; False if it is not paused."""
    # Read first: the store answers the same if the run was unpaused before.
    if store.read_status() != RunStatus.PAUSED:
        return False
    try:
        store.set_status(RunStatus.RUNNING, {RunStatus.PAUSED})
    except WrongState:
        return False
    return True
