"""How long a batch works, when tasks that wait in it go elsewhere, and when a queue rests.

Pure policy, used by coordinators before they send and by workers before they claim.

Work horses import this module for every job: it imports nothing. Times are in milliseconds unless a
name says otherwise; ``now`` is the caller's monotonic clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

#: A function known to take no longer is claimed quietly, and together with others if it is
#: ``idempotent``.
SHORT_MS = 20.0

#: After this much work a batch claims no other task. The rest goes back, so that its worker is free
#: for the best ready task.
LONGEST_MS = 500.0

#: The longest time that an outcome waits for others, to be recorded together with them.
FLUSH_MS = 50.0

#: Tasks that wait behind one that has run for this long go to an idle worker.
HELD_MS = 2 * FLUSH_MS

#: What a task of a group costs beyond its function, and the size of a group at most.
GROUPED_TASK_MS = 0.05
GROUP_TASKS = 1000

#: Other tasks wait this long for an import that is known to be slow.
LONGEST_SETUP_MS = 1000.0

#: A task that came back unclaimed more than once waits this long.
BOUNCE_MS = 1000

#: Seconds for which a queue rests after Redis had no room for a batch; and the longest rest of a
#: queue whose workers cannot begin batches.
FULL_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 60.0


def is_short(run_ms: float | None) -> bool:
    """Whether a function that takes this long (None: unknown) is so short that no event need report
    its start.
    """
    return run_ms is not None and run_ms <= SHORT_MS


def is_grouped(effects: str, timeout: float | None, run_ms: float | None) -> bool:
    """Whether a task is claimed and recorded together with others: it must be allowed to run again.
    It must have no timeout: ending it from outside would lose the outcomes that are not recorded
    yet.
    """
    return effects == "idempotent" and timeout is None and is_short(run_ms)


def count_group(run_times_ms: Iterable[float | None]) -> int:
    """How many tasks to claim at once: as many as will have ended when the first outcome must be
    recorded.

    Args:
        run_times_ms: of the next tasks, in order; None for one that is not claimed with others.
    """
    left_ms, count = FLUSH_MS, 0
    for run_ms in run_times_ms:
        if run_ms is None:
            break
        count += 1
        left_ms -= run_ms + GROUPED_TASK_MS
        if left_ms <= 0 or count == GROUP_TASKS:
            break
    return count


def has_worked_long(seconds: float) -> bool:
    """Whether a batch claims no more tasks after this much work."""
    return seconds >= LONGEST_MS / 1000


def patience_ms(held_ms: float, *, setup_ms: float | None, grouped: bool) -> float:
    """The silence of a batch after which tasks that wait in it go elsewhere: by then the running
    call has taken long.

    Args:
        held_ms: how long a call may take.
        setup_ms: the time before its first call, if the batch is still at that; else None.
        grouped: whether the running task was claimed together with others: the worker gives those
            back by itself.
    """
    if setup_ms is not None:
        return held_ms + min(setup_ms, LONGEST_SETUP_MS)
    return 2 * held_ms if grouped else held_ms


class Crew(NamedTuple):
    """The workers that share the work: how many listen to a queue, and how many of them are
    idle.
    """

    workers: int
    idle: int

    @classmethod
    def of(cls, workers: int, out: int) -> Crew:
        """The crew for this many registered workers and open batches."""
        workers = max(1, workers)
        return cls(workers, max(0, workers - out))


#: For a single task, for which workers are not counted. Others may be idle: tasks that become ready
#: by it are for them, too.
UNCOUNTED_CREW = Crew(1, 2)


class QueueRests:
    """Which queues rest: a worker that cannot begin batches pops jobs at once, and would otherwise
    get the same ones over and over.
    """

    def __init__(self) -> None:
        #: Queue -> how often in a row its workers could not begin a batch, and until when it rests.
        self._rests: dict[str, tuple[int, float]] = {}

    def is_resting(self, queue: str, now: float) -> bool:
        """Whether a queue rests: nothing is sent to it."""
        return now < self.until(queue)

    def until(self, queue: str) -> float:
        """Until when a queue rests; in the past if it does not."""
        return self._rests.get(queue, (0, 0.0))[1]

    def note_failed(self, queue: str, now: float) -> None:
        """A worker could not begin a batch: the queue rests, twice as long each time."""
        times = self._rests.get(queue, (0, 0.0))[0]
        self._rests[queue] = times + 1, now + min(LONGEST_REST_SECONDS, 2.0**times)

    def note_full(self, queue: str, now: float) -> None:
        """Redis had no room for a batch."""
        times = self._rests.get(queue, (0, 0.0))[0]
        self._rests[queue] = times, now + FULL_REST_SECONDS

    def note_begun(self, queue: str) -> None:
        """A worker has begun a batch, or none was asked to."""
        self._rests.pop(queue, None)


class Lingering:
    """Which queues hold back a little work for a moment: batches that are out may add to it.

    Args:
        linger_ms: how long.
        job_ms: less work than this is little.
    """

    def __init__(self, linger_ms: float, job_ms: float) -> None:
        self._linger_seconds = linger_ms / 1000
        self._job_ms = job_ms
        #: Queue -> until when.
        self._until: dict[str, float] = {}

    @property
    def until(self) -> Mapping[str, float]:
        """Queue -> until when its work was held back; in the past if it was not asked for since."""
        return self._until

    def holds_back(self, queue: str, work_ms: float, now: float, *, awaits: bool) -> bool:
        """Whether this much work of a queue is held back; ``awaits`` says whether batches are
        out.
        """
        little = awaits and work_ms < self._job_ms
        if little and now < self._until.setdefault(queue, now + self._linger_seconds):
            return True
        self._until.pop(queue, None)
        return False


class Bounces:
    """How often tasks came back from batches that could claim none of them: Redis's clock was set
    back, say.
    """

    def __init__(self) -> None:
        #: Task index -> how often.
        self._times: dict[int, int] = {}

    def note(self, index: int) -> int:
        """A task came back; returns how long it waits: 0 the first time."""
        times = self._times.get(index, 0)
        self._times[index] = times + 1
        return BOUNCE_MS if times else 0
