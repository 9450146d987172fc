"""What is said of workers that are lost or frozen is what was seen of them."""

from __future__ import annotations

import pytest

from distflow.coordinator.evidence import frozen_words, lost_words
from distflow.core.readings import WorkerProbe
from distflow.core.run import Beat
from tests.support.leading import played
from tests.unit.conftest import Lead

BEAT = Beat("w", "job-1", 1_800_000_000_999, "a")
LATE = "the worker's own heartbeat is 21 s overdue"
SEEN = "no heartbeat since 2027-01-15 08:00:00 UTC"


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (None, f"worker w was lost: {SEEN}, and none of its processes is connected"),
        (
            WorkerProbe(connected=False, jobs=["job-1"], heard_at=1.0),
            f"worker w was lost: {SEEN}, and none of its processes is connected",
        ),
        (
            WorkerProbe(connected=True, jobs=["job-2"], heard_at=1.0),
            f"its process was lost: {SEEN}; worker w is connected and works on job job-2",
        ),
        (
            WorkerProbe(connected=True, jobs=[], heard_at=1.0),
            f"its process was lost: {SEEN}; worker w is connected and works on nothing",
        ),
        (
            WorkerProbe(connected=True, jobs=["job-1"], heard_at=1.0, overdue=21.4),
            f"worker w was lost: {SEEN}; Redis still has its connection, but {LATE}",
        ),
    ],
)
def test_what_is_lost(probe: WorkerProbe | None, words: str) -> None:
    """When it was heard of last, and what the transport says: not why."""
    assert lost_words("w", BEAT, probe) == words


def test_a_batch_that_never_beat() -> None:
    """There is no moment to name, and perhaps no worker."""
    assert lost_words("", None, None) == "worker ? was lost: its claims have no heartbeat"


def test_what_is_frozen() -> None:
    """It is connected, which is why it is not lost."""
    assert frozen_words("w", BEAT) == f"worker w is frozen: connected, but {SEEN}"


@pytest.mark.parametrize("stopped", [True, False])
def test_a_cancelled_run_stops_what_it_says_it_stopped(lead: Lead, *, stopped: bool) -> None:
    """A worker that dies by itself while its run is cancelled was told nothing."""
    leading = lead(played("a", "at_most_once"))
    worker = leading.at_work("a")
    leading.cancel.set()
    leading.go_on(leading.settings.grace_seconds + 1.0 if stopped else 1.0)
    assert bool(leading.transport.stopped) == stopped
    worker.die()
    leading.go_on(5.0)
    result = leading.result("a")
    assert result is not None
    was_told = "worker w was told to stop it because the run was cancelled"
    assert (was_told in (result.error or "")) == stopped
    assert ("no heartbeat since" in (result.error or "")) != stopped
