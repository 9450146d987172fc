"""What the public API is given and cannot use: one line that names it and what it may be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from distflow import (
    Client,
    Loop,
    Retry,
    RetryAfter,
    Run,
    Snapshot,
    TaskResult,
    TaskRunnerBuilder,
    connect,
    register_type,
    task,
    workflow,
)
from distflow import Workflow as Flow
from distflow.errors import DistflowError
from tests.unit import authored


def flow() -> Flow:
    """Of one task."""
    made = Flow("w")
    made.add("a", "time:sleep", (0,))
    return made


def client() -> Client:
    """Nothing is asked of its Redis."""
    return Client(Redis(port=1))


def run() -> Run:
    """Likewise."""
    return Run(client().engine, "r")


def execute(given: Any, *more: Any, **options: Any) -> Any:
    """In this process."""
    return TaskRunnerBuilder().build().execute(given, *more, **options)


def create(**options: Any) -> Any:
    """On Redis."""
    return client().create(flow(), **options)


class Strange:
    """Its own text has a line break."""

    def __repr__(self) -> str:
        return "one\ntwo\x1b[2J"


ANY: Any = Strange()
BUILDER: Any = TaskRunnerBuilder
FLOW: Any = Flow

#: What is called, and how its refusal begins.
CASES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: execute(authored.extract),
        "a run is created from a workflow, not from the task 'extract'",
    ),
    *(
        (lambda bad=bad: execute(bad), "a run is created from a workflow")
        for bad in (7, None, "x", run)
    ),
    (
        lambda: execute(authored.etl, "x"),
        "workflow 'etl': params must be a mapping of values by name",
    ),
    (lambda: execute(authored.etl, {1: 2}), "a name in workflow 'etl': params must be text, not 1"),
    *(
        (
            lambda bad=bad: execute(flow(), concurrency=bad),
            "concurrency must be a count of 1 or more",
        )
        for bad in ("2", 2.5, True, 0, ANY)
    ),
    *(
        (lambda bad=bad: execute(flow(), timeout=bad), "timeout must be seconds, more than 0, not ")
        for bad in ("2", 0, float("nan"), float("inf"), True)
    ),
    (lambda: execute(flow(), signal=7), "signal must be something with is_set()"),
    (lambda: execute(flow(), dry_run="x"), "dry_run must be True or False, not 'x'"),
    *(
        (lambda bad=bad: BUILDER().with_snapshot(bad), "a snapshot is made of TaskResults by")
        for bad in ("x", 7, ["a"])
    ),
    (lambda: BUILDER().with_snapshot(None), "the snapshot must be a mapping"),
    (lambda: BUILDER().with_snapshot({"a": 1}), "snapshot: task 'a' has neither a TaskResult"),
    (lambda: BUILDER().with_snapshot({}, origin=7), "origin must be a text"),
    (lambda: BUILDER().with_snapshot({}, keep="x"), "keep must be True or False"),
    (lambda: BUILDER().with_redis(7), "int is not a client that distflow can use"),
    (
        lambda: BUILDER().use_dispatcher(7),
        "the dispatcher must be an object with dispatch(batches)",
    ),
    (lambda: BUILDER().on([], print), "there is no event []"),
    (lambda: BUILDER().on("task_end", 7), "the callback for task_end is 7, not a function"),
    (lambda: BUILDER().use(7), "7 is no plugin"),
    (lambda: BUILDER().with_logger(7), "a logger is 'text' or 'json', not 7"),
    (lambda: BUILDER().build().off([], 7), "there is no event []"),
    (lambda: connect(ANY), "Strange is not a client that distflow can use"),
    (lambda: connect("redis://localhost", prefix=""), "prefix must be a text"),
    (lambda: Client("redis://localhost"), "the first argument of Client must be a redis.Redis"),  # type: ignore[arg-type]
    (lambda: create(run_id=7), "run id 7 is not valid"),
    (lambda: create(snapshot={}), "snapshot must be a Snapshot"),
    (lambda: create(concurrency="2"), "concurrency must be a count of 1 or more, not '2'"),
    (lambda: create(timeout="2"), "timeout must be seconds, more than 0, not '2'"),
    (lambda: create(max_result_bytes=-1), "max_result_bytes must be a count"),
    (lambda: create(max_graph_bytes="2"), "max_graph_bytes must be a count"),
    (lambda: create(batch="x"), "batch must be True or False"),
    (lambda: create(detach=1), "detach must be True or False"),
    (lambda: client().submit(flow(), listener=7), "listener must be a function, not 7"),  # type: ignore[arg-type]
    (lambda: client().run(None), "run id None is not valid"),  # type: ignore[arg-type]
    (lambda: run().wait("x"), "timeout must be seconds, 0 or more, not 'x'"),  # type: ignore[arg-type]
    (
        lambda: run().cancel(grace_seconds=ANY),
        r"grace_seconds must be seconds, 0 or more, not one\ntwo",
    ),
    (lambda: run().cancel(7), "reason must be a text"),  # type: ignore[arg-type]
    (lambda: run().resolve(7, "done"), "task must be a task name or a list of names"),  # type: ignore[call-overload]
    (lambda: run().resolve("a", "fail", note=7), "note must be text, not 7"),  # type: ignore[call-overload]
    (lambda: Snapshot({}, fingerprints=7), "fingerprints must be a mapping"),  # type: ignore[arg-type]
    (lambda: Snapshot.load(7), "a snapshot is read from a path, not from 7"),  # type: ignore[arg-type]
    (lambda: Snapshot({}).dump(7), "the target must be a path or a binary stream"),  # type: ignore[arg-type]
    (lambda: FLOW(7), "workflow: name must be a text"),
    (lambda: FLOW("x", context=7), "workflow 'x': context: 7 is neither a function"),
    (lambda: FLOW("x").add(7, "time:sleep"), "task: name must be a text"),
    (lambda: FLOW("x").add("a", 7), "task 'a': 7 is neither a function"),
    (
        lambda: FLOW("x").add("a", "time:sleep", "x"),
        "task 'a': args must be a list or tuple, not 'x'",
    ),
    (lambda: FLOW("x").add("a", "time:sleep", (), [1]), "task 'a': kwargs must be a mapping"),
    (
        lambda: FLOW("x").add("a", "time:sleep", (), {1: 1}),
        "a name in task 'a': kwargs must be text",
    ),
    (
        lambda: FLOW("x").add("a", "time:sleep", retry=3),
        "task 'a': retry must be a Retry(...), not 3",
    ),
    (lambda: FLOW("x").add("a", "time:sleep", effects=[]), "task 'a': effects must be 'normal' or"),
    (lambda: FLOW("x").add("a", "time:sleep", retries=7), "task 'a': there is no option 'retries'"),
    (lambda: FLOW("x").build("x"), "workflow 'x': params must be a mapping of values by name"),
    (lambda: FLOW("x").to_mermaid(7), "statuses must be a mapping of statuses by task"),
    (lambda: FLOW("x").to_dot({"a": "x"}), "statuses: task 'a' has 'x', which is not a status"),
    (lambda: task(7), "@task got 7, which is not a function"),  # type: ignore[call-overload]
    (lambda: workflow(7), "@workflow got 7, which is not a function"),  # type: ignore[call-overload]
    (lambda: Retry("x"), "Retry: attempts and lost must be whole numbers"),  # type: ignore[arg-type]
    (lambda: Retry(3, on=7), "Retry: on must list exception classes"),  # type: ignore[arg-type]
    (lambda: Loop(print, "x"), "Loop: max_iterations must be a whole number"),  # type: ignore[arg-type]
    (lambda: TaskResult([]), "TaskResult: status must be one of"),  # type: ignore[arg-type]
    (lambda: TaskResult("success", metrics=7), "TaskResult: metrics must be a Metrics, not 7"),  # type: ignore[arg-type]
    (
        lambda: TaskResult("success", attempt="x"),  # type: ignore[arg-type]
        "TaskResult: attempt must be a whole number, 0 or more, not 'x'",
    ),
    (lambda: register_type("x", Strange, str, str), "register_type: the code must be 32 to 127"),  # type: ignore[arg-type]
    (lambda: register_type(40, 7, str, str), "register_type: 7 is not a type"),  # type: ignore[arg-type]
    (lambda: register_type(41, Strange, 7, str), "register_type: reduce must be a function"),  # type: ignore[arg-type]
    (lambda: RetryAfter("x"), "RetryAfter takes seconds"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1][:50])
def test_misuse_is_one_line(case: tuple[Callable[[], Any], str]) -> None:
    """Whatever the value's own text is."""
    call, said = case
    with pytest.raises(DistflowError) as caught:
        call()
    message = str(caught.value)
    assert message.startswith(said)
    assert "\n" not in message
    assert "\x1b" not in message


def test_what_is_usable_is_taken() -> None:
    """Numbers of either kind; whatever can say that it is set."""
    results = execute(flow(), concurrency=1, timeout=30, signal=threading.Event(), dry_run=False)
    assert results["a"].status == "success"
