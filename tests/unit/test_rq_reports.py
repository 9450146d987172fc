"""What RQ has written is told to people, and nothing in it ends a coordinator."""

from __future__ import annotations

import tracemalloc
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distflow.dispatch.rq_reports import last_line, to_jobs, to_text, to_time

_BOMB = b64encode(zlib.compress(b"x" * (64 << 20)))


def test_what_rq_writes() -> None:
    """Names, dates and tracebacks as they are."""
    assert to_text(b"w1") == "w1"
    assert to_time(b"2026-01-01T00:00:00.500000Z") == 1767225600.5
    traceback = b"Traceback ...\n  File ...\nValueError: no\n"
    assert last_line(b64encode(zlib.compress(traceback))) == "ValueError: no"


@pytest.mark.parametrize(
    ("current", "executions", "jobs"),
    [
        (None, [], set()),
        (b"", [], set()),
        (b"run-1-1-1", [], {"run-1-1-1"}),
        (None, [b"run-1-1-1:8f14", b"other:45c4"], {"run-1-1-1", "other"}),
        (None, [b"", b"no execution", b":8f14"], set()),
    ],
)
def test_the_jobs_of_a_worker(
    current: bytes | None, executions: list[bytes], jobs: set[str]
) -> None:
    """As RQ 2.12 tells them, and as RQ 3 does: a worker of either may serve a coordinator."""
    assert to_jobs(current, executions) == jobs


@pytest.mark.parametrize("absent", [None, b""])
def test_what_it_has_not_written(absent: bytes | None) -> None:
    """Nothing is nothing."""
    assert (to_text(absent), to_time(absent), last_line(absent)) == ("", 0.0, "")


@given(st.binary())
def test_any_bytes(noise: bytes) -> None:
    """Whatever stands there is read without an error."""
    to_text(noise)
    to_time(noise)
    to_jobs(noise, [noise])
    last_line(noise)
    last_line(b64encode(noise))
    last_line(b64encode(zlib.compress(noise)))


def test_a_text_that_unpacks_to_gigabytes() -> None:
    """No more than a megabyte of it is looked at."""
    tracemalloc.start()
    try:
        assert set(last_line(_BOMB)) == {"x"}
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
