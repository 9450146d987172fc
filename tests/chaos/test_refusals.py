"""A sample of what ``python -m tests.chaos.refusals`` plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.refusals.case import play
from tests.support.redis_server import redis_binaries

#: Seconds that Redis refuses: longer than it takes to call a silent worker lost.
_SECONDS = 8.0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("word", ["READONLY"])
def test_everybody_outlasts_a_refusal(word: str, tmp_path: Path) -> None:
    """Workers of each kind, idle and busy, a coordinator that leads and one that stands by, and
    persons who submit and resume: all go on, nothing runs twice, and nobody is called lost.
    """
    play(redis_binaries()[0], word, _SECONDS, tmp_path)
