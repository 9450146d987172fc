"""Runs, from Python: :func:`connect` and :class:`Client`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

from distflow.authoring import Workflow, WorkflowTemplate, check_workflow
from distflow.backends.redis_rq import (
    DEFAULT_PREFIX,
    RedisBackend,
    RedisClient,
    open_backend,
)
from distflow.coordinator.service import CoordinatorService
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.claim import MAX_GRAPH_BYTES
from distflow.core.readings import KnownGraph, WorkerInfo
from distflow.core.run import RunSpec, ServerFacts
from distflow.core.run_options import MAX_RESULT_BYTES, NewRunOptions, RunKeywords
from distflow.core.status import RunStatus
from distflow.errors import InvalidInput
from distflow.events.hub import both
from distflow.events.notice import Callback, Listener
from distflow.events.plugins import Plugin
from distflow.given import check_call, check_text, refuse
from distflow.ids import check_new_run_id, new_origin, new_run_id
from distflow.logs import get_logger
from distflow.ports.backend import Backend
from distflow.ports.run_store import RunStore
from distflow.runs.advice import durability_warnings
from distflow.runs.earlier import find_or_create
from distflow.runs.engine import Engine
from distflow.runs.run import Run, find_run
from distflow.runs.run_writer import check_made_of, is_frozen, pack_returned, write_run
from distflow.runs.takeover import NOTHING_TAKEN, Taking, take_over
from distflow.snapshot import Snapshot
from distflow.snapshot.gap import Gap

_log = get_logger("distflow")

#: Seconds to wait for a Redis that is away or refuses, when undoing something.
_UNDO_PATIENCE_SECONDS = 2.0


def connect(url: str | RedisClient, *, prefix: str = DEFAULT_PREFIX) -> Client:
    """A client for the runs on a Redis.

    Args:
        url: see :func:`distflow.store.redis.connection.open_redis`; or a redis-py client. A client
            that does not answer in bytes, or that uses redis-py's own Sentinel support, is
            replaced by one with the same settings.
        prefix: first part of every key, for installations that share a Redis.

    Raises:
        InvalidInput: the URL is not usable, or the server belongs to a Redis Cluster.
        RedisUnavailable: the server of a URL does not answer.
    """
    check_text("prefix", prefix)
    return Client(open_backend(url, prefix=prefix))


class Client:
    """The runs of one backend.

    Args:
        redis: a redis-py client that answers in bytes; :func:`connect` takes others too. Or a
            backend, which has its own prefix and patience.
        prefix: first part of every key.
        settings: how runs are coordinated.
        patience_seconds: how long a call waits for a Redis that is away or refuses.
    """

    def __init__(
        self,
        redis: RedisClient | Backend,
        *,
        prefix: str = DEFAULT_PREFIX,
        settings: CoordinatorSettings | None = None,
        patience_seconds: float = 60.0,
    ) -> None:
        given: object = redis
        if given is None or isinstance(given, str | int):
            raise refuse(
                "the first argument of Client", "a redis.Redis (connect takes a URL)", redis
            )
        if not isinstance(redis, Backend):
            redis = RedisBackend(redis, prefix, patience_seconds=patience_seconds)
        self.engine = Engine(redis, settings)

    @property
    def backend(self) -> Backend:
        """Where the runs live."""
        return self.engine.backend

    @property
    def settings(self) -> CoordinatorSettings:
        """How this client coordinates the runs that it leads from now on."""
        return self.engine.settings

    @settings.setter
    def settings(self, settings: CoordinatorSettings) -> None:
        self.engine.settings = settings

    @property
    def redis(self) -> RedisClient:
        """The redis-py client of a backend on Redis."""
        return self._on_redis.redis

    @property
    def prefix(self) -> str:
        """First part of every key of a backend on Redis."""
        return self._on_redis.prefix

    @property
    def _on_redis(self) -> RedisBackend:
        if not isinstance(self.backend, RedisBackend):
            raise InvalidInput("the runs of this client are not on Redis")
        return self.backend

    def store(self, run_id: str, *, patience_seconds: float | None = None) -> RunStore:
        """The store of a run, which need not exist; None takes the client's own patience."""
        if patience_seconds is None:
            return self.backend.store(run_id)
        return self.backend.with_patience(patience_seconds).store(run_id)

    def brief_store(self, run_id: str) -> RunStore:
        """The same with little patience, for undoing what failed."""
        return self.store(run_id, patience_seconds=_UNDO_PATIENCE_SECONDS)

    def create(
        self,
        workflow: WorkflowTemplate | Workflow,
        params: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        snapshot: Snapshot | None = None,
        taking: Taking | None = None,
        options: NewRunOptions | None = None,
        progress: Callable[[int, int], None] = lambda _written, _total: None,
        **by_name: Unpack[RunKeywords],
    ) -> Run:
        """Write a run that nobody leads yet: see :meth:`submit`.

        ``taking`` says how the snapshot is taken over. Options given by name override ``options``.
        ``progress`` is called now and then with the number of tasks written and of all tasks; if it
        raises, no run is created.
        """
        check_made_of(workflow)
        asked = replace(options or NewRunOptions(), **by_name)
        if snapshot is not None and not isinstance(snapshot, Snapshot):
            raise refuse("snapshot", "a Snapshot, such as Snapshot.load(FILE)", snapshot)
        built = workflow.build(params)
        graph = check_workflow(built)
        run_id = check_new_run_id(run_id) if run_id is not None else new_run_id()
        taken = NOTHING_TAKEN if snapshot is None else take_over(snapshot, graph, taking)
        spec = RunSpec(
            run_id=run_id,
            workflow=built.reference or built.name,
            params=built.params,
            origin=(None if snapshot is None else snapshot.origin) or new_origin(),
            options=asked.kept(built.context),
            server=self.settle_server(asked.durability, allow_eviction=asked.allow_eviction),
            detached=asked.detach,
            returns=pack_returned(built.returns),
        )
        write_run(
            self.store(run_id),
            spec,
            graph,
            taken,
            max_graph_bytes=asked.max_graph_bytes,
            progress=lambda written: progress(written, len(graph)),
            undo=self.brief_store(run_id),
        )
        run = Run(self.engine, run_id)
        if snapshot is None and not asked.detach and is_frozen(graph):
            run.known = KnownGraph(spec.origin, graph)
        durability_of = durability_warnings(run.store, spec.server, graph.tasks)
        run.warnings = [*taken.warnings, *durability_of]
        return run

    def submit(  # noqa: PLR0913 - the options of a run, by name
        self,
        workflow: WorkflowTemplate | Workflow,
        params: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        snapshot: Snapshot | None = None,
        *,
        detach: bool = False,
        keep: bool = False,
        rerun_changed: bool = False,
        without: Sequence[str] = (),
        gap: Gap = "unknown",
        new_keys: bool = False,
        accept_gap: bool = False,
        concurrency: int | None = None,
        timeout: float | None = None,
        max_result_bytes: int = MAX_RESULT_BYTES,
        max_graph_bytes: int = MAX_GRAPH_BYTES,
        durability: str | None = None,
        allow_eviction: bool = False,
        batch: bool = True,
        or_resume: bool = False,
        listener: Listener | None = None,
    ) -> Run:
        """Create a run and coordinate it on a thread of this process.

        If the run needs more durability than its Redis gives, or a person should know how the
        snapshot was taken over, the logger ``distflow`` warns (``Run.warnings``).

        Args:
            workflow: a ``@workflow`` function, or a Workflow.
            params: parameters of the run, by name.
            run_id: 1 to 100 letters, digits, ``_`` or ``-``; None makes one up.
            snapshot: what is known to be done: it never runs again.
            detach: leave the run to a ``distflow coordinator``.
            keep: keep the snapshot's outcomes of tasks whose function or arguments have changed
                since; a task whose dependencies have changed runs again, with everything
                downstream.
            rerun_changed: run tasks that have changed since again, and everything downstream;
                refused if one of these tasks runs at most once.
            without: tasks to ignore in the snapshot.
            gap: for the snapshot of a run that continued: ``at_most_once`` tasks that may have
                started since become ``"unknown"``, they ``"run"``, or the snapshot is
                ``"refuse"``d.
            new_keys: accept a snapshot without an origin, although this changes ``ctx.key`` of its
                tasks.
            accept_gap: as in 0.1: the same as ``gap="run"``.
            concurrency: how many tasks may run at once.
            timeout: seconds after which the run is cancelled.
            max_result_bytes: limit for one encoded result.
            max_graph_bytes: limit for all encoded tasks together.
            durability: ``"waitaof"`` makes workers wait until the starts and outcomes of
                ``at_most_once`` tasks are on Redis's disk; None relies on Redis's settings.
            allow_eviction: use a Redis whose ``maxmemory-policy`` is not ``noeviction``.
            batch: whether short tasks travel together in one RQ job.
            or_resume: if a run of this ``run_id`` exists, with the same workflow and parameters,
                continue it as ``Run.resume`` does; with ``detach`` it is left as it is.
            listener: called with what happens to the run, on the run's thread.

        Raises:
            InvalidInput: the workflow, the parameters, the snapshot or the id cannot be used, or
                the Redis does not offer what was asked for; nothing was written.
        """
        if listener is not None:
            check_call("listener", listener)
        options = NewRunOptions(
            concurrency=concurrency,
            timeout=timeout,
            max_result_bytes=max_result_bytes,
            max_graph_bytes=max_graph_bytes,
            durability=durability,
            allow_eviction=allow_eviction,
            detach=detach,
            batch=batch,
        )
        create = partial(
            self.create,
            workflow,
            params,
            run_id=run_id,
            snapshot=snapshot,
            taking=Taking("run" if accept_gap else gap, keep, rerun_changed, without, new_keys),
            options=options,
        )
        if or_resume:
            run, earlier = self._find_or_create(workflow, params, run_id, create)
        else:
            run, earlier = create(), False
        for warning in run.warnings:
            _log.warning("run %s: %s", run.run_id, warning)
        if not detach and not (earlier and run.status() == RunStatus.SUCCESS):
            run.lead_in_background(reopen=earlier, listener=listener)
        return run

    def _find_or_create(
        self,
        workflow: WorkflowTemplate | Workflow,
        params: Mapping[str, Any] | None,
        run_id: str | None,
        create: Callable[[], Run],
    ) -> tuple[Run, bool]:
        if run_id is None:
            raise InvalidInput("or_resume needs the run_id to continue")
        check_made_of(workflow)
        given = workflow.params if isinstance(workflow, Workflow) else (params or {})
        reference = workflow.reference or workflow.name
        return find_or_create(self.engine, run_id, reference, given, create)

    def settle_server(self, durability: str | None, *, allow_eviction: bool) -> ServerFacts:
        """What a new run records about its server: see :meth:`Backend.settle_server`."""
        return self.backend.settle_server(durability, allow_eviction=allow_eviction)

    def on(self, event: str, callback: Callback) -> None:
        """Register a callback for an event of every run that this client leads.

        Args:
            event: one of :data:`distflow.events.vocabulary.EVENTS`.
            callback: called with a notice; if it raises, the error is logged.

        Raises:
            InvalidInput: there is no such event, or the callback is not callable.
        """
        self.engine.hub.on(event, callback)

    def off(self, event: str, callback: Callback) -> None:
        """Unregister a callback: undoes one :meth:`on`."""
        self.engine.hub.off(event, callback)

    def use(self, plugin: Plugin) -> None:
        """Install a plugin for every run that this client leads."""
        self.engine.hub.use(plugin)

    def coordinator(
        self,
        stop: threading.Event,
        *,
        listener: Listener | None = None,
        report: Callable[[str], object] = _log.info,
    ) -> CoordinatorService:
        """A coordinator service: its ``run`` leads every run that nobody leads.

        Args:
            stop: once set, the runs are handed over, and ``run`` returns.
            listener: called with what happens, like callbacks registered here; it must not raise.
            report: called with one line about what the coordinator itself does.
        """
        return CoordinatorService(
            self.backend,
            stop,
            settings=self.settings,
            listener=both(self.engine.hub, listener),
            report=report,
        )

    def coordinators(self) -> list[str]:
        """The coordinators that lead detached runs."""
        return self.backend.coordinators()

    def workers(self) -> list[WorkerInfo]:
        """The registered workers, by name: who they are, where they run, and what each could not
        run of its last batch.
        """
        return self.backend.workers()

    def run(self, run_id: str) -> Run:
        """A run that exists.

        Raises:
            RunNotFound: there is none of this id.
        """
        return find_run(self.engine, run_id)

    def run_ids(self) -> list[str]:
        """Every run id, oldest first."""
        return self.backend.run_ids()
