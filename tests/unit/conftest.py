"""Runs that a test leads step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distflow.core.model import Task
from tests.support.leading import Leading

Lead = Callable[..., Leading]


@pytest.fixture
def lead() -> Iterator[Lead]:
    """``lead(*tasks)``: a run that is led."""
    made: list[Leading] = []

    def make(*tasks: Task, **options: Any) -> Leading:
        made.append(Leading(*tasks, **options))
        made[-1].begin()
        return made[-1]

    yield make
    for leading in made:
        leading.executor.end()
