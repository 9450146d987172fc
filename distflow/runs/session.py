"""Session: sees a run through: leads it, or follows whoever does and takes over from the dead."""

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
from distflow.errors import LeaseHeld, StaleEpoch, WrongState
from distflow.events.notice import Interrupt, Listener, Notice, Signal
from distflow.events.translation import Translator
from distflow.events.vocabulary import EventKind
from distflow.ports.run_store import RunStore

#: Seconds between two looks at a run that another leads.
FOLLOW_SECONDS = 0.5

#: Seconds between two tries to lead a run whose coordinator is about to let it go.
_RETRY_SECONDS = 0.1

#: Statuses that a coordinator leaves when it stops: it releases its lease right after.
_LEFT = ENDED_RUNS | {RunStatus.INTERRUPTED}


class Turn(NamedTuple):
    """A turn that a session takes.

    ``unpauses`` a run that was paused; ``follows`` whoever leads it (``by``, empty where that is
    not known); is ``superseded`` by another who took the run over; ``takes_over`` from one who is
    gone.
    """

    kind: Literal["unpauses", "follows", "superseded", "takes_over"]
    by: str = ""


class Watcher:
    """Is told of a run that a session sees through, on the thread of the session. Nothing that it
    does may raise; what it leaves out does nothing.
    """

    #: Whether it is to hear of starts while another leads, too: the graph is read for that.
    hears_starts = True
    #: Whether it is shown pictures, and whether the next one is to have the queues of open tasks.
    wants_pictures = False
    wants_queues = False

    def hear(self, notice: Notice) -> None:
        """Something happened, whoever leads the run."""

    def turn(self, turn: Turn) -> None:
        """The session goes on in another way."""

    def begin(self, plan: ResumePlan) -> None:
        """The run is led from here, and a resume is about to do this."""

    def see(self, picture: Picture) -> None:
        """The run stands like this now."""


class Listening(Watcher):
    """Hands what is heard to a listener.

    Args:
        listener: it; None hears nothing.
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self.hears_starts = listener is not None

    def hear(self, notice: Notice) -> None:
        """Something happened."""
        if self._listener is not None:
            self._listener(notice)


class MakeExecutor(Protocol):
    """Makes what leads the run of a session."""

    def __call__(self, *, listener: Listener, onlooker: Onlooker) -> WorkflowExecutor:
        """One that tells these two what happens."""


class Session:
    """Sees one run through, on the thread that calls it.

    Args:
        store: the run.
        make_executor: makes what leads it; it must heed ``interrupt`` and ``cancel``.
        read_graph: reads its graph, if that is needed.
        interrupt: when it is set, the run is left as it is, or handed over, and followed no more.
        watcher: told what happens.
        cancel: when it is set, the run is cancelled, whoever leads it.
        grace_seconds: how long what runs may then take to end by itself.
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

    def finish(self, *, reopen: bool, force: bool = False) -> RunStatus:
        """Lead the run until it stands still, or follow whoever does and take over from the dead.

        Args:
            reopen: a person resumes: what is not success is evaluated again, and a paused run goes
                on.
            force: take the run over from one who leads it.

        Returns:
            Its status; an active one where the session was interrupted.

        Raises:
            RedisUnavailable: for longer than a coordinator is patient.
            RunGone: it was deleted while it was led.
            RunNotFound: it was deleted.
        """
        while True:
            try:
                executor = self._make_executor(listener=self._watcher.hear, onlooker=self._watcher)
                return executor.lead(reopen=reopen, force=force)
            except LeaseHeld:
                info = self._store.read_info()
                if info.status in _LEFT:
                    if not reopen or self._interrupt.is_set():
                        return info.status
                    # Its coordinator is on its way out, or died there.
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
            # What a person has cancelled stays so, whoever carries it out.
            reopen = reopen and self._store.read_status() != RunStatus.CANCELLING

    def follow(self) -> RunStatus | None:
        """Watch a run that another leads, without touching it.

        Returns:
            Its status where it stands still, or where the session was interrupted; None where
            nobody leads it although it should go on.
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
        # Where it has moved on at this very moment, the next look says so.
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
        return Picture(info_counts(info), running, info.queues)


class _Ear:
    """Hears what the stream of a run tells from now on.

    Args:
        store: the run.
        watcher: told.
        read_graph: reads its graph, if the watcher hears of starts.
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
        """Tell what has happened up to this look at the run."""
        self._now = info.as_of
        newest = event_order(self._store.last_event_id())
        while event_order(self._last) < newest:
            events = self._store.read_events(self._last)
            if not events:
                # Whoever leads the run has read them, and dropped them.
                return
            self._last = events[-1].id
            for event in events:
                for notice in self._translator.notices_of(event, self._task_of(event)):
                    self._watcher.hear(notice)

    def _task_of(self, event: Event) -> Task | None:
        """The task that an event is about, where its graph matters."""
        if self._graph is None or not event.task:
            return None
        if event.task not in self._graph.index:
            # The run has got more tasks.
            self._graph = self._read_graph()
        return self._graph.tasks[self._graph.index[event.task]]

    def end(self, status: RunStatus) -> None:
        """Tell that the run has come to rest."""
        self._watcher.hear(self._translator.other(EventKind.WORKFLOW_END, status=status))


def unpause(store: RunStore) -> bool:
    """Let a paused run go on under its coordinator; False where it is not paused."""
    # Asked first: the move itself is answered alike where it was made before.
    if store.read_status() != RunStatus.PAUSED:
        return False
    try:
        store.set_status(RunStatus.RUNNING, {RunStatus.PAUSED})
    except WrongState:
        return False
    return True
