"""Runs on Redis, from Python: :func:`connect`, :class:`Client` and :class:`Run`."""

from __future__ import annotations

import getpass
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from redis import Redis

from distflow.authoring import Workflow, WorkflowTemplate, check_importable
from distflow.codec import decode_result, encode_result
from distflow.coordinator.executor import Signal, WorkflowExecutor
from distflow.coordinator.notices import Listener
from distflow.coordinator.reopen import read_graph
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.graph import Graph
from distflow.core.model import TaskResult
from distflow.core.run import MAX_RESULT_BYTES, RunInfo, RunOptions, RunSpec
from distflow.core.status import ACTIVE_RUNS, ENDED_RUNS, RunStatus, TaskStatus
from distflow.creation import write_run
from distflow.dispatch.rq import RqDispatcher
from distflow.errors import DistflowError, InvalidInput, TaskNotFound, WrongState
from distflow.fingerprint import fingerprint
from distflow.ids import check_run_id, new_origin, new_run_id, new_token
from distflow.ports import Dispatcher
from distflow.snapshot import Snapshot, hydration_outcomes
from distflow.store.connection import check_redis, open_redis
from distflow.store.durability import read_durability
from distflow.store.keys import DEFAULT_PREFIX
from distflow.store.leading import Decision
from distflow.store.redis import RedisRunStore, list_runs

#: Names whose results are read at a time.
_CHUNK = 1000

#: Statuses from which a run goes on only when a person says so.
STANDING = ENDED_RUNS | {RunStatus.PAUSED, RunStatus.INTERRUPTED}


def connect(url: str, *, prefix: str = DEFAULT_PREFIX) -> Client:
    """A client for the runs on a Redis.

    Args:
        url: see :func:`distflow.store.connection.open_redis`.
        prefix: first part of every key, where several installations share a Redis.

    Raises:
        InvalidInput: the URL is not usable.
        RedisUnavailable: the server does not answer.
    """
    redis = open_redis(url)
    check_redis(redis, url)
    return Client(redis, prefix=prefix)


class Client:
    """The runs on one Redis.

    Args:
        redis: a redis-py client whose ``decode_responses`` is off.
        prefix: first part of every key.
        settings: how runs are coordinated.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str = DEFAULT_PREFIX,
        settings: CoordinatorSettings | None = None,
    ) -> None:
        self.redis = redis
        self.prefix = prefix
        self.settings = settings or CoordinatorSettings.from_environment()
        self.dispatcher = RqDispatcher(redis, prefix)
        #: For looking without waiting: it tries once.
        self.impatient_dispatcher = RqDispatcher(redis, prefix, patience_seconds=0.0)

    def store(self, run_id: str, *, patience_seconds: float = 60.0) -> RedisRunStore:
        """The store of a run, whether there is one or not."""
        return RedisRunStore(
            self.redis, run_id, prefix=self.prefix, patience_seconds=patience_seconds
        )

    def create(
        self,
        workflow: WorkflowTemplate | Workflow,
        params: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        snapshot: Snapshot | None = None,
        keep: bool = False,
        concurrency: int | None = None,
        timeout: float | None = None,
        max_result_bytes: int = MAX_RESULT_BYTES,
    ) -> Run:
        """Write a run that nobody leads yet: see :meth:`submit`."""
        if concurrency is not None and concurrency < 1:
            raise InvalidInput(f"concurrency is a count of 1 or more, not {concurrency}")
        if timeout is not None and not timeout > 0:
            raise InvalidInput(f"timeout is seconds, more than 0, not {timeout}")
        built = workflow.build(params)
        check_importable(built)
        graph = built.compile()
        run_id = check_run_id(run_id) if run_id is not None else new_run_id()
        hydration = hydration_outcomes(snapshot, graph, keep=keep) if snapshot else ()
        spec = RunSpec(
            run_id=run_id,
            workflow=built.reference or built.name,
            params=built.params,
            origin=(snapshot.origin if snapshot else None) or new_origin(),
            options=RunOptions(concurrency, timeout, built.context, max_result_bytes),
            durability=read_durability(self.redis),
        )
        write_run(self.store(run_id), spec, graph, hydration)
        return self.run(run_id)

    def submit(  # noqa: PLR0913 - the options of a run, by name
        self,
        workflow: WorkflowTemplate | Workflow,
        params: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        snapshot: Snapshot | None = None,
        *,
        detach: bool = False,
        keep: bool = False,
        concurrency: int | None = None,
        timeout: float | None = None,
        max_result_bytes: int = MAX_RESULT_BYTES,
        listener: Listener | None = None,
    ) -> Run:
        """Create a run and coordinate it on a thread of this process.

        Args:
            workflow: what ``@workflow`` made, or a Workflow.
            params: of the run, by name.
            run_id: 1 to 100 letters, digits, ``_`` or ``-``; None makes one.
            snapshot: what is known to be done: it never runs again.
            detach: leave the run to whoever leads it later.
            keep: take the snapshot's outcomes although a task has changed since.
            concurrency: tasks that may run at once.
            timeout: seconds after which the run is cancelled.
            max_result_bytes: of one encoded result.
            listener: told what happens to the run, on its thread.

        Raises:
            InvalidInput: the workflow, the parameters, the snapshot or the id cannot be used;
                nothing was written.
        """
        run = self.create(
            workflow,
            params,
            run_id=run_id,
            snapshot=snapshot,
            keep=keep,
            concurrency=concurrency,
            timeout=timeout,
            max_result_bytes=max_result_bytes,
        )
        if not detach:
            run.lead_in_background(reopen=False, listener=listener)
        return run

    def run(self, run_id: str) -> Run:
        """A run that exists.

        Raises:
            RunNotFound: there is none of this id.
        """
        run = Run(self, check_run_id(run_id))
        run.store.read_status()
        return run

    def run_ids(self) -> list[str]:
        """Every run id, oldest first."""
        return list_runs(self.redis, self.prefix)


class Run:
    """One run on Redis."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.store = client.store(run_id)
        self._graph: Graph | None = None
        self._leader: threading.Thread | None = None
        self._failed: DistflowError | None = None

    def __repr__(self) -> str:
        return f"<Run {self.run_id}>"

    # Reading

    def info(self) -> RunInfo:
        """The run in short."""
        return self.store.read_info()

    def status(self) -> RunStatus:
        """Where the run stands."""
        return self.store.read_status()

    def graph(self) -> Graph:
        """The run's frozen graph."""
        if self._graph is None:
            self._graph = read_graph(self.store)
        return self._graph

    def results(self) -> dict[str, TaskResult]:
        """The outcomes so far, in the graph's order."""
        return dict(Snapshot.from_packed(self._read_outcomes()))

    def snapshot(self) -> Snapshot:
        """What is known to be done, decoded as it is read."""
        packed = self._read_outcomes()
        marks = {task.name: fingerprint(task) for task in self.graph().tasks if task.name in packed}
        return Snapshot.from_packed(packed, origin=self.info().origin, fingerprints=marks)

    def _read_outcomes(self) -> dict[str, bytes]:
        """The outcomes, in the graph's order. They are read dependents first: what an outcome
        rests on is then there as well, while the run goes on.
        """
        graph = self.graph()
        packed: dict[str, bytes] = {}
        names = [graph.tasks[index].name for index in reversed(graph.order)]
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            found = self.store.read_results(chunk)
            packed.update(
                (name, value) for name, value in zip(chunk, found, strict=True) if value is not None
            )
        return {task.name: packed[task.name] for task in graph.tasks if task.name in packed}

    def check_task(self, task: str) -> None:
        """Raise TaskNotFound where the run has no such task."""
        if task not in self.graph().index:
            raise TaskNotFound(f"run {self.run_id} has no task {task!r}")

    # Leading

    def executor(
        self,
        *,
        listener: Listener | None = None,
        interrupt: threading.Event | None = None,
        cancel: Signal | None = None,
        dispatcher: Dispatcher | None = None,
    ) -> WorkflowExecutor:
        """What leads this run, when its ``lead`` is called."""
        return WorkflowExecutor(
            self.store,
            dispatcher or self.client.dispatcher,
            settings=self.client.settings,
            listener=listener,
            interrupt=interrupt,
            cancel=cancel,
            lease_store=self.client.store(self.run_id, patience_seconds=0.0),
        )

    def lead_in_background(self, *, reopen: bool, listener: Listener | None = None) -> None:
        """Lead the run on a thread of this process; :meth:`wait` tells how it ended."""
        executor = self.executor(listener=listener)

        def lead() -> None:
            try:
                executor.lead(reopen=reopen)
            except DistflowError as error:
                self._failed = error

        self._failed = None
        self._leader = threading.Thread(target=lead, name=f"distflow-{self.run_id}", daemon=True)
        self._leader.start()

    def wait(self, timeout: float | None = None) -> RunStatus:
        """Wait until the run ends or stands still, and return its status.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            TimeoutError: it goes on still.
            WrongState: nobody leads it, so that nothing will happen.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = self.client.settings.lease_seconds
        unled_since: float | None = None
        while True:
            info = self.info()
            now = time.monotonic()
            ours = self._leader is not None and self._leader.is_alive()
            if info.status in STANDING and not ours:
                return info.status
            if self._failed is not None:
                raise self._failed
            if info.coordinator is not None or ours:
                unled_since = None
            elif unled_since is None:
                unled_since = now
            elif now - unled_since > patience:
                raise WrongState(
                    f"nobody coordinates run {self.run_id}: go on with it by "
                    f"`distflow resume {self.run_id}`"
                )
            if deadline is not None and now >= deadline:
                raise TimeoutError(f"run {self.run_id} is still {info.status}")
            if ours and self._leader is not None:
                left = 1.0 if deadline is None else max(0.0, deadline - now)
                self._leader.join(timeout=min(1.0, left))
            else:
                time.sleep(0.1)

    # Deciding

    def pause(self) -> None:
        """Start nothing more until it is resumed; what runs ends normally."""
        self.store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})

    def resume(self) -> None:
        """Go on: unpause a run that is being led, else reopen it and lead it on a thread."""
        info = self.info()
        if info.coordinator is None:
            self.lead_in_background(reopen=True)
        else:
            self.unpause()

    def unpause(self) -> bool:
        """Let a paused run go on under its coordinator; False where it is not paused."""
        # Asked first: the move itself is answered alike where it was made before.
        if self.status() != RunStatus.PAUSED:
            return False
        try:
            self.store.set_status(RunStatus.RUNNING, {RunStatus.PAUSED})
        except WrongState:
            return False
        return True

    def cancel(self, reason: str | None = None) -> None:
        """Start nothing more, and stop what runs. Whoever leads the run does it.

        Raises:
            WrongState: it has ended.
        """
        allowed = ACTIVE_RUNS | {RunStatus.PAUSED, RunStatus.INTERRUPTED, RunStatus.BLOCKED}
        self.store.set_status(
            RunStatus.CANCELLING, allowed, reason=reason or f"cancelled by {who_am_i()}"
        )

    def resolve(
        self, task: str, decision: Decision, data: Any = None, *, note: str = ""
    ) -> TaskStatus:
        """Decide an ``unknown`` task.

        Args:
            task: its name.
            decision: ``done`` (with its ``data``), ``fail``, or ``retry`` to run it again.
            data: what the function would have returned.
            note: for the history.

        Returns:
            The task's status from now on.

        Raises:
            TaskNotFound: the run has no such task.
            WrongState: the task is not unknown.
        """
        self.check_task(task)
        who = who_am_i()
        packed = b""
        if decision != "retry":
            before = self.store.read_results([task])[0]
            attempt = decode_result(before, opaque=True).attempt if before else 0
            result = TaskResult(
                TaskStatus.SUCCESS if decision == "done" else TaskStatus.FAILURE,
                message=f"resolved by {who}" + (f": {note}" if note else ""),
                error=None if decision == "done" else "resolved as failed",
                data=data if decision == "done" else None,
                attempt=attempt,
                started=decision == "fail",
            )
            packed = encode_result(result)
        return self.store.resolve_task(new_token(), task, decision, packed, who, note)


def who_am_i() -> str:
    """``user@host``, for the history."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "?"
    return f"{user}@{socket.gethostname()}"
