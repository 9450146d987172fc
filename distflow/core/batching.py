"""Which ready tasks travel together: pure policy, asked by coordinators before they send.

A job costs its worker some milliseconds whatever it carries, so that short tasks travel together
and long ones alone. A batch is filled with the best ready task first; tasks that become ready by
what is in it already may follow in the same batch: chains and small subgraphs travel as one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple

from distflow.core.claim import SHORT_MS
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.ready import ReadyQueue, index_of, sort_key


class BatchLimits(NamedTuple):
    """How large batches may be; times in milliseconds."""

    #: A batch may always take so long, even while a worker idles; a task of this length travels
    #: alone.
    floor_ms: float = 50.0
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


class Estimates:
    """The run time of functions, as it was measured: a moving mean that believes bad news at once.

    Args:
        limits: what is assumed where nothing was measured.
    """

    #: Weight of the newest measurement.
    _WEIGHT = 0.2

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._mean_ms: dict[str, float] = {}

    def learn(self, function: str, seconds: float) -> None:
        """A task of this function ran for so long."""
        ms = seconds * 1000
        mean = self._mean_ms.get(function)
        if mean is None or ms > 4 * mean + 1:
            self._mean_ms[function] = ms
        else:
            self._mean_ms[function] = mean + self._WEIGHT * (ms - mean)

    def run_ms(self, function: str) -> float | None:
        """The expected run time of a function, without overhead; None where it is unknown."""
        return self._mean_ms.get(function)

    def cost_ms(self, task: Task) -> float:
        """What a task costs its worker, overhead included."""
        limits, mean = self._limits, self._mean_ms.get(task.function)
        if mean is None:
            return limits.task_ms + limits.unknown_ms
        grouped = task.effects == "idempotent" and mean <= SHORT_MS and task.timeout is None
        return mean + (limits.grouped_ms if grouped else limits.task_ms)


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

    def compose(
        self, ready: ReadyQueue, *, slots: int, workers: int, idle: int
    ) -> Iterator[list[int]]:
        """Batches for one queue, each in dependency order, until nothing is ready.

        Args:
            ready: taken from.
            slots: how many batches may be sent at most.
            workers: how many listen to the queue, at least 1.
            idle: how many of them have nothing to do.
        """
        while slots > 0 and ready.peek() is not None:
            batch = self._fill(ready, self._budget_ms(ready, workers, idle))
            if not batch:
                return
            yield batch
            slots -= 1
            idle = max(0, idle - 1)

    def work_ms(self, ready: ReadyQueue) -> float:
        """About how long one worker would take for all that is ready."""
        sample = ready.sample(32)
        if not sample:
            return 0.0
        tasks = self._graph.tasks
        total = sum(self._estimates.cost_ms(tasks[index]) for index in sample)
        return total / len(sample) * len(ready)

    def _budget_ms(self, ready: ReadyQueue, workers: int, idle: int) -> float:
        """How long the next batch may take.

        Where there is work for all workers: half an even share, so that who is done early finds
        more. Where there is less: an even share for those that idle. Where even that is not worth
        a job: all of it, and what follows from it.
        """
        limits = self._limits
        work = self.work_ms(ready)
        share = work / (2 * workers)
        if share > limits.floor_ms:
            return share
        each = work / max(1, idle)
        return limits.floor_ms if each < limits.job_ms else min(limits.floor_ms, each)

    def _fill(self, ready: ReadyQueue, budget_ms: float) -> list[int]:
        tasks, children = self._graph.tasks, self._graph.children
        batch: list[int] = []
        left_ms, left_bytes = budget_ms, self._limits.bytes
        #: Tasks that what is in the batch makes ready, by their keys.
        enabled: list[int] = []
        #: Dependencies that are neither satisfied nor in the batch.
        unmet: dict[int, int] = {}
        #: Function, effects and timeout -> cost of a task.
        costs: dict[tuple[object, ...], float] = {}
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
            cost_ms = costs.get(kind)
            if cost_ms is None:
                cost_ms = costs[kind] = self._estimates.cost_ms(task)
            alone = cost_ms >= self._limits.floor_ms or self._travels_alone(index)
            weight = self._weigh(task)
            if batch:
                # What follows in a line has no other worker to go to: it costs nobody anything.
                in_line = best is None and len(enabled) == 1
                if alone or weight > left_bytes or (cost_ms > left_ms and not in_line):
                    break
            if from_ready:
                ready.pop()
            else:
                heapq.heappop(enabled)
            batch.append(index)
            left_ms -= cost_ms
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
