"""Plans a person's resume: what it does with each task, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from distflow.core.claim import Progress
from distflow.core.ending import verdict_of
from distflow.core.graph import Graph
from distflow.core.model import TaskResult
from distflow.core.run import Claim
from distflow.core.status import REOPENED, RunStatus, TaskStatus

#: ``keep``: its outcome stands. ``hold``: it waits for a person. ``adopt``: a worker holds it.
#: ``again``: its outcome is set aside, and it is evaluated again. ``run``: it has no outcome.
Action = Literal["keep", "hold", "adopt", "again", "run"]


class PlanItem(NamedTuple):
    """What a resume does with one task; ``progress`` is set if it has to be written."""

    task: int
    action: Action
    reason: str
    seen: TaskStatus | None
    progress: Progress | None


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
    for index in reversed(graph.order):
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


def changes_nothing(graph: Graph, plan: Sequence[PlanItem], ended: RunStatus) -> bool:
    """Whether a resume by this plan would run nothing and end the run as it has ``ended``: every
    task that is not kept was skipped behind a kept outcome, and would be skipped again. A decision
    made since may change the end.
    """
    seen = {item.task: item.seen for item in plan}
    if verdict_of(graph, [seen[index] for index in range(len(graph))]) != ended:
        return False
    #: Tasks behind which nothing can run.
    barred: set[int] = set()
    # Dependencies before their dependents.
    for item in reversed(plan):
        if item.action == "keep":
            task = graph.tasks[item.task]
            tolerated = item.seen == TaskStatus.FAILURE and task.continue_on_error
            if item.seen != TaskStatus.SUCCESS and not tolerated:
                barred.add(item.task)
        elif item.seen == TaskStatus.SKIPPED and not barred.isdisjoint(graph.parents[item.task]):
            barred.add(item.task)
        else:
            return False
    return True
