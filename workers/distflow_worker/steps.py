"""The steps of an attempt at a task, from its claim to its outcome, each with one job.

A step gets the record of the attempt, and stores there what later steps need. It returns the
outcome that ends the attempt, or None: then the next step follows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from distflow.core.claim import ClaimReply, Code, scope_of
from distflow.core.model import MAP_FUNCTION, Ref, Task, TaskResult, class_names
from distflow.core.outcome import Outcome, timed_out
from distflow.core.status import TaskStatus
from distflow.errors import DistflowError, GiveUp, InvalidInput, NotDone, NotOnDisk, RetryAfter
from distflow.faults import commit
from distflow.wire.batch_payload import TaskHeader
from distflow.wire.codec import decode_task, unpack
from distflow_worker.alarm import DeadlinePassed
from distflow_worker.context import RunView, SavedNote, TaskContext, task_context
from distflow_worker.inputs import BatchInputs, fetch_outcomes, fill_arguments
from distflow_worker.user_functions import (
    MISSING,
    Misfit,
    load_function,
    message_of,
    require_function,
    summarise,
    trace_of,
    wants_context,
)

if TYPE_CHECKING:
    # Imported only for growing nodes.
    from distflow_worker.made import Made
    from distflow_worker.sources import Sources

#: By kind of a growing node: what runs it.
_MAP_NODE = "distflow_worker.map_node"
_NODES = {"map": _MAP_NODE, "plan": "distflow_worker.plan_node"}


class ClaimVoid(Exception):
    """The claim was given to another worker, or the run is gone: there is nothing to record."""


class AttemptRecord:
    """What is known about an attempt: its inputs, and what its steps have stored.

    Args:
        view: the run and the process.
        header: the encoded task's header.
        inputs: the results that the batch's tasks get from dependencies.
        position: of the task in the batch.
    """

    def __init__(
        self, view: RunView, header: TaskHeader, inputs: BatchInputs, position: int
    ) -> None:
        self.view = view
        self.header = header
        self.inputs = inputs
        self.position = position
        #: The whole task, once its body was read.
        self._task: Task | None = None
        #: Whether nothing has to be imported or made for the first time before the call.
        self.is_warm = False
        #: The claim; its token is empty until it is granted.
        self.token = ""
        self.claim = ClaimReply(Code.NOT_READY)
        #: Whether the attempt is marked as started: the function may have had effects.
        self.started = False
        self.started_at: float | None = None
        self.ended_at = 0.0
        #: When the function was called, on the monotonic clock; 0 if it was not.
        self.called_at = 0.0
        self.function: Callable[..., Any] | None = None
        self.wants_context = False
        #: The ``ctx`` of the user's code, and the arguments of the function.
        self.context: TaskContext | None = None
        self.arguments: tuple[list[Any], dict[str, Any]] = [], {}
        #: The ``ctx`` for a loop's ``until``; None before the function is called.
        self.looking: TaskContext | None = None
        #: What a map node makes tasks of.
        self.sources: Sources | None = None
        #: What a growing node has made, to be committed with its success.
        self.made: Made | None = None

    @property
    def is_map(self) -> bool:
        """Whether it is a map node, which runs distflow's own code."""
        return self.header.function == MAP_FUNCTION

    def read_body(self, *, opaque: bool = False) -> None:
        """Decode the whole task. With ``opaque``, values of registered types are left encoded; in a
        map node, which passes them on, they always are.
        """
        self._task = decode_task(unpack(self.header.body, opaque=opaque, sealed=self.is_map))

    @property
    def has_body(self) -> bool:
        """Whether the whole task was decoded."""
        return self._task is not None

    @property
    def task(self) -> Task:
        """The task as far as known: little, before its body is read."""
        if self._task is not None:
            return self._task
        header = self.header
        return Task(header.name, header.function, effects=header.effects)

    @property
    def asks_condition(self) -> bool:
        """Whether to call its condition: once for all attempts of a generation."""
        claim = self.claim
        asks = self.task.condition is not None
        return asks and claim.attempt == claim.base + 1 and claim.iteration == 1

    def end(self) -> None:
        """Note when the call ended, computed from its duration, since the clock may have been
        set.
        """
        if self.started_at is not None:
            self.ended_at = self.started_at + time.monotonic() - self.called_at


Act = Callable[[AttemptRecord], Outcome | None]


def task_scope(record: AttemptRecord) -> str:
    """Something is missing for this task alone: its arguments, its inputs."""
    return scope_of("task", record.header.name)


def function_scope(record: AttemptRecord) -> str:
    """Something is missing for all tasks of the function."""
    return scope_of("function", record.header.function)


def context_scope(record: AttemptRecord) -> str:
    """Something is missing for all tasks of the function, if it gets the context."""
    return function_scope(record) if record.wants_context else task_scope(record)


class Step(NamedTuple):
    """A step before the start: whatever it raises, the function was not called.

    ``scope`` returns which tasks this worker cannot run, if the step finds something missing and
    does not say so itself.
    """

    act: Act
    scope: Callable[[AttemptRecord], str] = task_scope


def import_function(record: AttemptRecord) -> None:
    """Import the function, before the body is read: the module may register types that are in
    it.
    """
    if record.is_map:
        return
    reference = record.header.function
    record.function = require_function(reference)
    record.wants_context = wants_context(reference)


def read_body(record: AttemptRecord) -> None:
    """Read the body, unless it was read while the claim was under way."""
    if record.has_body:
        return
    try:
        record.read_body()
    except MISSING as error:
        raise Misfit(f"the arguments of {record.header.name}", error) from error


def import_hooks(record: AttemptRecord) -> None:
    """Import the condition and the loop's ``until``, so that a missing one is found before the
    call.
    """
    task = record.task
    if task.loop:
        require_function(task.loop.until, scope_of("until", task.loop.until))
    if task.condition is not None and record.asks_condition:
        require_function(task.condition, scope_of("condition", task.condition))
    if task.grow and task.grow.key and ":" in task.grow.key:
        require_function(task.grow.key)


def make_context(record: AttemptRecord) -> None:
    """Make the ``ctx``, if any of the user's code takes it."""
    view, task = record.view, record.task
    for_call = (record.wants_context or task.loop) and not view.simulated
    if not (for_call or record.asks_condition):
        return
    note = SavedNote(view.store, task.name, record.token)
    # Results of the batch itself may not be recorded yet.
    fetch = partial(record.inputs.get, position=record.position)
    at = record.claim.attempt, record.claim.iteration
    record.context = task_context(view, task, *at, note, fetch)


def note_process(record: AttemptRecord) -> None:
    """Note the state of the process: changes from here on will be undone."""
    if record.view.state is not None:
        record.view.state.note(again=not record.is_warm)


def ask_condition(record: AttemptRecord) -> Outcome | None:
    """Call the condition; the attempt is over if it says no."""
    condition = record.task.condition
    if condition is None or not record.asks_condition or load_function(condition)(record.context):
        return None
    return Outcome(TaskStatus.SKIPPED, message="its condition was false")


def fill_inputs(record: AttemptRecord) -> Outcome | None:
    """Make the arguments, with each Ref replaced by the result of that dependency. The attempt of a
    map node is over if it has nothing that can be mapped.
    """
    task = record.task
    get = partial(record.inputs.get, position=record.position)
    if record.is_map:
        names = [source.task for source in task.args if type(source) is Ref]
        outcomes = fetch_outcomes(names, get)
        ended: Outcome | None = import_module(_MAP_NODE).read(record, outcomes)
        return ended
    args, kwargs = list(task.args), dict(task.kwargs)
    if task.depends_on:
        args, kwargs = fill_arguments(args, kwargs, get, record.view.store)
    if record.wants_context:
        kwargs["ctx"] = record.context
    record.arguments = args, kwargs
    return None


def start(record: AttemptRecord) -> Outcome | None:
    """Mark that effects may follow. The attempt is over if the run was cancelled in the meantime,
    or if a mark that must be on disk is not.

    Raises:
        ClaimVoid: another worker holds the claim by now.
    """
    view = record.view
    # A copy of the process that a condition has forked ends here.
    view.original.end_copy()
    cancelled = "the run was cancelled before it started"
    # A condition may have taken long; a start that was recorded with the claim does not reflect
    # that.
    if record.asks_condition and view.cancelled():
        return Outcome(TaskStatus.CANCELLED, message=cancelled)
    if not record.started:
        once = record.task.effects == "at_most_once"
        try:
            code = view.store.start_task(record.task.name, record.token, on_disk=once)
        except NotOnDisk as error:
            # A mark that Redis may forget is useless: the function is not called.
            said = str(error), summarise(error)
            return Outcome(TaskStatus.FAILURE, None, *said, not_done=True)
        if code == Code.STOPPED:
            return Outcome(TaskStatus.CANCELLED, message=cancelled)
        if code != Code.GRANTED:
            raise ClaimVoid
        record.started = True
    record.started_at, record.called_at = time.time(), time.monotonic()
    return None


def simulate(record: AttemptRecord) -> Outcome | None:
    """End a dry run here."""
    if not record.view.simulated:
        return None
    record.end()
    return Outcome(TaskStatus.SUCCESS, message="simulated: a dry run")


def call(record: AttemptRecord) -> Outcome:
    """Call the function within its timeout, and return the outcome."""
    with commit("call"):
        return _call(record)


def _call(record: AttemptRecord) -> Outcome:
    task, view = record.task, record.view
    args, kwargs = record.arguments
    record.looking = record.context
    try:
        met = None
        # A copy of the process ends before the deadline block does, since both have the same
        # guardian.
        with view.deadline(task.timeout), view.original:
            if task.grow is not None:
                grown: Outcome = import_module(_NODES[task.grow.kind]).grow(record)
                return grown
            assert record.function is not None, "its import comes first"
            returned = record.function(*args, **kwargs)
            view.original.end_copy()
            if task.loop is not None and task.loop.sees == "data":
                met = bool(load_function(task.loop.until)(record.looking, returned))
        return returned_outcome(returned, met=met)
    except DeadlinePassed:
        return timed_out(task.timeout or 0.0)
    except NotDone as error:
        return raised_outcome(error)._replace(not_done=True)
    except GiveUp as error:
        return raised_outcome(error)._replace(permanent=True)
    except RetryAfter as error:
        return raised_outcome(error)._replace(retry_after=error.seconds)
    except BaseException as error:  # noqa: BLE001 - a task may raise anything, SystemExit too
        return raised_outcome(error)
    finally:
        record.end()


def returned_outcome(returned: Any, *, met: bool | None = None) -> Outcome:
    """The outcome of a function that has returned.

    Raises:
        InvalidInput: it returned a pending TaskResult.
    """
    if isinstance(returned, TaskResult):
        if returned.status == TaskStatus.PENDING:
            raise InvalidInput("TaskResult: a task that has run is not pending")
        data, message, error = returned.data, returned.message, returned.error
        return Outcome(returned.status, data=data, message=message, error=error, met=met)
    return Outcome(TaskStatus.SUCCESS, data=returned, met=met)


def refused_outcome(error: DistflowError) -> Outcome:
    """The outcome of a task that distflow itself refuses to go on with: the error says it all."""
    trace = trace_of(error.__cause__) if error.__cause__ else None
    return Outcome(
        TaskStatus.FAILURE,
        message=message_of(error),
        error=summarise(error),
        traceback=trace,
        permanent=True,
    )


def raised_outcome(error: BaseException) -> Outcome:
    """The outcome of code that has raised; the traceback begins below the caller."""
    return Outcome(
        TaskStatus.FAILURE,
        message=message_of(error) or type(error).__name__,
        error=summarise(error),
        traceback=trace_of(error),
        raised=class_names(type(error)),
    )
