"""Which tasks a coordinator takes for overdue, and what becomes of one that was lost."""

from __future__ import annotations

import pytest

from distflow.core.model import Retry, Task
from distflow.core.outcome import Attempt, decide_lost
from distflow.core.run import Beat, Claim
from distflow.core.status import TaskStatus
from distflow.core.watch.overdue import OverdueTasks

#: One that may take 2 s, and one that may take any time; both started at 100 s.
TIMEOUTS = {"a": 2.0}
CLAIMS = {
    name: Claim(1, 1, f"t-{name}", f"batch-{name}", 100_000, 100_000, 0, 0) for name in ("a", "b")
}


def beats(*, task: str = "a", overdue: bool = False) -> dict[str, Beat]:
    """What the batches say of themselves."""
    said = Beat("w", "job", 100_000, task, overdue)
    return {"batch-a": said, "batch-b": Beat("w", "job", 100_000, "b")}


def looks(
    watch: OverdueTasks, silent: set[str], seconds: list[float], **said: bool | str
) -> list[set[str]]:
    """What is to be stopped, so many seconds after the start."""
    return [
        watch.look(beats(**said), CLAIMS, silent, monotonic=second, now=100.0 + second)  # type: ignore[arg-type]
        for second in seconds
    ]


def test_a_beat_that_says_so_is_believed() -> None:
    """A batch whose beat calls its task overdue for 5 s is stopped, and is lost of that."""
    watch = OverdueTasks(TIMEOUTS.get, 5.0)
    assert looks(watch, set(), [3.0, 7.0, 8.5], overdue=True) == [set(), set(), {"batch-a"}]
    assert watch.is_overdue("a", "batch-a", beats())
    assert watch.is_overdue("a", "batch-a", beats(overdue=True))


def test_a_worker_that_beats_knows_better() -> None:
    """The call may be much later than the claim: no beat says that it is overdue."""
    watch = OverdueTasks(TIMEOUTS.get, 5.0)
    assert looks(watch, set(), [3.0, 9.0, 60.0]) == [set()] * 3
    assert not watch.is_overdue("a", "batch-a", beats())


def test_a_beat_is_about_its_own_task() -> None:
    """What was said of the task before says nothing of this one."""
    watch = OverdueTasks(TIMEOUTS.get, 5.0)
    assert looks(watch, set(), [3.0, 9.0], task="before", overdue=True) == [set()] * 2
    assert not watch.is_overdue("a", "batch-a", beats(task="before", overdue=True))


def test_a_silent_task_counts_from_its_start() -> None:
    """One that holds the interpreter lock lets nobody beat: the coordinator's clock decides, and
    not about a task that may take any time. Lost before, it is only lost.
    """
    watch = OverdueTasks(TIMEOUTS.get, 5.0)
    silent = {"batch-a", "batch-b"}
    assert looks(watch, silent, [1.0, 3.0, 7.0]) == [set()] * 3
    assert not watch.is_overdue("a", "batch-a", beats())
    assert looks(watch, silent, [8.5]) == [{"batch-a"}]
    assert watch.is_overdue("a", "batch-a", beats())
    assert not watch.is_overdue("b", "batch-b", beats())


@pytest.mark.parametrize(
    ("effects", "retry", "kind", "status"),
    [
        ("normal", None, "final", TaskStatus.FAILURE),
        ("normal", Retry(attempts=0, lost=3), "final", TaskStatus.FAILURE),
        ("normal", Retry(attempts=1), "wait", TaskStatus.FAILURE),
        ("idempotent", None, "final", TaskStatus.FAILURE),
        ("at_most_once", Retry(attempts=1), "final", TaskStatus.UNKNOWN),
    ],
)
def test_lost_of_its_timeout(
    effects: str, retry: Retry | None, kind: str, status: TaskStatus
) -> None:
    """It is decided as a timeout that its worker saw: no loss that a policy lets pass."""
    task = Task("a", "m:f", timeout=2.0, effects=effects, retry=retry)  # type: ignore[arg-type]
    decision = decide_lost(
        task,
        Attempt(1, 1, 0, 0, started=True),
        worker="w",
        cancelling=False,
        metrics=None,
        roll=0.5,
        overdue=True,
    )
    assert (decision.kind, decision.result.status) == (kind, status)
    assert decision.result.error == "TaskTimeout: ran longer than 2 s"
    assert decision.progress.attempt == 2


def test_a_task_that_takes_its_whole_timeout_is_not_overdue() -> None:
    """It may take 2 s, and counts as overdue from the first look after them."""
    watch = OverdueTasks(TIMEOUTS.get, 5.0)
    assert looks(watch, {"batch-a"}, [1.0, 2.0, 7.25, 12.25, 12.5]) == [set()] * 4 + [{"batch-a"}]


def test_a_lost_worker_may_have_said_it_before_anybody_looked() -> None:
    """Its last beat is enough; without one nothing is known."""
    watch = OverdueTasks(TIMEOUTS.get, 5.0)
    assert watch.is_overdue("a", "batch-a", beats(overdue=True))
    assert not watch.is_overdue("a", "batch-a", {})
    assert not watch.is_overdue("b", "batch-a", beats(overdue=True))


@pytest.mark.parametrize(
    ("clock", "started_ms"),
    [
        # Redis's clock is set forward by weeks, or back behind the start.
        ({1.0: 101.0, 1.5: 1e6, 6.9: 1e6}, 100_000),
        ({0.0: 50.0, 2.0: 50.0, 7.25: 50.0}, 100_000),
        # A claim that was not started yet.
        ({1.0: 101.0, 9.0: 109.0, 60.0: 160.0}, 0),
    ],
)
def test_a_start_is_seen_once(clock: dict[float, float], started_ms: int) -> None:
    """However Redis's clock is set later, and never in the future; what has not started is not
    overdue.
    """
    watch = OverdueTasks(TIMEOUTS.get, 5.0)
    claims = {"a": CLAIMS["a"]._replace(started=started_ms)}
    for monotonic, now in clock.items():
        assert watch.look({}, claims, {"batch-a"}, monotonic=monotonic, now=now) == set()


def test_a_claim_of_a_task_that_the_run_lacks_is_nobodys_timeout() -> None:
    """Somebody wrote into the store: what is not known is not judged."""
    watch = OverdueTasks(TIMEOUTS.get, 5.0)
    for second in (1.0, 9.0, 60.0):
        assert (
            watch.look({}, {"x": CLAIMS["a"]}, {"batch-a"}, monotonic=second, now=second) == set()
        )
