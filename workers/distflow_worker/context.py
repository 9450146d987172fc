"""What an attempt knows about its run, and what the task's function sees of it: ``ctx``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from distflow.core.claim import NAMELESS, Code, WorkerFacts
from distflow.core.model import Expanded, Task, TaskResult
from distflow.errors import ClaimLost, DistflowError, Incomplete, NotEncodable
from distflow.ids import task_key
from distflow.wire.codec import decode_result, pack, unpack
from distflow_worker.inputs import GATHERING
from distflow_worker.process import Original, ProcessState
from distflow_worker.user_functions import require_function, wants_snapshot

if TYPE_CHECKING:
    # The ports import the coordinator's dataclasses: too expensive for every job.
    from distflow.ports.worker import WorkerPort


#: Most encoded bytes for ``ctx.save``: it is for a handle, not for the thing itself.
MAX_NOTE_BYTES = 64 * 1024


class RunView(NamedTuple):
    """What an attempt needs to know about its run and its process."""

    store: WorkerPort
    worker: str
    origin: str
    params: Any
    #: Returns the context of the run in this process.
    context: Callable[[], Any]
    max_result_bytes: int
    cancelled: Callable[[], bool]
    stopping: Callable[[], bool]
    #: Guards a call that may take this many seconds, None for no limit; may raise DeadlinePassed in
    #: it.
    deadline: Callable[[float | None], AbstractContextManager[object]]
    #: This process.
    original: Original
    #: The state of the process that tasks may change, if they run in it one after another.
    state: ProcessState | None = None
    #: Identifies the worker in refusals.
    facts: WorkerFacts = NAMELESS
    #: Whether this is a dry run: conditions are called, functions are not.
    simulated: bool = False
    #: ``"pkg.module:name"`` of the run's context factory; empty if it has none.
    factory: str = ""


class SavedNote:
    """What the attempts at a task have saved; read on first use.

    Args:
        store: the run.
        task: the task.
        token: of the claim that may save; None if nobody may.
    """

    __slots__ = ("_packed", "_store", "_task", "_token")

    def __init__(self, store: WorkerPort, task: str, token: str | None = None) -> None:
        self._store = store
        self._task = task
        self._token = token
        #: None: not read yet; empty: nothing was saved.
        self._packed: bytes | None = None

    def load(self) -> Any:
        """What was last saved; None if nothing was."""
        if self._packed is None:
            self._packed = self._store.fetch_note(self._task) or b""
        return unpack(self._packed) if self._packed else None

    def save(self, handle: Any) -> None:
        """See :meth:`TaskContext.save`."""
        if self._token is None:
            raise DistflowError("ctx.save: a verify hook saves nothing, it reads ctx.saved")
        try:
            packed = pack(handle)
        except NotEncodable as error:
            raise NotEncodable(f"ctx.save: {error}") from None
        if len(packed) > MAX_NOTE_BYTES:
            raise NotEncodable(
                f"ctx.save: {len(packed):,} bytes encoded, more than {MAX_NOTE_BYTES:,}; save "
                "where it is to be found"
            )
        if self._store.save_note(self._task, self._token, packed) != Code.OK:
            raise ClaimLost(
                f"ctx.save: task {self._task!r} was given to another worker, or has ended: "
                "this attempt counts no more"
            )
        self._packed = packed


class TaskContext:
    """Given to a function, condition or ``until`` that has a parameter named ``ctx``.

    Attributes:
        run_id: the run.
        task: the task's name.
        attempt: the number of this attempt, from 1, counted through all resumes.
        iteration: the number of the loop's iteration, from 1.
        key: an idempotency key for calls to other systems: the same over attempts, resumes, export
            and import, and different for every task of every original run.
        params: the run's parameters.
        context: what the workflow's context factory returned, or None.
    """

    __slots__ = (
        "_cancelled",
        "_note",
        "_result_of",
        "_results_of",
        "_stopping",
        "attempt",
        "context",
        "iteration",
        "key",
        "params",
        "run_id",
        "task",
    )

    def __init__(  # noqa: PLR0913 - one per attribute
        self,
        *,
        run_id: str,
        task: str,
        attempt: int,
        iteration: int,
        key: str,
        params: Mapping[str, Any],
        context: Any,
        cancelled: Callable[[], bool],
        stopping: Callable[[], bool],
        result_of: Callable[[str], TaskResult],
        results_of: Callable[[str], list[TaskResult]],
        note: SavedNote,
    ) -> None:
        self.run_id = run_id
        self.task = task
        self.attempt = attempt
        self.iteration = iteration
        self.key = key
        self.params = params
        self.context = context
        self._cancelled = cancelled
        self._stopping = stopping
        self._result_of = result_of
        self._results_of = results_of
        self._note = note

    @property
    def cancelled(self) -> bool:
        """Whether the task should stop: its run is being cancelled. At most a second old."""
        return self._cancelled()

    @property
    def stopping(self) -> bool:
        """Whether the task should end soon: its worker was told to stop, or its run is
        paused, interrupted or being cancelled. At most two seconds old.

        Only a cancellation is enforced: a worker waits for its current task.
        """
        return self._stopping()

    @property
    def saved(self) -> Any:
        """What was last passed to :meth:`save`, in this attempt or an earlier one; None if nothing
        was.
        """
        return self._note.load()

    def save(self, handle: Any) -> None:
        """Save a small note about this attempt, such as the id of a job that it started elsewhere.

        Once this returns, the note survives the death of the worker: later attempts at the task and
        its verify hook read it as :attr:`saved`.

        Args:
            handle: anything that a result may contain, at most 64 KiB encoded.

        Raises:
            NotEncodable: it cannot be encoded, or is too large.
            ClaimLost: the task was given to another worker meanwhile.
        """
        self._note.save(handle)

    def result_of(self, name: str) -> TaskResult:
        """The TaskResult of a direct dependency. The data of a mapped task are the list of all
        results, and those of a plan what it returned.

        Raises:
            KeyError: the task does not depend on it.
            Incomplete: it is a mapped task or plan, and one of its tasks has no result.
        """
        return self._result_of(name)

    def results_of(self, node: str) -> list[TaskResult]:
        """The TaskResults of all tasks that a mapped task or plan has made, in order: tolerated
        failures, too.

        Raises:
            KeyError: the task does not depend on it, or it has made no tasks.
            Incomplete: one of its tasks has no result, or a failure that is not tolerated.
        """
        return self._results_of(node)


def task_context(
    view: RunView,
    task: Task,
    attempt: int,
    iteration: int,
    note: SavedNote,
    fetch: Callable[[Sequence[str]], list[bytes | None]],
) -> TaskContext:
    """Make the ``ctx`` of a task; ``fetch`` reads the results of its dependencies.

    Raises:
        Exception: whatever the workflow's context factory raises.
    """

    def find(name: str) -> bytes:
        if name not in task.depends_on:
            raise KeyError(f"task {task.name!r} does not depend on {name!r}")
        packed = fetch([name])[0]
        if packed is None:
            raise KeyError(f"{name!r} has no result")
        return packed

    def result_of(name: str) -> TaskResult:
        packed = find(name)
        result = decode_result(packed)
        return _gather(name, packed, view.store) if type(result.data) is Expanded else result

    def results_of(name: str) -> list[TaskResult]:
        found: list[TaskResult] = import_module(GATHERING).gather_results(
            name, find(name), view.store
        )
        return found

    return TaskContext(
        run_id=view.store.run_id,
        task=task.name,
        attempt=attempt,
        iteration=iteration,
        key=task_key(view.origin, task.name),
        params=view.params,
        context=view.context(),
        cancelled=view.cancelled,
        stopping=view.stopping,
        result_of=result_of,
        results_of=results_of,
        note=note,
    )


def _gather(name: str, packed: bytes, store: WorkerPort) -> TaskResult:
    result: TaskResult = import_module(GATHERING).gather_result(name, packed, store)
    return result


class RecordedResults(Mapping[str, TaskResult]):
    """The present outcomes of a run, by task; each is read when it is accessed. The data of a
    mapped task or plan is an Expanded until all of its tasks have ended.

    Args:
        store: the run.
    """

    __slots__ = ("_store",)

    def __init__(self, store: WorkerPort) -> None:
        self._store = store

    def __getitem__(self, name: str) -> TaskResult:
        packed = self._store.fetch_results([name])[0]
        if packed is None:
            raise KeyError(name)
        result = decode_result(packed)
        if type(result.data) is Expanded:
            with suppress(Incomplete):
                return _gather(name, packed, self._store)
        return result

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.list_results())

    def __len__(self) -> int:
        return len(self._store.list_results())

    def __repr__(self) -> str:
        return f"<RecordedResults of run {self._store.run_id}>"


#: The contexts of this process by the key of their run, each with the epoch it was made in.
_contexts: dict[str, tuple[int, Any]] = {}


def run_context(factory: str, params: Any, results: RecordedResults, run: str, epoch: int) -> Any:
    """The context of a run in this process; None if ``factory`` is empty.

    Args:
        factory: see :func:`make_context`; called once per run, epoch and process.
        params: of the run.
        results: of the run.
        run: the key of the run in Redis.
        epoch: of its coordinator. A resume makes a new context; so does another run with the name
            of a deleted one.

    Raises:
        Misfit: the factory cannot be imported here.
        Exception: whatever it raises.
    """
    if not factory:
        return None
    made_in, context = _contexts.get(run, (None, None))
    if made_in != epoch:
        context = make_context(factory, params, results)
        _contexts[run] = epoch, context
    return context


def make_context(factory: str, params: Any, results: RecordedResults) -> Any:
    """Call ``"pkg.module:factory"`` as ``factory(params)`` or ``factory(params, snapshot)``.

    Raises:
        Misfit: it cannot be imported here.
        Exception: whatever it raises.
    """
    function = require_function(factory)
    return function(params, results) if wants_snapshot(factory) else function(params)
