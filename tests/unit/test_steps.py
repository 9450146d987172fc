"""Each step of an attempt by itself: what it finds, leaves behind, and ends the attempt with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from distflow.core.claim import ClaimReply, Code, Finish
from distflow.core.model import Loop, Ref, Task, TaskResult
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import GiveUp, InvalidInput, NotDone, NotOnDisk, RetryAfter
from distflow.store.memory.store import MemoryRunStore
from distflow.wire.batch_payload import TaskHeader
from distflow.wire.codec import encode_task, pack
from distflow_worker import steps
from distflow_worker.alarm import DeadlinePassed
from distflow_worker.attempt import BEFORE_START, FROM_START, AttemptRun
from distflow_worker.context import RunView
from distflow_worker.finish_buffer import Held
from distflow_worker.inputs import BatchInputs
from distflow_worker.process import Original, ProcessState
from distflow_worker.steps import AttemptRecord, ClaimVoid
from distflow_worker.user_functions import Misfit
from tests.support.stores import claim, open_run, outcome
from tests.support.tasks import scripted

SCRIPTED = "tests.support.tasks.scripted"


@pytest.fixture(autouse=True)
def script() -> Iterator[None]:
    """Nothing is scripted, and nothing was called."""
    scripted.CALLED.clear()
    scripted.ACTS.clear()
    yield
    scripted.ACTS.clear()


def record(task: Task, *, known: dict[str, bytes] | None = None, **view: Any) -> AttemptRun:
    """An attempt at a task of a run in memory, whose claim was granted."""
    store = MemoryRunStore("run-1")
    epoch = open_run(store, task.name)
    reply = claim(store, epoch, task.name, "t1", start=False)
    given: dict[str, Any] = {
        "store": store,
        "worker": "w1",
        "origin": "0123",
        "params": {},
        "context": lambda: None,
        "max_result_bytes": 1000,
        "cancelled": lambda: False,
        "stopping": lambda: False,
        "deadline": lambda _seconds: nullcontext(),
        "original": Original(),
        **view,
    }
    results = known or {}
    inputs = BatchInputs(lambda names: [results.get(name) for name in names], [])
    header = TaskHeader(
        task.name, task.function, task.effects, (), pack(encode_task(task)), task.timeout
    )
    made = AttemptRun(RunView(**given), header, inputs, 0)
    made.take(Held("t1", reply, started=False))
    return made


def task(function: str = "act", **fields: Any) -> Task:
    """One that does what a test says."""
    return Task("a", f"{SCRIPTED}:{function}", **fields)


def read(task: Task, **view: Any) -> AttemptRun:
    """An attempt whose function was imported, and whose body was read."""
    made = record(task, **view)
    steps.import_function(made)
    steps.read_body(made)
    return made


def test_the_list() -> None:
    """In this order: what may raise or be missing comes before the mark that effects may follow."""
    names = [step.act.__name__ for step in BEFORE_START] + [act.__name__ for act in FROM_START]
    assert names == [
        *("import_function", "read_body", "import_hooks", "make_context", "note_process"),
        *("ask_condition", "fill_inputs", "start", "simulate", "call"),
    ]


def test_a_fresh_attempt_answers_every_question() -> None:
    """Little is known of its task, and nothing has happened."""
    known = record(task())
    made = AttemptRecord(known.view, known.header, known.inputs, 0)
    assert (made.task.name, made.token, made.started, made.function) == ("a", "", False, None)
    assert made.claim.code == Code.NOT_READY


def test_import_function() -> None:
    """It is there, and whether it wants the context; one that is not there says of which tasks."""
    made = record(task())
    steps.import_function(made)
    assert made.function is scripted.act
    assert made.wants_context
    missing = record(Task("a", "no.such.module:f"))
    with pytest.raises(Misfit) as found:
        missing.run()
    assert found.value.scope == "function no.such.module:f"


def test_read_body() -> None:
    """Once; what cannot be read is missing for this task alone."""
    made = record(task(args=(1,)))
    steps.read_body(made)
    assert made.task.args == (1,)
    known = made.task
    steps.read_body(made)
    assert made.task is known
    broken = record(task())
    broken.header = broken.header._replace(body=b"\xc1")
    with pytest.raises(Misfit, match="the arguments of a") as found:
        broken.run()
    assert found.value.scope == "task a"


@pytest.mark.parametrize("hook", ["until", "condition"])
def test_import_hooks(hook: str) -> None:
    """What is asked later is missing before the call; of later tries no condition is asked."""
    name = "no.such.module:f"
    fields = {"loop": Loop(name, 3)} if hook == "until" else {"condition": name}
    made = read(task(**fields))
    with pytest.raises(Misfit) as found:
        steps.import_hooks(made)
    assert found.value.scope == f"{hook} {name}"
    made.claim = made.claim._replace(attempt=2)
    if hook == "condition":
        steps.import_hooks(made)


def test_make_context() -> None:
    """Where somebody is to be called with it, and for a dry run only for a condition."""
    plain = read(Task("a", "math:gcd"))
    steps.make_context(plain)
    assert plain.context is None
    for simulated in (False, True):
        made = read(task(), simulated=simulated)
        steps.make_context(made)
        assert (made.context is None) == simulated
    asked = read(task(condition=f"{SCRIPTED}:act"), simulated=True)
    steps.make_context(asked)
    assert asked.context is not None
    assert (asked.context.attempt, asked.context.iteration) == (1, 1)


def test_note_process() -> None:
    """What changes from here on is undone at the end."""
    state = ProcessState()
    before = os.umask(0o022)
    try:
        made = record(task(), state=state)
        scripted.ACTS["a"] = lambda: os.umask(0o077)
        steps.note_process(made)
        os.umask(0o077)
        state.restore()
        assert os.umask(0o022) == 0o022
    finally:
        state.close()
        os.umask(before)


@pytest.mark.parametrize(("says", "ends"), [(True, False), (False, True)])
def test_ask_condition(says: bool, ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A no is the end of the attempt; later tries do not ask."""
    monkeypatch.setattr(steps, "load_function", lambda _name: lambda _context: says)
    made = read(task(condition="m:f"))
    found = steps.ask_condition(made)
    assert (found is not None and found.status == TaskStatus.SKIPPED) == ends
    made.claim = made.claim._replace(attempt=2)
    assert steps.ask_condition(made) is None


def test_what_a_condition_raises_is_permanent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another try cannot go better, and the traceback begins in the user's code."""

    def condition(_context: object) -> bool:
        raise ValueError("no")

    monkeypatch.setattr(steps, "load_function", lambda _name: condition)
    found = record(task(condition=f"{SCRIPTED}:act")).run()
    assert (found.status, found.permanent, found.error) == ("failure", True, "ValueError: no")
    assert found.traceback is not None
    assert "ask_condition" not in found.traceback
    assert "in condition" in found.traceback
    assert scripted.CALLED == []


def test_fill_inputs() -> None:
    """What dependencies returned stands in the places of their Refs."""
    known = {"b": outcome("success", data=7)}
    made = read(task(args=([Ref("b")],), kwargs={"k": 1}, depends_on=("b",)), known=known)
    steps.fill_inputs(made)
    assert made.arguments == ([[7]], {"k": 1, "ctx": None})
    made.wants_context = False
    steps.fill_inputs(made)
    assert made.arguments[1] == {"k": 1}


def test_start() -> None:
    """It is marked, once; not in a run that is cancelled, nor by who has lost the claim."""
    made = read(task())
    assert steps.start(made) is None
    assert made.started
    assert made.view.store.read_claims()["a"].started  # type: ignore[attr-defined]
    assert made.started_at
    stopped = read(task())
    stopped.view.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING})  # type: ignore[attr-defined]
    found = steps.start(stopped)
    assert found is not None
    assert found.status == TaskStatus.CANCELLED
    assert not stopped.started
    lost = read(task())
    lost.token = "another"
    with pytest.raises(ClaimVoid):
        lost.run()
    asked = read(task(condition="m:f"), cancelled=lambda: True)
    asked.started = True
    found = steps.start(asked)
    assert found is not None
    assert found.status == TaskStatus.CANCELLED


def test_a_start_that_is_not_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function is not called, and the attempt vouches for that."""
    made = read(task(effects="at_most_once"))

    def start_task(_task: str, _token: str, *, on_disk: bool = True) -> Code:
        assert on_disk
        raise NotOnDisk("Redis did not confirm")

    monkeypatch.setattr(made.view.store, "start_task", start_task)
    found = made.run()
    assert (found.status, found.not_done, found.message) == (
        "failure",
        True,
        "Redis did not confirm",
    )
    assert scripted.CALLED == []


def test_simulate() -> None:
    """A dry run calls nothing."""
    assert steps.simulate(read(task())) is None
    found = record(task(), simulated=True).run()
    assert (found.status, found.message) == ("success", "simulated: a dry run")
    assert scripted.CALLED == []


def raising(error: BaseException) -> Callable[[], Any]:
    """What a task does that raises."""

    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (NotDone("no"), {"not_done": True}),
        (GiveUp("no"), {"permanent": True}),
        (RetryAfter(3.0), {"retry_after": 3.0}),
        (SystemExit(1), {"not_done": False, "permanent": False}),
        (DeadlinePassed(), {"timed_out": True}),
    ],
)
def test_call(error: BaseException, fields: dict[str, object]) -> None:
    """Whatever a function raises is an outcome, and how long it took is known."""
    scripted.ACTS["a"] = raising(error)
    made = record(task(args=("a",), timeout=5.0))
    found = made.run()
    assert found.status == TaskStatus.FAILURE
    assert {name: getattr(found, name) for name in fields} == fields
    assert made.started_at is not None
    assert made.ended_at >= made.started_at


def test_what_a_function_says_of_itself() -> None:
    """A TaskResult is an outcome, but no task that has run is pending."""
    said = TaskResult(TaskStatus.SKIPPED, message="nothing to do")
    found = steps.returned_outcome(said)
    assert (found.status, found.message) == ("skipped", "nothing to do")
    assert steps.returned_outcome(3, met=True)[:2] == (TaskStatus.SUCCESS, 3)
    with pytest.raises(InvalidInput, match="not pending"):
        steps.returned_outcome(TaskResult(TaskStatus.PENDING))


def test_what_is_too_large_is_a_failure() -> None:
    """It ran, and its data have no place: another try would bring the same."""
    scripted.ACTS["a"] = lambda: "x" * 2000
    made = record(task(args=("a",)))
    told: Finish = made.finish(made.run())
    assert (told.kind, told.status, told.token) == ("final", "failure", "t1")
    assert isinstance(made.claim, ClaimReply)
