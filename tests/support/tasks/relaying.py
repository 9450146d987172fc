"""Work that is handed from queue to queue: each step shows that a worker of its queue goes on."""

from __future__ import annotations

from distflow import task, workflow
from tests.support.tasks.recording import note, wait_for_file


@task(effects="at_most_once")
def hold(log: str, gate: str, *, ctx) -> str:
    note(log, ctx.task)
    wait_for_file(gate)
    note(log, ctx.task, "done")
    return str(ctx.task)


@task(effects="at_most_once")
def step(log: str, before: list[str], *, ctx) -> str:
    assert before
    note(log, ctx.task)
    return str(ctx.task)


@workflow
def relay(log: str, gate: str, busy: str, idle: str):
    """A task on each busy queue that waits for the gate; then one on each idle queue."""
    held = [hold.options(queue=queue, name=f"hold-{queue}")(log, gate) for queue in busy.split(",")]
    for queue in idle.split(","):
        step.options(queue=queue, name=f"step-{queue}")(log, held)
