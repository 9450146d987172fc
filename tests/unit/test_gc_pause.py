"""Python's garbage collector rests while a large graph is read, and no longer than it should."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from distflow.coordinator.gc_pause import GcPause

MANY = 50_000
MUCH = 16_384


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Nothing is frozen: a command that ran in this process before has frozen what it imported."""
    gc.unfreeze()
    yield
    gc.enable()
    gc.unfreeze()


def test_it_rests_while_much_is_read() -> None:
    """What was read is left out of its passes, until the run is led no more."""
    pause = GcPause()
    with pause.resting(MANY):
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    pause.walk_all()
    assert gc.get_freeze_count() == 0


def test_it_does_not_rest_for_little() -> None:
    """Most runs are small."""
    pause = GcPause()
    with pause.resting(MANY - 1):
        assert gc.isenabled()
    pause.walk_all()
    assert gc.get_freeze_count() == 0


def test_it_works_again_after_an_error() -> None:
    """What was read in vain is garbage."""
    pause = GcPause()
    with pytest.raises(ValueError, match="damaged"), pause.resting(MANY):
        raise ValueError("damaged")
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_collector_that_is_off_stays_off() -> None:
    """Somebody wants it so."""
    gc.disable()
    with GcPause().resting(MANY):
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_what_a_graph_grows_by_is_left_out_too() -> None:
    """Once it is much: what is frozen with it is never collected while the run is led."""
    pause = GcPause()
    with pause.resting(10):
        pass
    pause.spare(10 + MUCH - 1)
    assert gc.get_freeze_count() == 0
    pause.spare(10 + MUCH)
    frozen = gc.get_freeze_count()
    assert frozen > 0
    more: list[list[int]] = [[] for _ in range(1000)]
    pause.spare(10 + 2 * MUCH - 1)
    assert gc.get_freeze_count() <= frozen
    pause.spare(10 + 2 * MUCH)
    assert gc.get_freeze_count() >= len(more)
    pause.walk_all()
    assert gc.get_freeze_count() == 0
