"""What each option of a task may be, what is said where it is not, and what is shown of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from distflow.core.model import Loop, Retry, Task
from distflow.core.options import HOOKS, PLAIN_OPTIONS, TASK_OPTIONS, chosen_options

WANTED = {option.name: option.wanted for option in TASK_OPTIONS}

TEXT = "a text of at least one character"
SECONDS = "a number of seconds above 0"
INTEGER = "an integer, higher first"
FLAG = "True or False"
HOOK = "a module-level function or its 'pkg.module:name'"
QUEUE = "the name of an RQ queue"
EFFECTS = "'normal' or 'idempotent' or 'at_most_once'"

#: A text that no UTF-8 has: half of a character that takes two in UTF-16.
HALF = "\ud800"


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("name", ["a", " ", "ä"]),
        ("retry", [None, Retry(), Retry(3)]),
        ("loop", [None, Loop("m:u", 1)]),
        ("timeout", [None, 0.001, 1, 1e9]),
        ("condition", [None, "m:c", len]),
        ("verify", [None, "m:v", len]),
        ("priority", [0, -5, 2**53, -(2**53)]),
        ("continue_on_error", [True, False]),
        ("batch", [True, False]),
        ("queue", ["q", "my queue"]),
        ("effects", ["normal", "idempotent", "at_most_once"]),
        # Each of them is looked at where it is resolved.
        ("depends_on", [None, (), ["a"], object()]),
    ],
)
def test_what_an_option_may_be(option: str, values: list[object]) -> None:
    """The bounds are among it."""
    assert [WANTED[option](value) for value in values] == [None] * len(values)


@pytest.mark.parametrize(
    ("option", "values", "said"),
    [
        ("name", ["", None, 1, HALF, b"a"], TEXT),
        ("retry", [3, True, Loop("m:u", 1)], "a Retry(...)"),
        ("loop", ["m:u", Retry()], "a Loop(...)"),
        ("timeout", [0, -1.0, math.inf, math.nan, True, "1"], SECONDS),
        ("condition", [1, ["m:c"]], HOOK),
        ("verify", [b"m:v"], HOOK),
        ("priority", [None, 1.0, True, "1", 2**53 + 1, -(2**53) - 1], INTEGER),
        ("continue_on_error", [None, 1, "True"], FLAG),
        ("batch", [None, 0], FLAG),
        ("queue", ["", "  ", None, HALF, 1], QUEUE),
        ("effects", ["once", None, "", 1, ["normal"]], EFFECTS),
    ],
)
def test_what_an_option_may_not_be(option: str, values: list[object], said: str) -> None:
    """Whatever it is, the same words say what it should be."""
    assert [WANTED[option](value) for value in values] == [said] * len(values)


def test_which_options_a_task_has_as_they_were_given() -> None:
    """A hook is given as a function, and travels as its path; a Retry has a form of its own."""
    plain = ["timeout", "priority", "continue_on_error", "queue", "effects", "batch"]
    assert list(PLAIN_OPTIONS) == plain
    assert HOOKS == {"condition": 1, "verify": 2}


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"depends_on": ("b",), "args": (1,)}, {}),
        ({"priority": 3, "batch": False}, {"priority": 3, "batch": False}),
        ({"retry": Retry()}, {"retry": {}}),
        ({"retry": Retry(2, 1.0)}, {"retry": {"attempts": 2, "delay": 1.0}}),
        # What has to be said of a Loop is always shown.
        ({"loop": Loop("m:u", 1)}, {"loop": {"until": "m:u"}}),
        ({"loop": Loop("m:u", 2)}, {"loop": {"until": "m:u", "max_iterations": 2}}),
        (
            {"loop": Loop("m:u", 3, 5.0)},
            {"loop": {"until": "m:u", "max_iterations": 3, "interval": 5.0}},
        ),
    ],
)
def test_what_is_shown_of_a_task(fields: dict[str, Any], shown: dict[str, Any]) -> None:
    """What says more than the defaults do."""
    assert chosen_options(Task("a", "m:f", **fields)) == shown
