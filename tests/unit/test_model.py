"""The values of a workflow refuse what they cannot be, each in one whole sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from distflow.core.model import Loop, Metrics, Retry, TaskResult, class_names
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput

COUNTS = "Retry: attempts and lost must be whole numbers, 0 or more"
WAITS = "Retry: delay and max_delay must be seconds, 0 to 1e9"
JITTER = "Retry: jitter must be a fraction of the delay, 0 to 1"
EITHER = "Retry: delays replace delay, backoff and max_delay: give one or the other"
DELAYS = "Retry: delays must be a list of one or more seconds, each 0 to 1e9"
CLASSES = "must list exception classes or their 'module:Name', not"
ITERATIONS = "Loop: max_iterations must be a whole number, 1 or more"
INTERVAL = "Loop: interval must be seconds, 0 to 1e9"
OUTCOMES = "cancelled, failure, skipped, success, unknown"
LONG = "x" * 99


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (Retry, {"attempts": -1}, COUNTS),
        (Retry, {"lost": -1}, COUNTS),
        (Retry, {"delay": -0.1}, WAITS),
        (Retry, {"delay": 1.1e9}, WAITS),
        (Retry, {"max_delay": math.nan}, WAITS),
        (Retry, {"max_delay": True}, WAITS),
        (Retry, {"backoff": "x"}, "Retry: backoff must be 'fixed' or 'exponential', not 'x'"),
        (Retry, {"jitter": 1.1}, JITTER),
        (Retry, {"jitter": -0.1}, JITTER),
        (Retry, {"jitter": None}, JITTER),
        (Retry, {"delays": [1.0], "max_delay": 0.0}, EITHER),
        (Retry, {"delays": []}, DELAYS),
        (Retry, {"on": [LONG]}, f"Retry: on {CLASSES} '{'x' * 59}"),
        (Retry, {"not_on": ["m:"]}, f"Retry: not_on {CLASSES} 'm:'"),
        (Retry, {"not_on": ":Name"}, f"Retry: not_on {CLASSES} ':Name'"),
        (Loop, {"until": "m:u", "max_iterations": 0}, ITERATIONS),
        (Loop, {"until": "m:u", "max_iterations": True}, ITERATIONS),
        (Loop, {"until": "m:u", "max_iterations": 1, "interval": -1}, INTERVAL),
        (
            Loop,
            {"until": "m:u", "max_iterations": 1, "sees": LONG},
            f"Loop: sees must be 'result' or 'data', not '{'x' * 59}",
        ),
        (TaskResult, {"status": "x"}, f"TaskResult: status must be one of {OUTCOMES}, not 'x'"),
        (
            TaskResult,
            {"status": "ready"},
            f"TaskResult: status must be one of {OUTCOMES}, not 'ready'",
        ),
        (
            TaskResult,
            {"status": "success", "attempt": LONG},
            f"TaskResult: attempt must be a whole number, 0 or more, not '{'x' * 59}",
        ),
        (
            TaskResult,
            {"status": "success", "metrics": LONG},
            f"TaskResult: metrics must be a Metrics, not '{'x' * 59}",
        ),
    ],
)
def test_what_is_refused(kind: Callable[..., object], given: dict[str, Any], said: str) -> None:
    """It names the class and the field, what that must be and, cut to 60 characters, what it is."""
    with pytest.raises(InvalidInput) as caught:
        kind(**given)
    assert str(caught.value) == said


def test_what_is_allowed() -> None:
    """Every bound is; and what is given is what is kept."""
    assert Retry() == (0, 0.0, "fixed", None, 0.0, 0, (), (), ())
    assert Retry(1, 1e9, "exponential", 1e9, 1, 2, "m:A", [OSError, "m:B"]) == (
        *(1, 1e9, "exponential", 1e9, 1, 2),
        *(("m:A",), ("builtins:OSError", "m:B"), ()),
    )
    assert (Retry(delays=(0, 1e9)).attempts, Retry(1, delays=(0, 1e9)).attempts) == (2, 1)
    assert Retry(delays=()).delays == ()
    assert Loop("m:u", 1) == ("m:u", 1, 0.0, "result")
    assert Loop("m:u", 1, 1e9, "data") == ("m:u", 1, 1e9, "data")
    made: Any = TaskResult("success", metrics=Metrics(1.0, 2.0, 1.0), attempt=3)  # type: ignore[arg-type]
    assert made.status is TaskStatus.SUCCESS
    assert TaskResult("pending").status is TaskStatus.PENDING  # type: ignore[arg-type]


def test_a_class_is_named_with_its_bases() -> None:
    """Its own first, up to BaseException; where it is defined, also inside another class."""
    assert class_names(KeyError) == tuple(
        f"builtins:{name}" for name in ("KeyError", "LookupError", "Exception", "BaseException")
    )

    class Inner(KeyError):
        pass

    assert class_names(Inner)[0] == (
        f"{__name__}:test_a_class_is_named_with_its_bases.<locals>.Inner"
    )
