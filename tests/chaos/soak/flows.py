"""Random workflows, and what must become of each of their tasks once the faults have stopped."""

from __future__ import annotations

import random
from typing import Any

from distflow import Loop, Retry, TaskStatus, Workflow
from tests.chaos.soak.planned import Flow, Planned
from tests.chaos.soak.spread import make_spread
from tests.support.tasks import soaking

#: Of a task: how it is made, and how often among ten.
KINDS = {"normal": 4, "idempotent": 2, "charge": 2, "loop": 1, "odd": 1}
#: The same where a run has many short tasks, which are claimed and recorded in groups.
QUICK_KINDS = {"normal": 2, "quick": 16, "charge": 1, "odd": 1}
#: Of a quick task; some are not.
QUICK_SECONDS = (*[0.0] * 19, 0.3)
QUEUES = ("default", "default", "fast")
SECONDS = (0.0, 0.0, 0.01, 0.05, 0.3, 1.0)
#: Before a charge has its effect, and again after it: long enough to be killed in.
CHARGE_SECONDS = (0.0, 0.1, 0.5, 1.5)
#: Kind -> what is called, and how long it may take.
_CALLS = {"charge": (soaking.charge, CHARGE_SECONDS), "quick": (soaking.quick, QUICK_SECONDS)}
#: Of the runs that do not grow: with many short tasks, and without batches.
_QUICK_SHARE, _UNBATCHED_SHARE = 0.35, 0.15
#: Of the runs: those that grow; and of how many elements they are.
_GROWING_SHARE, _ELEMENTS = 0.25, 8
#: Of the tasks: those that refuse company.
_ALONE_SHARE = 0.1


def random_flow(seed: int, number: int, log: str) -> Flow:
    """The n-th workflow of a soak."""
    chance = random.Random(f"{seed}-{number}")
    if chance.random() < _GROWING_SHARE:
        return make_spread(log, chance.choice(QUEUES), chance.randint(0, _ELEMENTS))
    workflow = Workflow(f"soak_{number}")
    refs: dict[str, Any] = {}
    tasks: dict[str, Planned] = {}
    is_quick = chance.random() < _QUICK_SHARE
    kinds = QUICK_KINDS if is_quick else KINDS
    for index in range(chance.randint(10, 60) if is_quick else chance.randint(3, 20)):
        kind = chance.choices([*kinds], weights=[*kinds.values()])[0]
        if kind == "odd":
            kind = chance.choice(["doomed", "never"])
        name = f"{kind}_{index}"
        parents = chance.sample([*refs], min(len(refs), chance.randint(0, 3)))
        tasks[name] = _plan(kind, [tasks[parent] for parent in parents])
        function, every = _CALLS.get(kind, (soaking.step, SECONDS))
        options = _options(kind, chance)
        failures = chance.choice([0, 0, 0, 1, 2]) if "retry" in options else 0
        args = (log, chance.choice(every), failures if kind != "doomed" else 10**6)
        refs[name] = workflow.add(
            name,
            function,
            (*args, [refs[parent] for parent in parents]),
            queue=chance.choice(QUEUES),
            priority=0 if is_quick else chance.randint(0, 2),
            **options,
        )
    return Flow(workflow, tasks, batch=chance.random() >= _UNBATCHED_SHARE)


def _plan(kind: str, parents: list[Planned]) -> Planned:
    """What must become of a task of a kind; behind one that is skipped it is skipped."""
    behind = any(parent.status == TaskStatus.SKIPPED for parent in parents)
    status = {"doomed": TaskStatus.FAILURE, "never": TaskStatus.SKIPPED}.get(kind)
    # The verdict knows a quick task as what it is.
    known = "idempotent" if kind == "quick" else kind
    return Planned(known, TaskStatus.SKIPPED if behind else status or TaskStatus.SUCCESS)


def _options(kind: str, chance: random.Random) -> dict[str, Any]:
    retry = Retry(attempts=4, delay=0.1, backoff="exponential", jitter=0.5)
    options: dict[str, Any] = {}
    if kind == "charge":
        options = {"effects": "at_most_once", "retry": retry}
    elif kind in ("idempotent", "quick"):
        options = {"effects": "idempotent"}
    elif kind == "loop":
        return {"loop": Loop(soaking.thrice, max_iterations=5, interval=0.05)}
    elif kind == "doomed":
        return {"continue_on_error": True}
    elif kind == "never":
        return {"condition": soaking.never}
    elif chance.random() < 0.6:
        options = {"retry": retry}
    if chance.random() < _ALONE_SHARE:
        options["batch"] = False
    if chance.random() < 0.2:
        options["condition"] = soaking.always
    return options
