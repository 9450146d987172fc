"""A workflow that is at work on every kind of worker while Redis refuses."""

from __future__ import annotations

from typing import Literal

from distflow import Workflow
from distflow.authoring import TaskRef
from tests.support.tasks.recording import note, wait_for_file

#: Queue -> effects of the task that is at work there.
HELD: dict[str, Literal["at_most_once", "normal", "idempotent"]] = {
    "stock": "at_most_once",
    "distflow": "normal",
    "fast": "idempotent",
}

#: The queue of the worker that has nothing to do until those have ended.
IDLE = "idle"


def hold(log: str, gate: str, *, ctx) -> str:
    """Work until the gate opens, and note both ends."""
    note(log, "begin", ctx.run_id, ctx.task, ctx.attempt)
    wait_for_file(gate)
    note(log, "end", ctx.run_id, ctx.task, ctx.attempt)
    return str(ctx.task)


def follow(log: str, before: list[str], *, ctx) -> str:
    """Note it."""
    note(log, "begin", ctx.run_id, ctx.task, ctx.attempt)
    assert None not in before
    note(log, "end", ctx.run_id, ctx.task, ctx.attempt)
    return str(ctx.task)


def everywhere(log: str, gate: str = "") -> Workflow:
    """A task on each kind of worker, and one that rests on all of them. Those end when the file
    ``gate`` is there; without one, at once.
    """
    flow = Workflow("everywhere")
    held = [
        flow.add(f"hold-{queue}", hold, (log, gate), queue=queue, effects=effects, timeout=600.0)
        for queue, effects in HELD.items()
    ]
    flow.add("follow", follow, (log, held), queue=IDLE)
    return flow


def idle(log: str) -> Workflow:
    """A chain of three for the worker that has nothing to do."""
    flow = Workflow("idle")
    before: list[TaskRef] = []
    for number in range(3):
        before = [flow.add(f"t{number}", follow, (log, before), queue=IDLE)]
    return flow
