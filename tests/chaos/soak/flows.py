"""Random workflows, and what must become of each of their tasks once the faults have stopped."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from distflow import Loop, Retry, TaskStatus, Workflow
from tests.support.tasks import soaking

#: Of a task: how it is made, and how often among ten.
KINDS = {"normal": 4, "idempotent": 2, "charge": 2, "loop": 1, "odd": 1}
QUEUES = ("default", "default", "fast")
SECONDS = (0.0, 0.0, 0.01, 0.05, 0.3, 1.0)
#: Before a charge has its effect, and again after it: long enough to be killed in.
CHARGE_SECONDS = (0.0, 0.1, 0.5, 1.5)


class Planned(NamedTuple):
    """A task and what it must come to."""

    kind: str
    status: TaskStatus


class Flow(NamedTuple):
    """A workflow and what must become of its tasks, by name."""

    workflow: Workflow
    tasks: dict[str, Planned]


def random_flow(seed: int, number: int, log: str) -> Flow:
    """The n-th workflow of a soak."""
    chance = random.Random(f"{seed}-{number}")
    workflow = Workflow(f"soak_{number}")
    refs: dict[str, Any] = {}
    tasks: dict[str, Planned] = {}
    for index in range(chance.randint(3, 20)):
        kind = chance.choices([*KINDS], weights=[*KINDS.values()])[0]
        if kind == "odd":
            kind = chance.choice(["doomed", "never"])
        name = f"{kind}_{index}"
        parents = chance.sample([*refs], min(len(refs), chance.randint(0, 3)))
        behind = any(tasks[parent].status == TaskStatus.SKIPPED for parent in parents)
        status = {"doomed": TaskStatus.FAILURE, "never": TaskStatus.SKIPPED}.get(kind)
        tasks[name] = Planned(kind, TaskStatus.SKIPPED if behind else status or TaskStatus.SUCCESS)
        options = _options(kind, chance)
        failures = chance.choice([0, 0, 0, 1, 2]) if "retry" in options else 0
        seconds = chance.choice(CHARGE_SECONDS if kind == "charge" else SECONDS)
        args = (log, seconds, failures if kind != "doomed" else 10**6)
        refs[name] = workflow.add(
            name,
            soaking.charge if kind == "charge" else soaking.step,
            (*args, [refs[parent] for parent in parents]),
            queue=chance.choice(QUEUES),
            priority=chance.randint(0, 2),
            **options,
        )
    return Flow(workflow, tasks)


def _options(kind: str, chance: random.Random) -> dict[str, Any]:
    retry = Retry(attempts=4, delay=0.1, backoff="exponential", jitter=0.5)
    options: dict[str, Any] = {}
    if kind == "charge":
        options = {"effects": "at_most_once", "retry": retry}
    elif kind == "idempotent":
        options = {"effects": "idempotent"}
    elif kind == "loop":
        return {"loop": Loop(soaking.thrice, max_iterations=5, interval=0.05)}
    elif kind == "doomed":
        return {"continue_on_error": True}
    elif kind == "never":
        return {"condition": soaking.never}
    elif chance.random() < 0.6:
        options = {"retry": retry}
    if chance.random() < 0.2:
        options["condition"] = soaking.always
    return options
