"""TaskResults and Tasks as Redis, other languages and people see them."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distflow.core.model import Grow, Loop, Metrics, Ref, Retry, Task, TaskResult
from distflow.core.status import OUTCOMES, TaskStatus
from distflow.errors import NotEncodable
from distflow.wire import codec
from distflow.wire.as_json import iso_time, plain_result

S = TaskStatus

text = st.text(max_size=8)
results = st.builds(
    TaskResult,
    st.sampled_from(sorted(OUTCOMES)),
    message=st.none() | text,
    error=st.none() | text,
    data=st.none() | st.integers(0, 9) | st.lists(st.tuples(text), max_size=2),
    metrics=st.none() | st.builds(Metrics, *[st.floats(0, 2e9)] * 3),
    attempt=st.integers(0, 10**6),
    worker=st.none() | text,
    traceback=st.none() | text,
    started=st.booleans(),
)


@given(results)
def test_a_result_comes_back_as_it_was(result: TaskResult) -> None:
    """Every field, empty ones too; and the scripts read its status from its first bytes."""
    packed = codec.encode_result(result)
    assert codec.decode_result(packed) == result
    assert codec.status_of(packed) == result.status


def test_any_language_reads_a_result() -> None:
    """A plain map of plain names, the status first; what is empty is left out."""
    result = TaskResult(S.FAILURE, error="E: no", metrics=Metrics(1.0, 3.5, 2.5), attempt=2)
    fields = msgpack.unpackb(codec.encode_result(result))
    assert list(fields.items()) == [
        ("status", "failure"),
        ("error", "E: no"),
        ("data", None),
        ("metrics", {"start_time": 1.0, "end_time": 3.5, "duration": 2.5}),
        ("attempt", 2),
    ]


def test_the_status_is_where_scripts_look() -> None:
    """The bytes up to the status are the same in every result, but for the count of fields."""
    for status in OUTCOMES:
        packed = codec.encode_result(TaskResult(status, data=list(range(999)), started=True))
        assert packed[1:8] == b"\xa6status"
        assert packed[9:].startswith(status.value.encode())
        assert codec.status_of(packed) == status


def test_fields_of_a_later_version_are_left_out() -> None:
    """A worker that is newer than the coordinator may say more."""
    packed = msgpack.packb({"status": "success", "data": 5, "colour": "red"})
    assert codec.decode_result(packed) == TaskResult(S.SUCCESS, data=5)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        5,
        None,
        {},
        {"status": "pending"},
        {"status": "done"},
        {"status": ["success"]},
        {"status": "success", "metrics": 5},
        {"status": "success", "metrics": {"start_time": 1.0}},
    ],
)
def test_what_is_no_result_is_refused(fields: Any) -> None:
    """Whatever else lies there, the error says that it is no TaskResult."""
    with pytest.raises(NotEncodable, match="not a TaskResult"):
        codec.decode_result(msgpack.packb(fields))


def test_messages_may_hold_anything() -> None:
    """An exception's text with a lone surrogate, or an exception in place of its text, never
    costs a task its outcome.
    """
    error: Any = ValueError("no")
    result = TaskResult(S.FAILURE, message=error, error="E: \udcff", traceback="\ud800")
    decoded = codec.decode_result(codec.encode_result(result))
    assert (decoded.message, decoded.error, decoded.traceback) == ("no", "E: \\udcff", "\\ud800")


# Tasks

raised = st.lists(st.sampled_from(["builtins:OSError", "m:Outer.Inner"]), max_size=2).map(tuple)
retries = st.builds(
    Retry,
    st.integers(0, 3),
    st.floats(0, 9),
    st.sampled_from(["fixed", "exponential"]),
    st.none() | st.floats(0, 9),
    st.floats(0, 1),
    st.integers(0, 3),
    raised,
    raised,
    st.none(),
) | st.builds(
    lambda delays: Retry(delays=delays), st.lists(st.floats(0, 9), min_size=1, max_size=3)
)

tasks = st.builds(
    Task,
    text,
    text,
    args=st.lists(st.builds(Ref, text) | st.tuples(text), max_size=3).map(tuple),
    kwargs=st.dictionaries(text, st.builds(Ref, text), max_size=2),
    depends_on=st.lists(text, max_size=3).map(tuple),
    retry=st.none() | retries,
    loop=st.none() | st.builds(Loop, text, st.integers(1, 3), st.floats(0, 9)),
    timeout=st.none() | st.floats(0.1, 9),
    condition=st.none() | text,
    priority=st.integers(-5, 5),
    continue_on_error=st.booleans(),
    queue=st.just("default") | text,
    effects=st.sampled_from(["normal", "idempotent", "at_most_once"]),
    grow=st.none()
    | st.builds(
        Grow,
        st.sampled_from(["map", "plan"]),
        st.none() | st.just(Task("", "m:child", kwargs={"x": Ref("a")}, retry=Retry(1))),
        st.none() | text,
        st.none() | st.integers(0, 9) | st.floats(0.1, 0.9),
        st.lists(text, max_size=2).map(tuple),
    ),
)


@given(tasks)
def test_a_task_comes_back_as_it_was(task: Task) -> None:
    """The frozen graph is all that a resume has: every option survives, Refs at any depth too."""
    packed = codec.pack(codec.encode_task(task))
    assert codec.decode_task(codec.unpack(packed)) == task


def test_a_plain_task_is_small() -> None:
    """Defaults are left out: a graph of many tasks costs little."""
    task = Task("t", "m:f", depends_on=("a",))
    assert codec.encode_task(task) == {"name": "t", "function": "m:f", "depends_on": ["a"]}


# For people

SHOWN: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (2**64 - 1, 2**64 - 1),
    (math.nan, "nan"),
    (-math.inf, "-inf"),
    (b"text", "text"),
    (b"\xff\x00", "ff00"),
    (Decimal("1.50"), "1.50"),
    (date(2026, 1, 2), "2026-01-02"),
    (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
    (timedelta(minutes=1.5), 90.0),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (1 + 2j, "(1+2j)"),
    ({1}, [1]),
    ((1, (2,)), [1, [2]]),
    ({1: {b"k": {True: 2.5}}}, {"1": {"k": {"True": 2.5}}}),
]


@pytest.mark.parametrize(("data", "shown"), SHOWN, ids=repr)
def test_json_says_what_it_can(data: Any, shown: Any) -> None:
    """``--json`` is strict JSON for every value that a task may return."""
    plain = plain_result(TaskResult(S.SUCCESS, data=data))
    assert plain == {"status": "success", "data": shown, "attempt": 0}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_a_type_that_is_unknown_here_can_be_shown() -> None:
    """The command line may run where the user's types are not registered."""
    inner = msgpack.ExtType(99, b"\xff")
    packed = msgpack.packb({"status": "success", "data": [inner]})
    plain = plain_result(codec.decode_result(packed, opaque=True))
    assert json.loads(json.dumps(plain, allow_nan=False))["data"] == [[99, "ff"]]


def test_times_are_shown_in_utc() -> None:
    """ISO 8601 with milliseconds, and nothing where there is nothing."""
    assert iso_time(None) is None
    assert iso_time(0) == "1970-01-01T00:00:00.000Z"
    assert iso_time(1767312000.1239) == "2026-01-02T00:00:00.123Z"


def test_the_host_travels() -> None:
    """Where it is known; a result without one has no bytes of it."""
    known = TaskResult(TaskStatus.SUCCESS, host="web-1")
    assert codec.decode_result(codec.encode_result(known)) == known
    assert b"host" not in codec.encode_result(TaskResult(TaskStatus.SUCCESS))
