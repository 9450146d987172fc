"""A workflow that grows while it is hurt, and what must become of its tasks."""

from __future__ import annotations

from typing import Any

from distflow import TaskStatus, Workflow, workflow
from tests.chaos.soak.planned import Flow, Planned
from tests.support.tasks import spreading

_NODE = Planned("node", TaskStatus.SUCCESS)
_NORMAL = Planned("normal", TaskStatus.SUCCESS)


@workflow
def spread(log: str, queue: str, count: int = 3, gate: str = "") -> Any:
    """A map over a list found at run time, one over that, element by element, charges by key, some
    failures, a mapped plan with another within; and a task that needs all of them.
    """
    found = spreading.find.options(queue=queue)(log, count)
    rows = spreading.clean.options(queue=queue).map(found, log=log)
    sizes = spreading.measure.options(queue=queue).map(rows, log=log)
    charges = spreading.charge.options(queue=queue).map(found, key="id", log=log)
    some = spreading.odd.options(queue=queue).map(found, max_failures=1, log=log)
    trained = spreading.train.options(queue=queue).map([[1, 2]], log=log, queue=queue, gate=gate)
    return spreading.join.options(queue=queue)(sizes, charges, some, trained, log)


def make_spread(log: str, queue: str, count: int = 3, gate: str = "") -> Flow:
    """The workflow with what must become of its tasks. In their names, ``*`` is the mark of what
    was made by a plan.
    """
    tasks = {"find": _NORMAL, "join": _NORMAL}
    tasks |= dict.fromkeys(("clean", "measure", "charge", "odd", "train"), _NODE)
    for number in range(count):
        tasks[f"clean[{number}]"] = Planned("idempotent", TaskStatus.SUCCESS)
        tasks[f"measure[{number}]"] = _NORMAL
        tasks[f"charge[k%2E{number}]"] = Planned("charge", TaskStatus.SUCCESS)
        is_odd = number == 1
        tasks[f"odd[{number}]"] = Planned("doomed", TaskStatus.FAILURE) if is_odd else _NORMAL
    tasks |= _trained("train[0]", 2, 1)
    built: Workflow = spread(log, queue, count, gate)
    return Flow(built, tasks)


def _trained(node: str, models: int, depth: int) -> dict[str, Planned]:
    """What must become of a plan and of what it makes."""
    tasks = {
        node: Planned("idempotent", TaskStatus.SUCCESS),
        f"{node}.part_*": _NODE,
        f"{node}.best": _NORMAL,
    }
    tasks |= {f"{node}.part_*[{number}]": _NORMAL for number in range(models)}
    return tasks | (_trained(f"{node}.deep_*", 1, depth - 1) if depth else {})
