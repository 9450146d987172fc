"""Run: one run, to look at, to wait for, to lead and to decide on."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, overload

from distflow.coordinator.executor import WorkflowExecutor
from distflow.coordinator.pictures import Onlooker
from distflow.core.graph import Graph
from distflow.core.model import LONGEST_WAIT_SECONDS, TaskResult
from distflow.core.readings import KnownGraph
from distflow.core.resolution import Decision
from distflow.core.run import RunInfo
from distflow.core.status import ACTIVE_RUNS, RESTING_RUNS, RunStatus, TaskStatus
from distflow.errors import (
    InvalidInput,
    WrongState,
)
from distflow.events.hub import both
from distflow.events.notice import Interrupt, Listener, Signal
from distflow.given import check_seconds, check_text, refuse
from distflow.ids import check_run_id
from distflow.ports.dispatcher import Dispatcher
from distflow.runs.background import Background
from distflow.runs.decisions import NOTHING, Saying, find_unknown, resolve_tasks, who_am_i
from distflow.runs.engine import Engine
from distflow.runs.graph_reader import GraphReader
from distflow.runs.outcome_reader import read_outcomes
from distflow.runs.outlook import next_steps, read_outlook
from distflow.runs.returned import read_returned, unreturned
from distflow.runs.session import Listening, Session, Watcher, unpause
from distflow.runs.transfer import read_snapshot
from distflow.snapshot import Snapshot

#: Seconds between two looks at a run that this process leads and waits for.
_LOOK_SECONDS = 1.0


class Run:
    """One run, which need not exist: see :func:`find_run`.

    Args:
        engine: where it lives, and how it is led from here.
        run_id: its id.
    """

    def __init__(self, engine: Engine, run_id: str) -> None:
        self.engine = engine
        self.run_id = run_id
        self.store = engine.backend.store(run_id)
        #: What its submitter should know about its Redis and its snapshot.
        self.warnings: list[str] = []
        #: Its graph, if this process has just written it.
        self.known: KnownGraph | None = None
        self._graph = GraphReader(self.store)
        self._background: Background | None = None

    def __repr__(self) -> str:
        return f"<Run {self.run_id}>"

    def info(self) -> RunInfo:
        """A summary of the run."""
        return self.store.read_info()

    def status(self) -> RunStatus:
        """The status of the run."""
        return self.store.read_status()

    def graph(self) -> Graph:
        """The run's graph as it is now."""
        return self._graph.read()

    def results(self) -> dict[str, TaskResult]:
        """The outcomes so far, in the graph's order: of a mapped task or a plan with the value that
        it stands for, once all of its tasks have ended.
        """
        return dict(read_outcomes(self.store, self.graph()))

    def snapshot(self) -> Snapshot:
        """What is known to be done, as an export would have it; results are decoded when read."""
        return read_snapshot(self.store)

    # Leading

    def executor(
        self,
        *,
        listener: Listener | None = None,
        interrupt: Interrupt | None = None,
        cancel: Signal | None = None,
        dispatcher: Dispatcher | None = None,
        with_hub: bool = True,
        onlooker: Onlooker | None = None,
    ) -> WorkflowExecutor:
        """An executor: its ``lead`` leads this run.

        Args:
            listener: called with what happens; it must not raise.
            interrupt: once set, the run is left as it is, or handed over.
            cancel: once set, the run is cancelled.
            dispatcher: how batches reach workers; None takes the backend's own.
            with_hub: whether plugins and callbacks for all runs hear of this run as well.
            onlooker: shown how the run stands, now and then.
        """
        if with_hub:
            listener = both(self.engine.hub, listener)
        # For the first executor only: the graph is as large as the run.
        known, self.known = self.known, None
        return WorkflowExecutor(
            self.store,
            dispatcher or self.engine.backend.dispatcher,
            settings=self.engine.settings,
            listener=listener,
            interrupt=interrupt,
            cancel=cancel,
            lease_store=self.engine.impatient.store(self.run_id),
            estimates=self.engine.estimates,
            onlooker=onlooker,
            known=known,
        )

    def session(
        self,
        watcher: Watcher,
        *,
        interrupt: Interrupt | None = None,
        cancel: Signal | None = None,
        dispatcher: Dispatcher | None = None,
        with_hub: bool = True,
    ) -> Session:
        """A session: leads this run, or follows its coordinator and takes over if that dies.

        Args:
            watcher: called with what happens.
            interrupt: this and the following are those of :meth:`executor`.
            cancel: likewise.
            dispatcher: likewise.
            with_hub: likewise, while the run is led from here.
        """
        interrupt = interrupt or Interrupt()
        make_executor = partial(
            self.executor,
            interrupt=interrupt,
            cancel=cancel,
            dispatcher=dispatcher,
            with_hub=with_hub,
        )
        return Session(
            self.store,
            make_executor,
            self.graph,
            interrupt,
            watcher,
            cancel=cancel,
            grace_seconds=self.engine.settings.grace_seconds,
        )

    def lead_in_background(self, *, reopen: bool, listener: Listener | None = None) -> None:
        """Lead or follow the run on a thread of this process; :meth:`wait` returns how it ended.

        If somebody else leads it, the thread follows, and takes over if that coordinator dies.

        Args:
            reopen: evaluate again what did not succeed.
            listener: called with what happens, whoever leads the run; it must not raise.
        """
        interrupt = Interrupt()
        session = self.session(Listening(listener), interrupt=interrupt)
        # Asked without patience when the process exits.
        store = self.engine.impatient.store(self.run_id)
        self._background = Background(session, interrupt, store, reopen=reopen)

    def wait(self, timeout: float | None = None) -> RunStatus:
        """Wait until the run ends or stands still, and return its status.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            TimeoutError: the run is still going.
            WrongState: nobody leads it, so nothing will happen.
        """
        if timeout is not None:
            check_seconds("timeout", timeout, more_than_0=False)
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = self.engine.settings.lease_seconds
        unled_since: float | None = None
        while True:
            own = self._background
            was_ours = own is not None and own.is_alive
            ours = was_ours and self._waits_for_own(deadline)
            if own is not None and was_ours and not ours and own.ended in RESTING_RUNS:
                # It ended at this very moment: there is nobody to ask.
                return own.ended
            info = self.info()
            now = time.monotonic()
            if info.status in RESTING_RUNS and not ours:
                return info.status
            if own is not None and own.failed is not None:
                raise own.failed
            if info.coordinator is not None or ours:
                unled_since = None
            elif unled_since is None:
                unled_since = now
            elif now - unled_since > patience:
                raise WrongState(self._unled_words(info))
            if deadline is not None and now >= deadline:
                still = f"run {self.run_id} is still {info.status}"
                if unled_since is not None:
                    still = f"{still}: {self._unled_words(info)}"
                raise TimeoutError(still)
            if not ours:
                time.sleep(0.1)

    def result(self, timeout: float | None = None) -> Any:
        """Wait until the run ends, and return what its workflow returned.

        In it, each task stands for its result, a mapped task for the list of all results; None
        stands for a task that was skipped, or whose failure is tolerated.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            TimeoutError: the run is still going.
            RunFailed: it did not succeed; the message has the task that failed first.
            Incomplete: the workflow returned a mapped task or plan, and a task that it made was
                skipped.
            WrongState: nobody leads it, or it was paused.
        """
        self.wait(timeout)
        info = self.info()
        if info.status != RunStatus.SUCCESS:
            raise unreturned(self.store, info)
        return read_returned(self.store, info)

    def _unled_words(self, info: RunInfo) -> str:
        """Says that nobody coordinates the run, and what to type."""
        steps = next_steps(info, read_outlook(self.store, info))
        mend = "; ".join(f"{step.why}: `{step}`" for step in steps)
        service = ", or start `distflow coordinator`" if info.status in ACTIVE_RUNS else ""
        return f"nobody coordinates run {self.run_id}; {mend}{service}"

    def _waits_for_own(self, deadline: float | None) -> bool:
        """Wait a while for this process's session of the run; returns whether it still runs."""
        left = _LOOK_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
        return self._background is not None and self._background.join(min(_LOOK_SECONDS, left))

    # Deciding

    def pause(self) -> None:
        """Start no more tasks until the run is resumed; running tasks finish."""
        self.store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})

    def resume(self, *, listener: Listener | None = None) -> None:
        """Continue the run: unpause it, reopen it and lead it on a thread as soon as nobody does.

        Until then it is followed.

        Args:
            listener: called with what happens, whoever leads the run; it must not raise.
        """
        # A run that nobody leads is reopened first: unpaused, a coordinator service would take it.
        if self.info().coordinator is not None:
            self.unpause()
        self.lead_in_background(reopen=True, listener=listener)

    def unpause(self) -> bool:
        """Let the coordinator of a paused run continue it; False if it is not paused."""
        return unpause(self.store)

    def cancel(self, reason: str | None = None, *, grace_seconds: float | None = None) -> None:
        """Start no more tasks, and stop running ones. The run's coordinator does it.

        Args:
            reason: for people; by default, who cancelled it.
            grace_seconds: how long running tasks may take to finish before their processes are
                killed; None takes the client's setting. Of several calls the shortest counts.

        Raises:
            WrongState: it has ended.
            InvalidInput: the grace is not a number of seconds, 0 or more.
        """
        grace = self.engine.settings.grace_seconds if grace_seconds is None else grace_seconds
        check_seconds("grace_seconds", grace, more_than_0=False)
        if reason is not None:
            check_text("reason", reason)
        if not grace <= LONGEST_WAIT_SECONDS:
            raise InvalidInput(f"grace_seconds={grace}: must be a number of seconds, 0 to 1e9")
        allowed = ACTIVE_RUNS | {RunStatus.PAUSED, RunStatus.INTERRUPTED, RunStatus.BLOCKED}
        self.store.set_status(
            RunStatus.CANCELLING,
            allowed,
            reason=reason or f"cancelled by {who_am_i()}",
            grace_seconds=grace,
        )

    @overload
    def resolve(
        self, task: str, decision: Decision, data: Any = NOTHING, *, note: str = ""
    ) -> TaskStatus: ...

    @overload
    def resolve(
        self,
        task: list[str] | tuple[str, ...],
        decision: Decision,
        data: Any = NOTHING,
        *,
        note: str = "",
    ) -> dict[str, TaskStatus]: ...

    def resolve(
        self,
        task: str | list[str] | tuple[str, ...],
        decision: Decision,
        data: Any = NOTHING,
        *,
        note: str = "",
    ) -> TaskStatus | dict[str, TaskStatus]:
        """Decide tasks that are ``unknown``, or that started at most once and failed: all or none.

        A new decision can correct an earlier one until a dependent has started. The coordinator
        of the run is notified; :meth:`resume` continues a run that has ended.

        Args:
            task: a task name, or several.
            decision: ``done`` (with its ``data``), ``fail``, or ``retry`` to run it again.
            data: what the function would have returned; needed if a dependent takes it.
            note: for the history.

        Returns:
            The task's new status; for several tasks, their statuses by name.

        Raises:
            TaskNotFound: the run has no such task.
            WrongState: a task cannot be decided, or a dependent of it has started.
            InvalidInput: there is no such decision, or it needs data. Nothing was changed.
        """
        if not isinstance(task, str | list | tuple):
            raise refuse("task", "a task name or a list of names", task)
        if not isinstance(note, str):
            raise refuse("note", "text", note)
        names = [task] if isinstance(task, str) else list(task)
        saying = Saying(decision, data, who_am_i(), note)
        statuses = resolve_tasks(self.store, self.graph(), names, saying)
        return statuses[task] if isinstance(task, str) else statuses

    def unknown_tasks(self) -> list[str]:
        """The tasks that are ``unknown``: they wait for a decision."""
        return find_unknown(self.store, self.graph())


def find_run(engine: Engine, run_id: str) -> Run:
    """A run that exists.

    Raises:
        RunNotFound: there is none of this id.
    """
    run = Run(engine, check_run_id(run_id))
    run.store.read_status()
    return run
