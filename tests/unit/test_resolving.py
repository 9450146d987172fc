"""What a person says of tasks: what may be decided, what it needs, and what follows in a run."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.graph import Graph
from distflow.core.model import Ref, Task, TaskResult
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import InvalidInput, StaleEpoch, TaskNotFound, WrongState
from distflow.runs.decisions import NOTHING, Saying, find_unknown, resolve_tasks
from distflow.wire.codec import decode_result, encode_result
from tests.support.leading import Leading, played
from tests.support.stores import final

PAY = played("pay", "at_most_once")
SHIP = Task("ship", "m:f", args=(["for", Ref("pay")],), depends_on=("pay",))
TELL = played("tell", depends_on=("ship",))


def decide(led: Leading, names: list[str], decision: Any, data: Any = NOTHING) -> dict[str, str]:
    """What eva decides."""
    tasks = [task for chunk in led.store.iter_tasks() for task in chunk]
    saying = Saying(decision, data, "eva", "")
    return dict(resolve_tasks(led.store, Graph.compile(tasks), names, saying))


def raised(led: Leading, task: str, status: str = "failure") -> None:
    """A task that started, at most once, and failed."""
    worker = led.take(led.worker(task), task)
    token, attempt = worker.held.pop(task)
    worker.tell(final(task, token, status, attempt=attempt, started=True))


def status_of(led: Leading, task: str) -> str:
    """Of its outcome; ``none`` where it has none."""
    result = led.result(task)
    return result.status.value if result else "none"


def test_a_failure_is_decided_while_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was skipped because of it runs after all, and the run does not end without it."""
    led = Leading(PAY, SHIP, TELL, played("other"))
    led.begin()
    raised(led, "pay")
    assert led.step() is None
    assert [status_of(led, name) for name in ("ship", "tell")] == ["skipped"] * 2
    assert decide(led, ["pay"], "done", 7) == {"pay": "success"}
    # It had worked out what follows from the failure.
    with pytest.raises(StaleEpoch):
        led.step()
    led.take_over()
    for name in ("ship", "tell", "other"):
        led.take(led.worker(name), name).finish(name)
        ended = led.step()
    assert ended == RunStatus.SUCCESS


def test_a_leader_that_writes_skips_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are taken back as well, although they came after the first look."""
    led = Leading(PAY, SHIP, TELL, played("other"))
    led.begin()
    raised(led, "pay")
    resolve, steps = led.store.resolve_tasks, [led.step]

    def overtaken(*said: Any, **options: Any) -> list[TaskStatus]:
        if steps:
            steps.pop()()
            assert [status_of(led, name) for name in ("ship", "tell")] == ["skipped"] * 2
        return resolve(*said, **options)

    monkeypatch.setattr(led.store, "resolve_tasks", overtaken)
    assert decide(led, ["pay"], "done", 7) == {"pay": "success"}
    assert [status_of(led, name) for name in ("ship", "tell")] == ["none"] * 2


def test_a_failure_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """``retry``: it starts once more, with the next attempt; and each decision counts by itself."""
    led = Leading(PAY, SHIP)
    led.begin()
    raised(led, "pay")
    assert led.step() == RunStatus.FAILURE
    led.executor.end()
    assert decide(led, ["pay"], "retry") == {"pay": "ready"}
    assert status_of(led, "ship") == "none"
    led.executor = led.make_executor()
    led.begin(reopen=True)
    worker = led.take(led.worker("again"), "pay")
    assert worker.held["pay"][1] == 2
    worker.finish("pay")
    assert led.step() is None
    led.take(led.worker("w"), "ship").finish("ship")
    assert led.step() == RunStatus.SUCCESS


@pytest.mark.parametrize("status", ["skipped", "cancelled"])
def test_whatever_it_said_of_itself(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """A function that returns ``skipped`` or ``cancelled`` has started as well."""
    led = Leading(PAY)
    led.begin()
    raised(led, "pay", status)
    led.step()
    assert decide(led, ["pay"], "done") == {"pay": "success"}


def test_done_needs_what_a_dependent_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by the name of who takes it, and nothing has changed; None is a value."""
    led = Leading(PAY, SHIP, played("alone", "at_most_once"))
    led.begin()
    raised(led, "pay")
    raised(led, "alone")
    led.step()
    with pytest.raises(InvalidInput, match=r"'ship' takes what 'pay' returns: .* --done JSON"):
        decide(led, ["alone", "pay"], "done")
    assert status_of(led, "alone") == "failure"
    decide(led, ["alone"], "done")
    decide(led, ["pay"], "done", None)
    assert led.result("pay") == TaskResult(TaskStatus.SUCCESS, message="resolved by eva", attempt=1)


def test_nothing_is_half_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be decided, of several: none is."""
    plain = played("plain")
    rest = [played(name) for name in ("done", "held", "open")]
    led = Leading(PAY, plain, *rest)
    led.begin()
    raised(led, "pay")
    led.take(led.worker("p"), "plain").finish("plain", "failure")
    led.step()
    led.take(led.worker("d"), "done").finish("done")
    led.step()
    led.take(led.worker("h"), "held")
    for bad, said in (
        ("plain", "task 'plain' is failure, but not for good: a resume runs it again"),
        ("open", "task 'open' is pending"),
        ("held", "task 'held' is at work"),
        ("done", "task 'done' is success: what its worker has done stays done"),
    ):
        with pytest.raises(WrongState, match=said):
            decide(led, ["pay", bad], "done")
    with pytest.raises(TaskNotFound, match="no task 'pya'; did you mean 'pay'"):
        decide(led, ["pay", "pya"], "fail")
    with pytest.raises(InvalidInput, match="must be one of 'done', 'fail', 'retry'"):
        decide(led, ["pay"], "maybe")
    with pytest.raises(InvalidInput, match="--done: data"):
        decide(led, ["pay"], "done", object())
    assert status_of(led, "pay") == "failure"


def test_a_decision_is_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another one, also to the contrary; until who depends on it has begun."""
    led = Leading(PAY, SHIP)
    led.begin()
    raised(led, "pay")
    led.step()
    led.executor.end()
    for decision, data, status in (
        ("done", 1, "success"),
        ("fail", NOTHING, "failure"),
        ("retry", NOTHING, "none"),
        ("done", 2, "success"),
        ("retry", NOTHING, "none"),
        ("done", 3, "success"),
    ):
        decide(led, ["pay"], decision, data)
        assert status_of(led, "pay") == status
    led.executor = led.make_executor()
    led.begin(reopen=True)
    decide(led, ["pay"], "done", 4)
    led.take(led.worker("s"), "ship")
    with pytest.raises(WrongState, match="'ship', which depends on it, has begun since"):
        decide(led, ["pay"], "done", 5)
    result = led.result("pay")
    assert result is not None
    assert result.data == 4


def test_who_was_tried_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependent that waits for its next try has begun; one that was skipped for another reason
    has not, and stays so.
    """
    both = played("both", depends_on=("pay", "plain"))
    led = Leading(PAY, SHIP, played("plain"), both, played("open"))
    led.begin()
    raised(led, "pay")
    led.take(led.worker("p"), "plain").finish("plain", "failure")
    assert led.step() is None
    decide(led, ["pay"], "done", 1)
    led.take_over()
    assert status_of(led, "both") == "skipped"
    decide(led, ["pay"], "done", 2)
    led.take(led.worker("s"), "ship").fail("ship", delay_ms=60_000)
    with pytest.raises(WrongState, match="'ship', which depends on it, has begun since"):
        decide(led, ["pay"], "done", 3)


def test_the_unknown_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, and no others."""
    led = Leading(PAY, played("two", "at_most_once"), played("three"))
    led.begin()
    for name in ("pay", "two"):
        led.at_work(name, name).die()
    led.go_on(10.0)
    tasks = [task for chunk in led.store.iter_tasks() for task in chunk]
    graph = Graph.compile(tasks)
    assert find_unknown(led.store, graph) == ["pay", "two"]
    assert decide(led, ["two", "pay", "two"], "done") == {"two": "success", "pay": "success"}
    assert find_unknown(led.store, graph) == []


def test_what_a_worker_says_is_no_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that returns the words of a decision has decided nothing."""
    led = Leading(PAY)
    led.begin()
    worker = led.take(led.worker(), "pay")
    token, _attempt = worker.held.pop("pay")
    said = TaskResult(TaskStatus.SUCCESS, message="resolved by me", attempt=1, worker="w")
    worker.tell(final("pay", token)._replace(packed=encode_result(said)))
    assert decode_result(led.store.read_results(["pay"])[0] or b"").message == "resolved by me"
    with pytest.raises(WrongState, match="stays done"):
        decide(led, ["pay"], "retry")
