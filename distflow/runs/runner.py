"""The task runner: workflows in this process without Redis, or on Redis, by the same rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Self

from distflow.authoring import Workflow, WorkflowTemplate, check_workflow
from distflow.backends.in_process import new_store, run_threads
from distflow.backends.redis_rq import RedisClient
from distflow.coordinator.executor import WorkflowExecutor
from distflow.core.graph import Graph
from distflow.core.model import TaskResult
from distflow.core.run import RunSpec, ServerFacts
from distflow.core.run_options import NewRunOptions
from distflow.core.status import ACTIVE_RUNS, RunStatus
from distflow.errors import WrongState
from distflow.events.hub import EventHub
from distflow.events.loggers import event_logger
from distflow.events.notice import Callback, Signal
from distflow.events.plugins import Plugin
from distflow.events.vocabulary import EVENTS
from distflow.given import check_flag, check_text, refuse
from distflow.ids import new_origin, new_run_id
from distflow.logs import get_logger
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore
from distflow.runs.client import Client, connect
from distflow.runs.graph_reader import GraphReader
from distflow.runs.returned import read_returned, unreturned
from distflow.runs.run_writer import check_made_of, pack_returned, write_run
from distflow.runs.session import Listening
from distflow.runs.simulation import fill_results, read_all, simulate
from distflow.runs.takeover import NOTHING_TAKEN, Takeover, Taking, take_over
from distflow.runs.transfer import read_snapshot
from distflow.snapshot import Snapshot
from distflow.snapshot.gap import Gap

_log = get_logger("distflow")

#: Tasks that run at once by default: many more than processors, since tasks often wait for I/O.
#: Tasks that compute take turns.
DEFAULT_CONCURRENCY = 32


class TaskRunnerBuilder:
    """Builds a :class:`TaskRunner`; each method returns the builder.

    Args:
        context: given to tasks as ``ctx.context``: in this process any object; with
            :meth:`with_redis` a factory, ``"pkg.module:name"`` or a module-level function.
    """

    def __init__(self, context: Any = None) -> None:
        self._context = context
        self._snapshot: Snapshot | None = None
        self._taking = Taking()
        self._client: Client | None = None
        self._dispatcher: Dispatcher | None = None
        self._hub = EventHub()

    def with_snapshot(
        self,
        snapshot: Mapping[str, TaskResult],
        origin: str | None = None,
        *,
        gap: Gap = "unknown",
        keep: bool = False,
        rerun_changed: bool = False,
        without: Sequence[str] = (),
        new_keys: bool = False,
    ) -> Self:
        """Start from what is known to be done.

        Args:
            snapshot: TaskResults by task name; ``success`` never runs again, the rest is
                evaluated again.
            origin: the origin of its run, if the mapping does not have it: ``ctx.key`` of tasks is
                derived from it. Needed if an ``at_most_once`` task is to run.
            gap: this and what follows as in :meth:`distflow.runs.client.Client.submit`.
            keep: likewise.
            rerun_changed: likewise.
            without: likewise.
            new_keys: accept a mapping without an origin, although this changes ``ctx.key``.

        Raises:
            InvalidInput: that is not a snapshot, or an option is not valid.
        """
        check_flag("keep", keep)
        check_flag("rerun_changed", rerun_changed)
        check_flag("new_keys", new_keys)
        if origin is not None:
            check_text("origin", origin)
        given: object = snapshot
        if given is None:
            raise refuse("the snapshot", "a mapping of TaskResults by task name", given)
        known = snapshot if isinstance(snapshot, Snapshot) else Snapshot(snapshot)
        self._snapshot = known if origin is None else known.with_origin(origin)
        self._taking = Taking(gap, keep, rerun_changed, without, new_keys)
        return self

    def with_redis(self, url_or_client: str | RedisClient) -> Self:
        """Run on RQ workers, through this Redis."""
        self._client = connect(url_or_client)
        return self

    def use_dispatcher(self, dispatcher: Dispatcher) -> Self:
        """Send batches with another dispatcher."""
        if not hasattr(dispatcher, "dispatch"):
            raise refuse("the dispatcher", "an object with dispatch(batches)", dispatcher)
        self._dispatcher = dispatcher
        return self

    def on(self, event: str, callback: Callback) -> Self:
        """Register a callback for an event: see :data:`distflow.events.vocabulary.EVENTS`."""
        self._hub.on(event, callback)
        return self

    def use(self, plugin: Plugin) -> Self:
        """Install a plugin."""
        self._hub.use(plugin)
        return self

    def with_logger(self, form: Literal["text", "json"] = "text") -> Self:
        """Write one line per event to standard error."""
        write = event_logger(form)
        for event in EVENTS:
            self._hub.on(event, write)
        return self

    def build(self) -> TaskRunner:
        """Build the runner, with the plugins of installed packages."""
        self._hub.use_installed()
        known = None if self._snapshot is None else Known(self._snapshot, self._taking)
        return TaskRunner(self._context, known, self._client, self._dispatcher, self._hub)


class Known(NamedTuple):
    """The snapshot that a runner starts from, and how it takes it over."""

    snapshot: Snapshot
    taking: Taking


class TaskRunner:
    """Executes workflows; made by :class:`TaskRunnerBuilder`."""

    def __init__(
        self,
        context: Any,
        known: Known | None,
        client: Client | None,
        dispatcher: Dispatcher | None,
        hub: EventHub,
    ) -> None:
        self._context = context
        self._known = known
        self._client = client
        self._dispatcher = dispatcher
        self._hub = hub
        #: The run that was executed last; None before the first.
        self._store: RunStore | None = None
        #: Whether none of its tasks can start any more.
        self._is_over = False

    def execute(
        self,
        workflow: WorkflowTemplate | Workflow,
        params: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
        timeout: float | None = None,
        signal: Signal | None = None,
        dry_run: bool = False,  # noqa: FBT001, FBT002 - the signature that users know
    ) -> dict[str, TaskResult]:
        """Run a workflow to its end, and return every task's result.

        The results are in the order of the graph: dependencies before their dependents, otherwise
        in the order in which tasks were added. A task without an outcome, for example because it
        waits for an ``unknown`` one, has a result that is ``pending``; its message says what it
        waits for.

        Args:
            workflow: what ``@workflow`` made, or a Workflow.
            params: of the run.
            concurrency: how many tasks may run at once. By default 32 in this process, each on a
                thread of its own; on Redis as many as there are workers.
            timeout: seconds after which the run is cancelled.
            signal: once set, the run is cancelled.
            dry_run: call no function and no hook, and write nothing: each task that would run
                becomes a success without data, whose message says that it is simulated. Conditions
                are called, and events are sent, marked as ``simulated``. All in this process.

        Raises:
            InvalidInput: the workflow, its parameters or the snapshot cannot be used.
        """
        check_made_of(workflow)
        asked = NewRunOptions(concurrency=concurrency, timeout=timeout)
        check_flag("dry_run", dry_run)
        if signal is not None and not hasattr(signal, "is_set"):
            raise refuse("signal", "something with is_set(), such as a threading.Event", signal)
        built = workflow.build(params)
        graph = check_workflow(built)
        if dry_run:
            return self._simulate(built, graph)
        if self._client is not None:
            return self._execute_on_redis(self._client, built, asked, signal)
        return self._execute_here(built, graph, asked, signal)

    @property
    def run_id(self) -> str | None:
        """The id of the current run, or of the last one; None before the first."""
        return None if self._store is None else self._store.run_id

    def result(self) -> Any:
        """What the workflow that was executed last returned.

        In it, each task stands for its result: see :meth:`distflow.runs.run.Run.result`.

        Raises:
            RunFailed: it did not succeed; the message has the task that failed first.
            WrongState: nothing was executed yet, or it was interrupted.
        """
        if self._store is None:
            raise WrongState("nothing was executed yet, so there is no result")
        info = self._store.read_info()
        if info.status != RunStatus.SUCCESS:
            raise unreturned(self._store, info)
        return read_returned(self._store, info)

    def on(self, event: str, callback: Callback) -> Self:
        """Register a callback for an event: see :data:`distflow.events.vocabulary.EVENTS`."""
        self._hub.on(event, callback)
        return self

    def off(self, event: str, callback: Callback) -> Self:
        """Stop calling back: undo one :meth:`on`."""
        self._hub.off(event, callback)
        return self

    def snapshot(self) -> Snapshot:
        """What is known to be done now.

        Call it from any thread or callback, during :meth:`execute` and after it returned or raised.
        It has each outcome that a callback was called with, and a running ``at_most_once`` task is
        ``unknown`` in it. Before the first execution it is the snapshot that the runner was built
        with.

        Raises:
            RedisUnavailable: the run is on a Redis that is away.
        """
        if self._store is None:
            return Snapshot() if self._known is None else self._known.snapshot
        return read_snapshot(self._store, is_over=self._is_over)

    def _take_over(self, graph: Graph) -> Takeover:
        """What a run starts from; logs what a person should know about it."""
        if self._known is None:
            return NOTHING_TAKEN
        taken = take_over(self._known.snapshot, graph, self._known.taking)
        for warning in taken.warnings:
            _log.warning("%s", warning)
        return taken

    def _execute_on_redis(
        self,
        client: Client,
        built: Workflow,
        asked: NewRunOptions,
        signal: Signal | None,
    ) -> dict[str, TaskResult]:
        if self._context is not None:
            built = built.with_context(self._context)
        known, taking = self._known or (None, None)
        run = client.create(built, snapshot=known, taking=taking, options=asked)
        for warning in run.warnings:
            _log.warning("run %s: %s", run.run_id, warning)
        self._store = run.store
        session = run.session(
            Listening(self._hub),
            cancel=signal,
            dispatcher=self._dispatcher,
            # The runner's own hub has the installed plugins.
            with_hub=False,
        )
        session.finish(reopen=False)
        results = run.results()
        return fill_results(run.graph(), results)

    def _simulate(self, built: Workflow, graph: Graph) -> dict[str, TaskResult]:
        context = self._context
        if self._client is not None and context is not None:
            # On Redis the context is a factory.
            built, context = built.with_context(context), None
        taken, origin = self._take_over(graph), self._origin
        return simulate(built, graph, taken, origin, listener=self._hub, context=context)

    @property
    def _origin(self) -> str:
        return (self._known and self._known.snapshot.origin) or new_origin()

    def _execute_here(
        self,
        built: Workflow,
        graph: Graph,
        asked: NewRunOptions,
        signal: Signal | None,
    ) -> dict[str, TaskResult]:
        taken = self._take_over(graph)
        run_id = new_run_id()
        store = new_store(run_id)
        # Threads share one interpreter: batches would only make tasks wait for each other.
        options = replace(asked, batch=False).kept()
        name, server = built.reference or built.name, ServerFacts("none")
        spec = RunSpec(
            run_id,
            name,
            built.params,
            self._origin,
            options,
            server,
            returns=pack_returned(built.returns),
        )
        write_run(store, spec, graph, taken)
        self._store, self._is_over = store, False
        grows = any(task.grow is not None for task in graph.tasks)
        threads = asked.concurrency or DEFAULT_CONCURRENCY
        if not grows:
            threads = min(threads, max(1, len(graph)))
        with run_threads(built, store, threads, context=self._context) as here:
            executor = WorkflowExecutor(
                store, self._dispatcher or here, listener=self._hub, cancel=signal
            )
            try:
                executor.lead()
            finally:
                # Whatever ended this: tasks that have not started do not start any more.
                with suppress(WrongState):
                    store.set_status(RunStatus.INTERRUPTED, ACTIVE_RUNS | {RunStatus.PAUSED})
                self._is_over = True
        return read_all(store, GraphReader(store).read() if grows else graph)
