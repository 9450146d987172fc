"""Tasks of a batch that do what a test says: see :mod:`tests.support.tasks.scripted`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from distflow.core.model import Effects, Task
from tests.support.tasks import scripted

TASKS = "tests.support.tasks.scripted"


@pytest.fixture(autouse=True)
def script() -> Iterator[None]:
    """Nothing is scripted, and nothing was called."""
    scripted.CALLED.clear()
    scripted.ACTS.clear()
    yield
    scripted.ACTS.clear()


def task(name: str, *parents: str, effects: Effects = "normal", **fields: Any) -> Task:
    """A task that does what a test says."""
    function = fields.pop("function", "act")
    return Task(name, f"{TASKS}:{function}", depends_on=parents, effects=effects, **fields)


def short(name: str, *parents: str, **fields: Any) -> Task:
    """One that may be claimed along with others."""
    return task(name, *parents, effects="idempotent", **fields)


def fail() -> None:
    """What a task does that fails."""
    raise ValueError("no")
