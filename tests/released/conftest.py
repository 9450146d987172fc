"""Release 0.1, beside the distflow of this source."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.release import Release, released

pytest.register_assert_rewrite("tests.released.playing")


@pytest.fixture(scope="session")
def old() -> Iterator[Release]:
    """How a process is started that plays release 0.1."""
    with tempfile.TemporaryDirectory(prefix="distflow-0.1-") as folder:
        yield released(Path(folder))
