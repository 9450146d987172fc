"""Runs in memory, with the command line in front of them."""

from __future__ import annotations

import pytest

from tests.support.command_line import MemoryScene


@pytest.fixture
def scene() -> MemoryScene:
    """Nobody works here: runs stand as a test has left them."""
    return MemoryScene(workers=0)


@pytest.fixture
def staffed() -> MemoryScene:
    """With a worker, which works while a command leads a run."""
    return MemoryScene()
