"""Anything that may happen, in any order, to both stores: see the machine."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.machine import StoreMachine
from tests.support.redis_server import redis_binaries, version_name
from tests.support.stores import SubjectMaker

#: How many runs are tried: ``DISTFLOW_TEST_EXAMPLES=2000`` is for a night.
EXAMPLES = int(os.environ.get("DISTFLOW_TEST_EXAMPLES", "40"))

#: A failure is told as it was found; to shorten it takes minutes, ``DISTFLOW_TEST_SHRINK=1``.
PHASES = set(Phase) if os.environ.get("DISTFLOW_TEST_SHRINK") else {Phase.reuse, Phase.generate}


@pytest.mark.timeout(600 + EXAMPLES)
@pytest.mark.parametrize("binary", redis_binaries(), ids=version_name)
def test_the_promises_hold_and_the_stores_agree(subject_maker: SubjectMaker, binary: Path) -> None:
    """Promises 1, 2, 3 and 5 under lost replies, take-overs, reopenings cut midway and pauses."""
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=25,
        phases=PHASES,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    machine: Any = partial(StoreMachine, subject_maker, binary)
    run_state_machine_as_test(machine, settings=profile)
