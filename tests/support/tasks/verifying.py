"""A charge that kills its worker, and a verify hook; both write what they do to ``params["log"]``.

What the hook answers is the name of the task, up to a colon.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from distflow import NotDone, TaskResult, TaskStatus, Workflow, task
from tests.support.tasks.recording import note, wait_for_file


def look_up(key: str, ctx) -> Any:
    """Answer as the name of the task says."""
    log, answer = ctx.params["log"], ctx.task.partition(":")[0]
    note(log, "verify", ctx.task, ctx.attempt, (ctx.saved or {}).get("job"))
    assert key == ctx.key
    if answer == "done":
        return TaskResult(TaskStatus.SUCCESS, data=ctx.saved["job"])
    if answer == "failed":
        return TaskResult(TaskStatus.FAILURE, message="the card was refused")
    if answer == "not_done":
        return NotDone("the gateway has no such job")
    if answer == "raises_not_done":
        raise NotDone
    if answer == "raises":
        raise LookupError("the gateway does not answer")
    if answer == "talks":
        return "perhaps"
    if answer == "waits":
        wait_for_file(f"{log}.answer")
        return TaskResult(TaskStatus.SUCCESS, data=f"looked up at attempt {ctx.attempt}")
    if answer == "later" and Path(f"{log}.answer").exists():
        return TaskResult(TaskStatus.SUCCESS, data=ctx.saved["job"])
    if answer == "hangs":
        wait_for_file(f"{log}.open")
    if answer == "saves":
        ctx.save("a hook has nothing to save")
    if answer == "unencodable":
        return TaskResult(TaskStatus.SUCCESS, data={"handle": object()})
    if answer == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return None


@task(effects="at_most_once", verify=look_up)
def charge(deaths: int = 1, *, ctx) -> str:
    """Start a job, save its id, and die in the first attempts."""
    note(ctx.params["log"], "charge", ctx.task, ctx.attempt, (ctx.saved or {}).get("job"))
    ctx.save({"job": f"job-{ctx.attempt}"})
    if ctx.attempt <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"charged at attempt {ctx.attempt}"


@task(effects="at_most_once", verify=look_up, timeout=0.2)
def hang(*, ctx) -> None:
    """Start a job, save its id, and take too long in the first attempt."""
    note(ctx.params["log"], "charge", ctx.task, ctx.attempt, (ctx.saved or {}).get("job"))
    ctx.save({"job": f"job-{ctx.attempt}"})
    if ctx.attempt == 1:
        wait_for_file(f"{ctx.params['log']}.open")


@task
def follow(charged: Any, *, ctx) -> Any:
    return charged


def charges(names: list[str], log: str, deaths: int = 1) -> Workflow:
    """Charges of these names, each with a task behind it."""
    dag = Workflow("charges")
    for name in names:
        charged = dag.add(name, charge, (deaths,))
        dag.add(f"after {name}", follow, (charged,))
    return dag.evolve({"log": log}, None)


def hanging(names: list[str], log: str) -> Workflow:
    """Charges of these names that take too long."""
    dag = Workflow("hanging")
    for name in names:
        dag.add(name, hang)
    return dag.evolve({"log": log}, None)


def open_gates(log: Path) -> None:
    """Let what hangs end."""
    for gate in ("answer", "open"):
        Path(f"{log}.{gate}").touch()
