"""Which ready tasks travel together: pure policy, asked by coordinators before they send.

A job costs its worker some milliseconds whatever it carries, so that short tasks travel together
and long ones alone. A batch is filled with the best ready task first; tasks that become ready by
what is in it already may follow in the same batch: chains and small subgraphs travel as one, for
half a second at most. While workers idle, nobody waits behind a task that is long, or of which
nobody knows how long it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from math import ceil, inf
from typing import NamedTuple, TypeVar

from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.pacing import HELD_MS, LONGEST_MS, Crew, is_grouped
from distflow.core.ready import ReadyQueue, index_of, sort_key

_Key = TypeVar("_Key")


class BatchLimits(NamedTuple):
    """How large batches may be; times in milliseconds."""

    #: A batch may always take so long, even while a worker idles; a task of this length travels
    #: alone, unless its job costs more than the task.
    floor_ms: float = 50.0
    #: No batch is made to take longer.
    longest_ms: float = LONGEST_MS
    #: What waits behind a task that has run for so long goes to a worker that idles.
    held_ms: float = HELD_MS
    #: While batches are out, little work is held back for so long: their tasks may bring more.
    linger_ms: float = 10.0
    #: What a job costs its worker by itself: less work than this is not worth another worker.
    job_ms: float = 10.0
    #: What a task costs beyond the run time of its function, and one that is recorded along with
    #: others.
    task_ms: float = 0.15
    grouped_ms: float = 0.04
    #: Run time that is assumed of a function that was never measured.
    unknown_ms: float = 5.0
    #: Tasks in one batch: what a worker reads at once.
    tasks: int = 4000
    #: Bytes of arguments in one batch, which is one job of RQ; a task that has more travels alone.
    bytes: int = 8 * 1024 * 1024
    #: Batches that may be out per live worker and queue: one at work, one behind it.
    per_worker: int = 2


class Estimates:
    """The run time of functions, what a job pays before the first call of one, and what a task
    costs beyond its call, as they were measured: moving means that believe bad news at once.

    Args:
        limits: what is assumed where nothing was measured.
    """

    #: Weight of the newest measurement: of a run time, and of a setup, which differs less.
    _WEIGHT = 0.2
    _SETUP_WEIGHT = 0.5

    #: Nothing is taken for more: Redis was away, or the worker was frozen. Tasks that were thought
    #: to cost so much that each travels alone would never be found to cost less.
    _LONGEST_SETUP_MS = 10_000.0
    _LARGEST_OVERHEAD_MS = 5.0

    #: So many tell what each costs.
    _MANY_TASKS = 10

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._mean_ms: dict[str, float] = {}
        self._setup_ms: dict[str, float] = {}
        #: Of tasks that are recorded along with others, and of the others.
        self._overhead_ms = {True: limits.grouped_ms, False: limits.task_ms}

    def learn(self, function: str, seconds: float) -> None:
        """A task of this function ran for so long."""
        _learn(self._mean_ms, function, seconds * 1000, self._WEIGHT)

    def learn_setup(self, function: str, ms: float) -> None:
        """A batch that began with this function took so long until its first call: it imported the
        function's module, made the run's context, and read what the task is given.
        """
        ms = min(max(0.0, ms), self._LONGEST_SETUP_MS)
        _learn(self._setup_ms, function, ms, self._SETUP_WEIGHT)

    def learn_batch(self, first: Task, done: Sequence[Task], ms: float) -> None:
        """A batch that began with one task has done these, one after another, in so long in all:
        where there were many that tells what each costs beyond its call.
        """
        if len(done) >= self._MANY_TASKS:
            self.learn_overhead(done, ms - self.setup_ms(first.function))

    def learn_overhead(self, tasks: Sequence[Task], ms: float) -> None:
        """These tasks, one after another in a batch, took so long in all. Where Redis is far away
        or the machine is busy they cost more than is assumed, and never less; but not any amount.
        Of a batch that was short little is known: what it costs itself is no task's.
        """
        kinds = {(task.function, task.effects, task.timeout) for task in tasks}
        mean = self._mean_ms.get(tasks[0].function)
        if len(kinds) > 1 or mean is None:
            return
        grouped = self._is_grouped(tasks[0], mean)
        least = self._limits.grouped_ms if grouped else self._limits.task_ms
        found = min(max(least, ms / len(tasks) - mean), self._LARGEST_OVERHEAD_MS)
        if ms >= self._limits.longest_ms / 2 or found < self._overhead_ms[grouped]:
            _learn(self._overhead_ms, grouped, found, self._WEIGHT)

    def setup_ms(self, function: str) -> float:
        """What a job is expected to pay before the first call of a function; 0 where that was never
        measured.
        """
        return self._setup_ms.get(function, 0.0)

    def run_ms(self, function: str) -> float | None:
        """The expected run time of a function, without overhead; None where it is unknown."""
        return self._mean_ms.get(function)

    def cost_ms(self, task: Task) -> float:
        """What a task costs its worker, overhead included, on a machine that is not busy: what a
        job costs is known for such a one as well.
        """
        limits, mean = self._limits, self._mean_ms.get(task.function)
        if mean is None:
            return limits.task_ms + limits.unknown_ms
        return mean + (limits.grouped_ms if self._is_grouped(task, mean) else limits.task_ms)

    def real_ms(self, task: Task) -> float:
        """The same as things are: how many tasks half a second holds."""
        mean = self._mean_ms.get(task.function)
        if mean is None:
            return self.cost_ms(task)
        return mean + self._overhead_ms[self._is_grouped(task, mean)]

    def _is_grouped(self, task: Task, run_ms: float) -> bool:
        return is_grouped(task.effects, task.timeout, run_ms)


#: A share and the sum of its parts may differ by so much.
_ROUNDING_MS = 1e-6

#: Ready tasks that are looked at, to know about all of them.
_SAMPLE = 32

#: The share of a setup that the work of another worker must be worth: it spares so much time, and
#: costs a processor the whole.
_WORTH_OF_SETUP = 0.25


class Portion(NamedTuple):
    """What one batch may have; times in milliseconds."""

    budget_ms: float
    #: A task of this length travels alone.
    alone_ms: float
    #: How many ready tasks of unknown length, and whether another worker idles, which would take
    #: those that what is in the batch makes ready.
    unknown: float = inf
    spreads: bool = False


def _learn(means_ms: dict[_Key, float], key: _Key, ms: float, weight: float) -> None:
    mean = means_ms.get(key)
    if mean is None or ms > 4 * mean + 1:
        means_ms[key] = ms
    else:
        means_ms[key] = mean + weight * (ms - mean)


class BatchComposer:
    """Fills batches with the tasks of one run.

    Args:
        graph: the run's.
        unmet: tells of a task that is pending how many of its dependencies are not satisfied;
            None of any other, which no batch enables: one from a snapshot may have its outcome
            before its dependencies have theirs.
        travels_alone: tells of a task whether it must be the only one of its batch.
        estimates: what functions cost.
        limits: how large batches may be.
        weigh: tells about how many bytes a task's arguments have.
    """

    def __init__(
        self,
        graph: Graph,
        unmet: Callable[[int], int | None],
        travels_alone: Callable[[int], bool],
        estimates: Estimates,
        limits: BatchLimits,
        *,
        weigh: Callable[[Task], int] = lambda _task: 0,
    ) -> None:
        self._graph = graph
        self._weigh = weigh
        self._unmet = unmet
        self._travels_alone = travels_alone
        self._estimates = estimates
        self._limits = limits

    def compose(self, ready: ReadyQueue, crew: Crew, *, slots: int) -> Iterator[list[int]]:
        """Batches for one queue, each in dependency order, until nothing is ready.

        Args:
            ready: taken from.
            crew: the workers of the queue.
            slots: how many batches may be sent at most.
        """
        workers, idle = crew
        while slots > 0 and ready.peek() is not None:
            batch = self._fill(ready, self._portion(ready, workers, idle))
            if not batch:
                return
            yield batch
            slots -= 1
            idle = max(0, idle - 1)

    def work_ms(self, ready: ReadyQueue) -> float:
        """About how long one worker would take for all that is ready."""
        sample = [self._graph.tasks[index] for index in ready.sample(_SAMPLE)]
        if not sample:
            return 0.0
        total = sum(self._estimates.cost_ms(task) for task in sample)
        return total / len(sample) * len(ready)

    def _portion(self, ready: ReadyQueue, workers: int, idle: int) -> Portion:
        """What the next batch may have."""
        limits, estimates = self._limits, self._estimates
        sample = [self._graph.tasks[index] for index in ready.sample(_SAMPLE)]
        setup_ms = max(estimates.setup_ms(task.function) for task in sample)
        work_ms = self.work_ms(ready)
        if idle > 1:
            # An even share is one in whole tasks.
            work_ms += work_ms / len(ready) * (idle - 1)
        budget_ms = self._budget_ms(work_ms, setup_ms, workers, idle)
        alone_ms = max(limits.floor_ms, setup_ms)
        if idle <= 1:
            return Portion(budget_ms, alone_ms)
        unknown = sum(estimates.run_ms(task.function) is None for task in sample)
        share = ceil(unknown / len(sample) * len(ready) / idle)
        return Portion(budget_ms, min(alone_ms, limits.held_ms), share, spreads=True)

    def _budget_ms(self, work_ms: float, setup_ms: float, workers: int, idle: int) -> float:
        """How long a batch may take, its setup left out.

        Where there is work for all workers: half an even share, so that who is done early finds
        more, but no longer than a batch may. Where there is less: an even share for those that
        idle, as much as a job costs at most. Where even that is not worth a job: all of it, and
        what follows from it.
        """
        limits = self._limits
        worth = min(max(limits.floor_ms, setup_ms), limits.longest_ms)
        share = work_ms / (2 * workers)
        if share > worth:
            return min(share, limits.longest_ms)
        each = work_ms / idle if idle else max(limits.floor_ms, work_ms / workers)
        if each < limits.job_ms + setup_ms * _WORTH_OF_SETUP:
            return worth
        return min(worth, each)

    def _fill(self, ready: ReadyQueue, portion: Portion) -> list[int]:
        tasks, children = self._graph.tasks, self._graph.children
        batch: list[int] = []
        left_ms, left_bytes = portion.budget_ms + _ROUNDING_MS, self._limits.bytes
        #: What it may take at most, as things are.
        longest_ms, left_unknown = self._limits.longest_ms, portion.unknown
        #: Tasks that what is in the batch makes ready, by their keys.
        enabled: list[int] = []
        #: Dependencies that are neither satisfied nor in the batch.
        unmet: dict[int, int] = {}
        #: Function, effects and timeout -> cost of a task, and the same as things are.
        costs: dict[tuple[object, ...], tuple[float, float]] = {}
        while len(batch) < self._limits.tasks:
            best = ready.peek()
            if best is not None and (not enabled or best < enabled[0]):
                key, from_ready = best, True
            elif enabled:
                key, from_ready = enabled[0], False
            else:
                break
            index = index_of(key)
            task = tasks[index]
            kind = (task.function, task.effects, task.timeout)
            if kind not in costs:
                costs[kind] = self._estimates.cost_ms(task), self._estimates.real_ms(task)
            cost_ms, real_ms = costs[kind]
            alone = cost_ms >= portion.alone_ms or self._travels_alone(index)
            weight = self._weigh(task)
            is_unknown = portion.spreads and self._estimates.run_ms(task.function) is None
            # What follows in a line has no other worker to go to: it costs nobody anything.
            in_line = best is None and len(enabled) == 1
            is_over = alone or weight > left_bytes or real_ms > longest_ms
            if not in_line:
                stacks = is_unknown and (left_unknown < 1 or not from_ready)
                is_over = is_over or cost_ms > left_ms or stacks
            if batch and is_over:
                break
            if from_ready:
                ready.pop()
                left_unknown -= is_unknown
            else:
                heapq.heappop(enabled)
            batch.append(index)
            left_ms -= cost_ms
            longest_ms -= real_ms
            left_bytes -= weight
            if alone:
                break
            for child in children[index]:
                known = unmet.get(child)
                if known is None:
                    known = self._unmet(child)
                    if known is None:
                        continue
                unmet[child] = left = known - 1
                if left == 0 and tasks[child].queue == task.queue:
                    heapq.heappush(enabled, sort_key(tasks[child].priority, child))
        return batch


def find_behind(
    batch: Sequence[int], parents: Sequence[Sequence[int]], open_tasks: Callable[[int], bool]
) -> list[int]:
    """Of a batch, the tasks that wait behind the one at work, which is the first of its open ones,
    and do not rest on it: another worker could take them.

    Args:
        batch: its tasks in order.
        parents: of each task.
        open_tasks: tells of a task whether it has not ended and is still this batch's.
    """
    left = [index for index in batch if open_tasks(index)]
    bound = set(left[:1])
    for index in left[1:]:
        if not bound.isdisjoint(parents[index]):
            bound.add(index)
    return [index for index in left if index not in bound]
