"""How long a batch goes on, when what waits in it goes elsewhere, and when a queue rests.

Pure policy, asked by coordinators before they send and by workers before they claim.

Work horses import this module for every job: it imports nothing. Times are in milliseconds where a
name does not say otherwise; ``now`` is the caller's monotonic clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

#: A function that is known to take no longer is claimed quietly, and with others where it is
#: ``idempotent``.
SHORT_MS = 20.0

#: Work after which a batch claims no other task: what it has left goes back, so that its worker is
#: free for whatever comes first by then.
LONGEST_MS = 500.0

#: For so long an outcome waits for others at most, which are recorded along with it.
FLUSH_MS = 50.0

#: What waits behind a task that has run for so long goes to a worker that idles.
HELD_MS = 2 * FLUSH_MS

#: What a task of a group costs beyond its function, and how many there are at most.
GROUPED_TASK_MS = 0.05
GROUP_TASKS = 1000

#: For so long others wait for an import that is known to be slow.
LONGEST_SETUP_MS = 1000.0

#: For so long a task waits that came back unclaimed more than once.
BOUNCE_MS = 1000

#: Seconds for which nothing is sent to a queue where Redis had no room for a batch, and for which a
#: queue rests at most whose workers cannot begin batches.
FULL_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 60.0


def is_short(run_ms: float | None) -> bool:
    """Whether a function that takes so long (None: nobody knows) is so short that nobody need be
    told of its begin.
    """
    return run_ms is not None and run_ms <= SHORT_MS


def is_grouped(effects: str, timeout: float | None, run_ms: float | None) -> bool:
    """Whether a task is claimed along with others, and recorded with them: what is lost of it may
    run again. A task that is ended from outside would take along what is not recorded yet.
    """
    return effects == "idempotent" and timeout is None and is_short(run_ms)


def count_group(run_times_ms: Iterable[float | None]) -> int:
    """How many tasks are claimed at once: as many as have ended when the first outcome must be
    recorded.

    Args:
        run_times_ms: of the tasks at hand, in order; None of one that is not claimed with others.
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
    """Whether a batch claims no more after so much work."""
    return seconds >= LONGEST_MS / 1000


def patience_ms(held_ms: float, *, setup_ms: float | None, grouped: bool) -> float:
    """After how much silence of a batch what waits in it goes elsewhere: from where the call of its
    task at work has taken long.

    Args:
        held_ms: for a call that takes long.
        setup_ms: what comes before its first call, where it is at that; None where it is not.
        grouped: whether the task at work was claimed along with others: those its worker gives back
            by itself.
    """
    if setup_ms is not None:
        return held_ms + min(setup_ms, LONGEST_SETUP_MS)
    return 2 * held_ms if grouped else held_ms


class Crew(NamedTuple):
    """The workers that work is shared out among: how many listen to a queue, and how many of them
    have nothing to do.
    """

    workers: int
    idle: int

    @classmethod
    def of(cls, workers: int, out: int) -> Crew:
        """Of so many that are registered, while so many batches are out."""
        workers = max(1, workers)
        return cls(workers, max(0, workers - out))


#: For a single task, which has room however many workers there are. Others may idle: what follows
#: from it is for them as well.
UNCOUNTED_CREW = Crew(1, 2)


class QueueRests:
    """Which queues rest: a worker that cannot begin a batch takes what it is given at once, and
    would be given it for ever.
    """

    def __init__(self) -> None:
        #: Queue -> how often in a row its workers could not begin a batch, and until when it rests.
        self._rests: dict[str, tuple[int, float]] = {}

    def is_resting(self, queue: str, now: float) -> bool:
        """Whether nothing is sent to a queue."""
        return now < self.until(queue)

    def until(self, queue: str) -> float:
        """Until when nothing is sent to a queue; in the past where it does not rest."""
        return self._rests.get(queue, (0, 0.0))[1]

    def note_failed(self, queue: str, now: float) -> None:
        """A worker could not begin a batch: twice as long each time."""
        times = self._rests.get(queue, (0, 0.0))[0]
        self._rests[queue] = times + 1, now + min(LONGEST_REST_SECONDS, 2.0**times)

    def note_full(self, queue: str, now: float) -> None:
        """Redis had no room for a batch."""
        times = self._rests.get(queue, (0, 0.0))[0]
        self._rests[queue] = times, now + FULL_REST_SECONDS

    def note_begun(self, queue: str) -> None:
        """A worker has begun a batch, or nobody was asked to."""
        self._rests.pop(queue, None)


class Lingering:
    """Which queues have little work that is held back for a moment: batches that are out may bring
    more.

    Args:
        linger_ms: for how long.
        job_ms: less work is little.
    """

    def __init__(self, linger_ms: float, job_ms: float) -> None:
        self._linger_seconds = linger_ms / 1000
        self._job_ms = job_ms
        #: Queue -> until when.
        self._until: dict[str, float] = {}

    @property
    def until(self) -> Mapping[str, float]:
        """Until when little work was held back, by queue; in the past where it was not asked for
        again since.
        """
        return self._until

    def holds_back(self, queue: str, work_ms: float, now: float, *, awaits: bool) -> bool:
        """Whether so much work of a queue is held back; ``awaits`` says whether batches are out."""
        little = awaits and work_ms < self._job_ms
        if little and now < self._until.setdefault(queue, now + self._linger_seconds):
            return True
        self._until.pop(queue, None)
        return False


class Bounces:
    """How often tasks came back from batches that could claim nothing: Redis's clock was set back,
    say.
    """

    def __init__(self) -> None:
        #: By index of the task.
        self._times: dict[int, int] = {}

    def note(self, index: int) -> int:
        """A task came back; returns for how long it waits. At once the first time."""
        times = self._times.get(index, 0)
        self._times[index] = times + 1
        return BOUNCE_MS if times else 0
