"""Decides which ready tasks travel together: pure policy, used by coordinators before they send.

A job costs its worker some milliseconds whatever it carries, so short tasks travel together and
long ones alone. A batch is filled with the best ready tasks first. Tasks whose dependencies are in
the batch may follow in it, so chains and small subgraphs travel as one; a batch is planned to take
half a second at most. While workers are idle, no task waits behind a long one, or behind one of
unknown length.
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

    #: A batch may always take this long, even while a worker is idle. A task of this length travels
    #: alone, unless its job costs more than the task.
    floor_ms: float = 50.0
    #: No batch is planned to take longer.
    longest_ms: float = LONGEST_MS
    #: Tasks that wait behind one that has run for this long go to an idle worker.
    held_ms: float = HELD_MS
    #: While batches are out, a little work is held back for this long: their tasks may add to it.
    linger_ms: float = 10.0
    #: What a job itself costs its worker: less work than this is not worth another worker.
    job_ms: float = 10.0
    #: What a task costs beyond the run time of its function; and what one costs that is recorded
    #: together with others.
    task_ms: float = 0.15
    grouped_ms: float = 0.04
    #: Assumed run time of a function that was not measured yet.
    unknown_ms: float = 5.0
    #: Most tasks in one batch: a worker reads that many at once.
    tasks: int = 4000
    #: Most bytes of arguments in one batch, which is one RQ job; a task that has more travels
    #: alone.
    bytes: int = 8 * 1024 * 1024
    #: Batches that may be out per live worker and queue: one running, one queued behind it.
    per_worker: int = 2


class Estimates:
    """Measured costs: the run time of functions, what a job spends before its first call, and what
    a task costs beyond its call. Moving averages that take a higher cost over at once.

    Args:
        limits: assumptions for what was not measured.
    """

    #: Weight of the newest measurement, for run times and for setups, which vary less.
    _WEIGHT = 0.2
    _SETUP_WEIGHT = 0.5

    #: Measurements are capped here: longer ones mean that Redis was away or the worker frozen.
    #: Tasks that seemed so expensive that each travels alone would never be measured as cheaper.
    _LONGEST_SETUP_MS = 10_000.0
    _LARGEST_OVERHEAD_MS = 5.0

    #: A batch with this many tasks shows what each of them costs.
    _MANY_TASKS = 10

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._mean_ms: dict[str, float] = {}
        self._setup_ms: dict[str, float] = {}
        #: For tasks that are recorded together with others (True), and for those that are not.
        self._overhead_ms = {True: limits.grouped_ms, False: limits.task_ms}

    def learn(self, function: str, seconds: float) -> None:
        """A task of this function ran for this long."""
        _learn(self._mean_ms, function, seconds * 1000, self._WEIGHT)

    def learn_setup(self, function: str, ms: float) -> None:
        """A batch that began with this function took this long until its first call: it imported
        the function's module, made the run's context, and read the task's inputs.
        """
        ms = min(max(0.0, ms), self._LONGEST_SETUP_MS)
        _learn(self._setup_ms, function, ms, self._SETUP_WEIGHT)

    def learn_batch(self, first: Task, done: Sequence[Task], ms: float) -> None:
        """A batch that began with one task has then run these in sequence, in this time. If there
        were many, this shows what each costs beyond its call.
        """
        if len(done) >= self._MANY_TASKS:
            self.learn_overhead(done, ms - self.setup_ms(first.function))

    def learn_overhead(self, tasks: Sequence[Task], ms: float) -> None:
        """These tasks took this long in sequence in a batch. If Redis is far away or the machine is
        busy, they cost more than assumed, up to a limit, and never less. A short batch shows
        little: its own cost must not be counted as a task's.
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
        """The time that a job is expected to spend before the first call of a function; 0 if that
        was not measured yet.
        """
        return self._setup_ms.get(function, 0.0)

    def run_ms(self, function: str) -> float | None:
        """The expected run time of a function, without overhead; None if unknown."""
        return self._mean_ms.get(function)

    def cost_ms(self, task: Task) -> float:
        """What a task costs its worker, overhead included, on a machine that is not busy: the known
        cost of a job is that on such a machine, too.
        """
        limits, mean = self._limits, self._mean_ms.get(task.function)
        if mean is None:
            return limits.task_ms + limits.unknown_ms
        return mean + (limits.grouped_ms if self._is_grouped(task, mean) else limits.task_ms)

    def real_ms(self, task: Task) -> float:
        """The same as measured on this machine: it says how many tasks fit into half a second."""
        mean = self._mean_ms.get(task.function)
        if mean is None:
            return self.cost_ms(task)
        return mean + self._overhead_ms[self._is_grouped(task, mean)]

    def _is_grouped(self, task: Task, run_ms: float) -> bool:
        return is_grouped(task.effects, task.timeout, run_ms)


#: Tolerance when a share is compared with the sum of its parts.
_ROUNDING_MS = 1e-6

#: Sample size: how many ready tasks stand for all of them.
_SAMPLE = 32

#: Another worker must have work worth this share of its setup: it saves that much time, and costs a
#: processor the whole setup.
_WORTH_OF_SETUP = 0.25


class Portion(NamedTuple):
    """What one batch may contain; times in milliseconds."""

    budget_ms: float
    #: A task of this length travels alone.
    alone_ms: float
    #: How many ready tasks of unknown length it may have; and whether another worker is idle, and
    #: could take tasks that this batch makes ready.
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
        unmet: returns for a pending task how many of its dependencies are not satisfied, and None
            for any other. No batch makes those ready: a task from a snapshot may have its outcome
            before its dependencies have theirs.
        travels_alone: returns whether a task must be the only one in its batch.
        estimates: what functions cost.
        limits: how large batches may be.
        weigh: returns roughly how many bytes a task's arguments have.
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
            ready: the queue's ready tasks; those that go into batches are removed.
            crew: the workers of the queue.
            slots: at most this many batches.
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
        """Roughly how long one worker would take for all ready tasks."""
        sample = [self._graph.tasks[index] for index in ready.sample(_SAMPLE)]
        if not sample:
            return 0.0
        total = sum(self._estimates.cost_ms(task) for task in sample)
        return total / len(sample) * len(ready)

    def _portion(self, ready: ReadyQueue, workers: int, idle: int) -> Portion:
        """What the next batch may contain."""
        limits, estimates = self._limits, self._estimates
        sample = [self._graph.tasks[index] for index in ready.sample(_SAMPLE)]
        setup_ms = max(estimates.setup_ms(task.function) for task in sample)
        work_ms = self.work_ms(ready)
        if idle > 1:
            # Round an even share up to whole tasks.
            work_ms += work_ms / len(ready) * (idle - 1)
        budget_ms = self._budget_ms(work_ms, setup_ms, workers, idle)
        alone_ms = max(limits.floor_ms, setup_ms)
        if idle <= 1:
            return Portion(budget_ms, alone_ms)
        unknown = sum(estimates.run_ms(task.function) is None for task in sample)
        share = ceil(unknown / len(sample) * len(ready) / idle)
        return Portion(budget_ms, min(alone_ms, limits.held_ms), share, spreads=True)

    def _budget_ms(self, work_ms: float, setup_ms: float, workers: int, idle: int) -> float:
        """How long a batch may take, without its setup.

        If there is work for all workers: half an even share, so that a worker that finishes early
        finds more, and no longer than a batch may take. If there is less: an even share for the
        idle workers, of at most the cost of a job. If even that is not worth a job: all of it, and
        what becomes ready by it.
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
        #: The most that it may take, in measured time.
        longest_ms, left_unknown = self._limits.longest_ms, portion.unknown
        #: Keys of the tasks that the batch so far makes ready.
        enabled: list[int] = []
        #: Task -> how many of its dependencies are neither satisfied nor in the batch.
        unmet: dict[int, int] = {}
        #: Function, effects and timeout -> planned cost of a task, and measured cost.
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
            # The only successor in a chain cannot use another worker: taking it along delays
            # nothing.
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
    """The tasks of a batch that wait behind the running one, which is the first open one, without
    depending on it: another worker could take them.

    Args:
        batch: its tasks in order.
        parents: of each task.
        open_tasks: returns whether a task has not ended and still belongs to this batch.
    """
    left = [index for index in batch if open_tasks(index)]
    bound = set(left[:1])
    for index in left[1:]:
        if not bound.isdisjoint(parents[index]):
            bound.add(index)
    return [index for index in left if index not in bound]
