"""One attempt at a task, after its claim: inputs -> condition -> start -> call -> decide."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from socket import gethostname
from typing import TYPE_CHECKING, Any, NamedTuple

from distflow.core.claim import NAMELESS, Code, Finish, ScopeKind, WorkerFacts, scope_of
from distflow.core.model import Metrics, Task, TaskResult, class_names
from distflow.core.outcome import (
    Attempt,
    Decision,
    Outcome,
    decide,
    is_unmet,
    timed_out,
    to_finish,
)
from distflow.core.status import TaskStatus
from distflow.errors import GiveUp, InvalidInput, NotDone, NotEncodable, NotOnDisk, RetryAfter
from distflow.faults import commit
from distflow.ids import task_key
from distflow.wire.batch_payload import TaskHeader
from distflow.wire.codec import decode_result, decode_task, encode_result, unpack
from distflow_worker.context import SavedNote, TaskContext
from distflow_worker.deadline import DeadlinePassed
from distflow_worker.finish_buffer import Held
from distflow_worker.functions import load_function, wants_context
from distflow_worker.inputs import BatchInputs, fill_arguments
from distflow_worker.misfit import (
    MISSING,
    Misfit,
    message_of,
    require_function,
    summarise,
    trace_of,
)
from distflow_worker.process import Original, ProcessState

if TYPE_CHECKING:
    # The ports bring the coordinator's dataclasses: too dear for every job's import.
    from distflow.ports.worker import WorkerPort


class RunView(NamedTuple):
    """What an attempt needs to know of its run and of the process it is in."""

    store: WorkerPort
    worker: str
    origin: str
    params: Any
    #: Gives the context of the run in this process.
    context: Callable[[], Any]
    max_result_bytes: int
    cancelled: Callable[[], bool]
    stopping: Callable[[], bool]
    #: Guards a call that may take so many seconds, or any time; may raise DeadlinePassed in it.
    deadline: Callable[[float | None], AbstractContextManager[object]]
    #: This process.
    original: Original
    #: What its tasks may change of it, where they have it to themselves, one after another.
    state: ProcessState | None = None
    #: Which worker it is, for what it cannot run.
    facts: WorkerFacts = NAMELESS
    #: Whether this is a dry run: conditions are asked, and functions are not called.
    simulated: bool = False


class ClaimVoid(Exception):
    """The claim was given to another, or the run is gone: there is nothing to finish."""


class AttemptRun:
    """An attempt at a task: the record that the steps pass on.

    Args:
        view: the run and the process.
        header: the task as it travels.
        inputs: what the batch's tasks get from their dependencies.
        position: of the task in the batch.
    """

    def __init__(
        self,
        view: RunView,
        header: TaskHeader,
        inputs: BatchInputs,
        position: int,
    ) -> None:
        self.view = view
        self._header = header
        self._inputs = inputs
        self.position = position
        self._task: Task | None = None
        #: Whether nothing that is imported or made for the first time comes before its call.
        self._is_warm = False
        #: Whether the attempt is marked as started: the function may have had effects.
        self.started = False
        self.started_at: float | None = None
        self.ended_at = 0.0
        #: When the function was called, on the monotonic clock; 0 where it was not.
        self.called_at = 0.0
        #: What ``until`` of a loop is called with; None before the function is.
        self._looking: TaskContext | None = None

    @property
    def task(self) -> Task:
        """What is known of the task: little, before its body is read."""
        if self._task is not None:
            return self._task
        header = self._header
        return Task(header.name, header.function, effects=header.effects)

    def prepare(self) -> None:
        """Read the body ahead of the claim, for a function that is imported already; what fails
        fails again, and is told, when the task runs.
        """
        with self.view.original, suppress(Exception):
            self.read_body()
            self._is_warm = not (self.task.condition or self.task.loop)

    def read_body(self, *, opaque: bool = False) -> None:
        """From now on all is known of the task; values of registered types are left as they are
        where ``opaque``.
        """
        self._task = decode_task(unpack(self._header.body, opaque=opaque))

    def take(self, held: Held) -> None:
        """The claim that was granted."""
        self.token, self.claim, self.started = held

    def run(self) -> Outcome:
        """Run the task, and return what was seen; :meth:`finish` says what it means.

        Raises:
            ClaimVoid: the claim was lost before the function was called.
            Misfit: something is missing here that comes before the start; nothing was called.
        """
        try:
            with self.view.original:
                return self._run()
        finally:
            if self.view.state is not None:
                self.view.state.restore()

    def _run(self) -> Outcome:
        # Of which tasks it is true that this worker cannot run them.
        scope: tuple[ScopeKind, str] = "function", self._header.function
        own: tuple[ScopeKind, str] = "task", self._header.name
        try:
            # The import comes before the body: the module may register types that are in it.
            function = require_function(self._header.function)
            wanted = wants_context(self._header.function)
            if self._task is None:
                scope = own
                self._require_body()
            task = self.task
            if task.loop:
                # What cannot be asked afterwards is missing before the function is called.
                require_function(task.loop.until, scope_of("until", task.loop.until))
            asked = self._asks_condition()
            if asked and task.condition is not None:
                require_function(task.condition, scope_of("condition", task.condition))
            scope = ("function", task.function) if wanted else own
            called = not self.view.simulated
            context = self._context() if asked or ((wanted or task.loop) and called) else None
            scope = own
            if self.view.state is not None:
                self.view.state.note(again=not self._is_warm)
            if asked and not self._condition_holds(context):
                return Outcome(TaskStatus.SKIPPED, message="its condition was false")
            args, kwargs = list(task.args), dict(task.kwargs)
            if task.depends_on:
                get = partial(self._inputs.get, position=self.position)
                args, kwargs = fill_arguments(args, kwargs, get)
            if wanted:
                kwargs["ctx"] = context
        except Misfit as misfit:
            misfit.scope = misfit.scope or scope_of(*scope)
            raise
        except BaseException as error:  # noqa: BLE001 - the user's imports and condition raise anything
            return _raised(error)._replace(permanent=True)
        self.view.original.end_copy()
        try:
            # A condition may have taken long; a start that rode with the claim knows nothing of it.
            begun = not (asked and self.view.cancelled()) and self._start()
        except NotOnDisk as error:
            # A mark that Redis may forget marks nothing: the function is not called.
            return Outcome(
                TaskStatus.FAILURE, message=str(error), error=summarise(error), not_done=True
            )
        if not begun:
            return Outcome(TaskStatus.CANCELLED, message="the run was cancelled before it started")
        if self.view.simulated:
            self.end()
            return Outcome(TaskStatus.SUCCESS, message="simulated: a dry run")
        self._looking = context
        with commit("call"):
            outcome = self._call(task, function, args, kwargs)
        return self.ask_loop(outcome, self.view.deadline)

    def _require_body(self) -> None:
        try:
            self.read_body()
        except MISSING as error:
            raise Misfit(f"the arguments of {self._header.name}", error) from error

    def _context(self) -> TaskContext:
        note = SavedNote(self.view.store, self.task.name, self.token)
        at = self.claim.attempt, self.claim.iteration
        # What the batch has made itself may not be recorded yet.
        fetch = partial(self._inputs.get, position=self.position)
        return task_context(self.view, self.task, *at, note, fetch)

    def _asks_condition(self) -> bool:
        first = self.claim.attempt == self.claim.base + 1 and self.claim.iteration == 1
        return self.task.condition is not None and first

    def _condition_holds(self, context: TaskContext | None) -> bool:
        condition = self.task.condition
        return condition is None or bool(load_function(condition)(context))

    def _start(self) -> bool:
        """Mark that effects may follow; False where the run was cancelled in the meantime."""
        if not self.started:
            once = self.task.effects == "at_most_once"
            code = self.view.store.start_task(self.task.name, self.token, on_disk=once)
            if code == Code.STOPPED:
                return False
            if code != Code.GRANTED:
                raise ClaimVoid
            self.started = True
        self.started_at, self.called_at = time.time(), time.monotonic()
        return True

    def end(self) -> None:
        """Note when the call ended: by how long it took, since the clock may have been set."""
        if self.started_at is not None:
            self.ended_at = self.started_at + time.monotonic() - self.called_at

    def _call(
        self,
        task: Task,
        function: Callable[..., Any],
        args: list[Any],
        kwargs: dict[str, Any],
    ) -> Outcome:
        try:
            met = None
            # A copy ends before the deadline does, whose guardian is that of both.
            with self.view.deadline(task.timeout), self.view.original:
                returned = function(*args, **kwargs)
                self.view.original.end_copy()
                if task.loop is not None and task.loop.sees == "data":
                    met = bool(load_function(task.loop.until)(self._looking, returned))
            return _returned(returned, met=met)
        except DeadlinePassed:
            return timed_out(task.timeout or 0.0)
        except NotDone as error:
            return _raised(error)._replace(not_done=True)
        except GiveUp as error:
            return _raised(error)._replace(permanent=True)
        except RetryAfter as error:
            return _raised(error)._replace(retry_after=error.seconds)
        except BaseException as error:  # noqa: BLE001 - a task may raise anything, SystemExit too
            return _raised(error)
        finally:
            self.end()

    def ask_loop(
        self,
        outcome: Outcome,
        deadline: Callable[[float | None], AbstractContextManager[object]],
    ) -> Outcome:
        """The outcome with what ``until`` of its loop says of it, where that is to be asked.

        One that takes too long has not answered; one that raises ends the loop by that failure.
        """
        loop, context, self._looking = self.task.loop, self._looking, None
        if loop is None or loop.sees == "data" or context is None:
            return outcome
        decision = self._decide(outcome._replace(met=True))
        if decision.kind == "wait" or not is_unmet(self.task, outcome):
            return outcome
        try:
            with deadline(self.task.timeout), self.view.original:
                met = load_function(loop.until)(context, decision.result)
            return outcome._replace(met=bool(met))
        except DeadlinePassed:
            return timed_out(self.task.timeout or 0.0)
        except BaseException as error:  # noqa: BLE001 - the user's code raises anything
            return _raised(error)._replace(met=True, timed_out=outcome.timed_out)

    def _decide(self, outcome: Outcome) -> Decision:
        claim = self.claim
        at = Attempt(claim.attempt, claim.iteration, claim.base, claim.lost, self.started)
        metrics = None
        if self.started_at is not None:
            duration = self.ended_at - self.started_at
            metrics = Metrics(self.started_at, self.ended_at, duration)
        where = {"worker": self.view.worker, "host": gethostname()}
        return decide(self.task, at, outcome, metrics=metrics, roll=random.random(), **where)

    def finish(self, outcome: Outcome) -> Finish:
        """Decide what the outcome means, and encode it.

        Raises:
            NotEncodable: it cannot even be told that its data cannot be encoded: the task has
                broken what this process encodes with.
        """
        decision = self._decide(outcome)
        try:
            packed = self._encode(decision)
        except NotEncodable as error:
            # It ran, and its data have no place: another try would bring the same.
            said = str(error), summarise(error)
            outcome = Outcome(TaskStatus.FAILURE, None, *said, permanent=True)
            decision = self._decide(outcome)
            packed = self._encode(decision)
        return to_finish(decision, self.task, self.token, packed)

    def _encode(self, decision: Decision) -> bytes:
        try:
            with self.view.original:
                return encode_result(decision.result, self.view.max_result_bytes)
        except NotEncodable:
            raise
        except Exception as strange:
            # The data's own methods raise anything.
            raise NotEncodable(f"data: encoding it raised {summarise(strange)}") from strange


def task_context(
    view: RunView,
    task: Task,
    attempt: int,
    iteration: int,
    note: SavedNote,
    fetch: Callable[[Sequence[str]], list[bytes | None]],
) -> TaskContext:
    """What the user's code sees of a task; ``fetch`` reads the results of its dependencies.

    Raises:
        Exception: whatever the workflow's context factory raises.
    """

    def result_of(name: str) -> TaskResult:
        if name not in task.depends_on:
            raise KeyError(f"task {task.name!r} does not depend on {name!r}")
        packed = fetch([name])[0]
        if packed is None:
            raise KeyError(f"{name!r} has no result")
        return decode_result(packed)

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
        note=note,
    )


def peek_function(body: bytes) -> str:
    """The function's name, without the arguments, which may need its module to be read."""
    name: str = unpack(body, opaque=True)["function"]
    return name


def _returned(returned: Any, *, met: bool | None) -> Outcome:
    if isinstance(returned, TaskResult):
        if returned.status == TaskStatus.PENDING:
            raise InvalidInput("TaskResult: a task that has run is not pending")
        data, message, error = returned.data, returned.message, returned.error
        return Outcome(returned.status, data=data, message=message, error=error, met=met)
    return Outcome(TaskStatus.SUCCESS, data=returned, met=met)


def _raised(error: BaseException) -> Outcome:
    return Outcome(
        TaskStatus.FAILURE,
        message=message_of(error) or type(error).__name__,
        error=summarise(error),
        traceback=trace_of(error),
        raised=class_names(type(error)),
    )
