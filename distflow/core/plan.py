"""Plans a person's resume: what it does with each task, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from distflow.core.claim import Progress
from distflow.core.ending import find_tolerated, verdict_of
from distflow.core.graph import Graph
from distflow.core.model import TaskResult
from distflow.core.run import Claim
from distflow.core.status import REOPENED, RunStatus, TaskStatus

#: ``keep``: its outcome stands. ``hold``: it waits for a person. ``adopt``: a worker holds it.
#: ``again``: its outcome is set aside, and it is evaluated again. ``run``: it has no outcome.
Action = Literal["keep", "hold", "adopt", "again", "run"]


#: Why a tolerated failure is kept.
_RESTED_ON = "tolerated: a running task rests on it"


class PlanItem(NamedTuple):
    """What a resume does with one task; ``progress`` is set if it has to be written."""

    task: int
    action: Action
    reason: str
    seen: TaskStatus | None
    progress: Progress | None

    @property
    def is_rested_on(self) -> bool:
        """Whether it is a tolerated failure that is kept for a running task."""
        return self.reason == _RESTED_ON


def plan_resume(
    graph: Graph,
    statuses: Sequence[TaskStatus | None],
    details: Mapping[int, TaskResult],
    claims: Mapping[str, Claim],
    progress: Mapping[str, Progress],
) -> list[PlanItem]:
    """The plan, dependents before their dependencies.

    Args:
        graph: the run's.
        statuses: the outcome's status by index; None if there is none.
        details: the TaskResult of every task that is ``failure``, ``skipped`` or ``cancelled``.
        claims: the held claims.
        progress: what else is known about tasks.
    """
    items = []
    tasks, success = graph.tasks, TaskStatus.SUCCESS
    rests_on = _held_up(graph, statuses, claims)
    for index in reversed(graph.order):
        if index < 0:
            continue
        status = statuses[index]
        if status is success:
            items.append(PlanItem(index, "keep", "done", status, None))
            continue
        task = tasks[index]
        known = progress.get(task.name)
        if status == TaskStatus.UNKNOWN:
            reason = "unknown: its verify hook is asked" if task.verify else "unknown: resolve it"
            items.append(PlanItem(index, "hold", reason, status, None))
        elif status in REOPENED:
            result = details[index]
            if result.started:
                reason = "at most once: it started and failed"
                items.append(PlanItem(index, "keep", reason, status, None))
                continue
            if index in rests_on:
                items.append(PlanItem(index, "keep", _RESTED_ON, status, None))
                continue
            # The attempts of the generation that ends here are used up; the new one has a full
            # budget.
            again = Progress(attempt=result.attempt + 1, base=result.attempt)
            items.append(PlanItem(index, "again", f"was {status}", status, again))
        elif task.name in claims:
            items.append(PlanItem(index, "adopt", "a worker has it", status, None))
        else:
            renewed = known._replace(base=known.attempt - 1, lost=0) if known else None
            items.append(PlanItem(index, "run", "has no outcome", status, renewed))
    return items


def _held_up(
    graph: Graph, statuses: Sequence[TaskStatus | None], claims: Mapping[str, Claim]
) -> set[int]:
    """The tolerated failures on which a claimed task rests: it has their None already, or reads it
    while it runs.
    """
    held: set[int] = set()
    if not claims or TaskStatus.FAILURE not in statuses:
        return held
    is_tolerated = find_tolerated(graph, statuses)
    for name in claims:
        index = graph.index.get(name)
        rests = [] if index is None else list(graph.parents[index])
        # What a grown node stands for is made of its children. The list grows while it is iterated.
        for each in rests:
            rests += graph.expansion_of(each) or ()
        held |= {
            each for each in rests if statuses[each] == TaskStatus.FAILURE and is_tolerated(each)
        }
    return held


def changes_nothing(graph: Graph, plan: Sequence[PlanItem], ended: RunStatus) -> bool:
    """Whether a resume by this plan would run nothing and end the run as it has ``ended``: every
    task that is not kept was skipped behind a kept outcome, and would be skipped again. A decision
    made since may change the end.
    """
    seen = {item.task: item.seen for item in plan}
    statuses = [seen[index] for index in range(len(graph))]
    is_tolerated = find_tolerated(graph, statuses)
    if verdict_of(graph, statuses, is_tolerated) != ended:
        return False
    #: Tasks behind which nothing can run, and grown nodes that do not join.
    barred: set[int] = set()
    unjoined: set[int] = set()

    def is_behind(index: int) -> bool:
        return any(
            parent in barred or (parent in unjoined and not graph.follows(index, parent))
            for parent in graph.parents[index]
        )

    # Dependencies before their dependents.
    for item in reversed(plan):
        if item.action == "keep":
            tolerated = item.seen == TaskStatus.FAILURE and is_tolerated(item.task)
            if item.seen == TaskStatus.SUCCESS or tolerated:
                continue
        elif not (item.seen == TaskStatus.SKIPPED and is_behind(item.task)):
            return False
        barred.add(item.task)
        above = graph.maker(item.task)
        while above >= 0:
            unjoined.add(above)
            above = graph.maker(above)
    return True
