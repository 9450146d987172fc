"""Events that were lost: found by what the store has, and never in the middle of a run at work."""

from __future__ import annotations

import pytest

from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.run import Vitals
from distflow.core.state import TaskStateManager
from distflow.core.status import RunStatus, TaskStatus
from distflow.core.watch.drift import DriftWatch

PATIENCE = 3.0
SAME = Vitals(1, 0, "5-0", "running", 0)
MORE = Vitals(2, 0, "5-0", "running", 0)


@pytest.fixture
def state() -> TaskStateManager:
    """Two tasks, one of them done."""
    graph = Graph.compile([Task("a", "m:f"), Task("b", "m:f")])
    return TaskStateManager(graph, {"a": TaskStatus.SUCCESS}, {}, {}, 0)


def looks(watch: DriftWatch, state: TaskStateManager, *seen: Vitals) -> list[bool]:
    """One look each second, at what the store has then; the newest event known is 5-0."""
    return [
        watch.look(vitals, state, RunStatus.RUNNING, "5-0", float(second))
        for second, vitals in enumerate(seen)
    ]


@pytest.mark.parametrize(
    "vitals",
    [
        MORE,
        Vitals(0, 0, "0-0", "running", 0),
        Vitals(1, 0, "4-9", "paused", 0),
        Vitals(1, 0, "0-0", "running", 1),
        Vitals(1, 0, "5-0", "running", 0, expansions=1),
    ],
)
def test_what_stays_different_is_lost_events(state: TaskStateManager, vitals: Vitals) -> None:
    """An outcome or a move of the run of which no event has told, or one that is gone."""
    watch = DriftWatch(PATIENCE)
    assert looks(watch, state, SAME, *[vitals] * 5) == [False] * 4 + [True, False]


def test_what_events_will_tell_is_no_difference(state: TaskStateManager) -> None:
    """Newer events are there: they are read first, however long that takes."""
    behind = Vitals(2, 0, "5-1", "running", 0)
    assert not any(looks(DriftWatch(PATIENCE), state, *[behind] * 9))


def test_what_passes_is_no_difference(state: TaskStateManager) -> None:
    """Decided here, and written a moment later."""
    assert not any(looks(DriftWatch(PATIENCE), state, *[MORE, MORE, MORE, SAME] * 3))


def test_reading_again_for_ever_helps_nobody(state: TaskStateManager) -> None:
    """What is different still when all was read again is left alone until it changes."""
    watch = DriftWatch(PATIENCE)
    worse = Vitals(3, 0, "5-0", "running", 0)
    seen = looks(watch, state, *[MORE] * 12, *[worse] * 4)
    assert seen == [False] * 3 + [True] + [False] * 8 + [False] * 3 + [True]


def test_a_claim_that_was_not_told_is_no_loss(state: TaskStateManager) -> None:
    """Its end will be; one that is gone without a word is."""
    claimed = Vitals(1, 1, "5-0", "running", 0)
    assert not any(looks(DriftWatch(PATIENCE), state, *[claimed] * 9))
    state.on_claimed(1)
    assert looks(DriftWatch(PATIENCE), state, *[SAME] * 4)[-1]
    assert not any(looks(DriftWatch(PATIENCE), state, *[claimed] * 9))


def test_an_unknown_task_that_was_decided_without_a_word_is_lost_events() -> None:
    """A decision makes no new outcome; as long as it is unknown on both sides, nothing is lost."""
    graph = Graph.compile([Task("a", "m:f"), Task("b", "m:f")])
    known = {"a": TaskStatus.SUCCESS, "b": TaskStatus.UNKNOWN}
    state = TaskStateManager(graph, known, {}, {}, 0)
    undecided = Vitals(2, 0, "5-0", "running", 1)
    assert not any(looks(DriftWatch(PATIENCE), state, *[undecided] * 9))
    assert looks(DriftWatch(PATIENCE), state, *[undecided._replace(unknown=0)] * 4)[-1]


def test_a_run_that_the_store_lacks_is_no_lost_event(state: TaskStateManager) -> None:
    """Nothing can be read again that would tell of it."""
    gone = SAME._replace(status="")
    assert not any(looks(DriftWatch(PATIENCE), state, *[gone] * 9))
