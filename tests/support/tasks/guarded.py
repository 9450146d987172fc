"""Tasks for workers that may import some functions only; what others are tempted by stands here."""

from __future__ import annotations

import os  # a name to reach: `guarded:os.system`
import sys
from functools import partial
from os import system  # noqa: F401 - another
from pathlib import Path
from typing import Any

from distflow import Workflow, task
from tests.support.tasks.recording import note

system_by_part = partial(os.system)


@task
def work(log: str) -> str:
    note(log, "work")
    return "done"


def plain(log: str) -> str:
    note(log, "plain")
    return "done"


#: A function that says of itself that it is a task.
pretending = partial(plain)
pretending.__distflow_function__ = plain  # type: ignore[attr-defined]


def is_preloaded() -> bool:
    return sys.modules.keys() >= {"distflow_worker.verify", "distflow_worker.plan_node"}


class Press:
    def __call__(self, log: str) -> str:
        note(log, "press")
        return "pressed"

    @staticmethod
    def squeeze() -> str:
        return "squeezed"


press = Press()


def always(ctx: Any) -> bool:
    return True


def temptations(log: str) -> Workflow:
    """One task that is allowed, and one for each way out; those would make the file ``log.out``."""
    out = Path(f"{log}.out")
    touch = f"touch {out}"
    here = __name__
    flow = Workflow("temptations")
    flow.add("good", f"{here}:work", (log,))
    flow.add("module", "os:system", (touch,))
    flow.add("imported", f"{here}:system", (touch,))
    flow.add("unnamed", f"{here}:plain", (f"{log}.out",))
    flow.add("condition", f"{here}:work", (log,), condition="tests.support.tasks.forbidden:always")
    flow.add("import", "tests.support.tasks.forbidden:work", (log,))
    return flow
