"""The harness of the benchmarks works: a change that breaks it is seen before it is needed."""

from __future__ import annotations

import pytest

from benchmarks.stage import StageFailed, staged
from benchmarks.systems import SYSTEMS


def test_the_unit_and_ours_are_measured() -> None:
    """Stage, driver and meter give figures of one system after the other, and leave nothing."""
    for name, shapes in (("rq", [("fan", 20)]), ("stock", [("fan", 20), ("layers", 2)])):
        with staged(SYSTEMS[name], "none") as stage:
            found = stage.drive("shapes", shapes=shapes)
        assert found["fan"]["tasks"] == (20 if name == "rq" else 21)
        assert found["fan"]["seconds"] > 0
        assert found["fan"]["redis_commands"] > 20
        assert found["fan"]["redis_bytes"] > 0
        assert found["worker_peak_bytes"] > 1 << 20
        assert all(worker.has_ended() for worker in stage.workers)


def test_a_system_that_hangs_fails_in_time() -> None:
    """One that never ends costs its own rows, not the others': its job is ended, and named."""
    with (
        staged(SYSTEMS["stock"], "none", 0.2) as stage,
        pytest.raises(StageFailed, match=r"trips took over 0.2 s"),
    ):
        stage.drive("trips", count=100_000)
