"""What a batch's heartbeat is told: by the run, and of its worker."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.claim import Code
from distflow_worker.beat import Heartbeat
from tests.support.wait import wait_for


class Answering:
    """A run that answers beats."""

    def __init__(self, code: Code, status: str) -> None:
        self._answer = code, status
        self.beats = 0

    def beat(self, *_said: Any, **_more: Any) -> tuple[Code, str]:
        self.beats += 1
        return self._answer


@pytest.mark.parametrize(
    ("code", "status", "told", "cancelled", "stopping"),
    [
        (Code.OK, "running", False, False, False),
        (Code.OK, "running", True, False, True),
        (Code.OK, "paused", False, False, True),
        (Code.OK, "interrupted", False, False, True),
        (Code.OK, "cancelling", False, True, True),
        # The batch was given to others.
        (Code.REFUSED, "", False, True, True),
    ],
)
def test_when_a_task_does_well_to_end(
    code: Code, status: str, told: bool, cancelled: bool, stopping: bool
) -> None:
    """Where the run rests, or the worker is to stop; cancelled is what stops anyhow."""
    store: Any = Answering(code, status)
    asked: list[bool] = []

    def is_told() -> bool:
        asked.append(told)
        return told

    with Heartbeat(store, "b", "w", "j", is_told=is_told, at_once=True) as heartbeat:
        wait_for(lambda: store.beats and (asked or heartbeat.stopping), 10, "a beat")
        wait_for(lambda: heartbeat.stopping is stopping, 10, "what it says")
        assert heartbeat.cancelled is cancelled
