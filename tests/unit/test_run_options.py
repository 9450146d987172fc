"""The options of a run: what they may be, what is refused, and what the run keeps of them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from distflow.core.run_options import MAX_RESULT_BYTES, NewRunOptions, RunOptions
from distflow.errors import InvalidInput


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"concurrency": None, "timeout": None, "durability": None},
        {"concurrency": 1, "max_result_bytes": 1, "max_graph_bytes": 1},
        {"timeout": 0.5, "allow_eviction": True, "detach": True, "batch": False},
        # What a Redis can give is known there.
        {"durability": "anything"},
    ],
)
def test_what_a_run_may_be_asked_for(options: dict[str, Any]) -> None:
    """The defaults and the bounds are among it."""
    made = NewRunOptions(**options)
    assert {name: getattr(made, name) for name in options} == options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 0),
        ("concurrency", True),
        ("timeout", 0),
        ("timeout", math.inf),
        ("max_result_bytes", 0),
        ("max_result_bytes", None),
        ("max_graph_bytes", 1.5),
        ("max_graph_bytes", None),
        ("allow_eviction", 1),
        ("detach", "yes"),
        ("batch", None),
    ],
)
def test_what_is_refused(name: str, value: object) -> None:
    """One line that names the option and the value."""
    wrong: Any = {name: value}
    with pytest.raises(InvalidInput, match=rf"^{name} must be .*, not {value!r}$"):
        NewRunOptions(**wrong)


def test_what_a_run_keeps() -> None:
    """How it is executed, with its workflow's context; not what was asked for its creation."""
    asked = NewRunOptions(3, 2.5, 1000, 2000, "waitaof", allow_eviction=True, batch=False)
    expected = RunOptions(3, 2.5, "shop:context", 1000, batch=False, max_graph_bytes=2000)
    assert asked.kept("shop:context") == expected
    assert NewRunOptions().kept() == RunOptions(None, None, None, MAX_RESULT_BYTES, batch=True)
