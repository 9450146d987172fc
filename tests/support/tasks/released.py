"""Workflows that two releases play together: tasks of each kind that release 0.1 knows.

Release 0.1 imports this module too: nothing newer is used here, but what lets a loop be one of 0.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distflow import Loop, Retry, TaskResult, TaskStatus, Workflow, task, workflow
from tests.support.tasks.recording import note, wait_for_file


def open_gates(folder: Path, *names: str) -> None:
    """Let go on what waits in a run of ``mixed`` whose witness lies in a folder: all, or what waits
    for ``fail`` or ``gate``.
    """
    for name in names or ("fail", "gate"):
        (folder / name).touch()


def is_third(ctx, value: Any) -> bool:
    """Ends the loop: in version 1 it is given what the function has returned."""
    note(ctx.params["log"], "until", value)
    return int(value) >= 3


def is_wanted(ctx) -> bool:
    """Leaves out one task."""
    return str(ctx.task) != "unwanted"


def look_up(key: str, ctx) -> TaskResult:
    """What became of the charge that killed its worker: it was done."""
    assert key == ctx.key
    note(ctx.params["log"], "verify", ctx.task, ctx.saved["job"])
    return TaskResult(TaskStatus.SUCCESS, data=ctx.saved["job"])


@task
def plain(log: str, *, ctx) -> str:
    """Succeed at once."""
    note(log, ctx.task)
    return str(ctx.task)


@task(effects="idempotent")
def short(log: str, *, ctx) -> int:
    """One of many: they are claimed in groups."""
    note(log, ctx.task)
    return 1


@task(continue_on_error=True)
def spoil(log: str) -> TaskResult:
    """A tolerated failure: its dependents get None."""
    note(log, "spoil")
    return TaskResult(TaskStatus.FAILURE)


#: A loop of version 1, in either release.
THRICE = Loop(is_third, 5)
if "sees" in Loop._fields:
    THRICE = THRICE._replace(sees="data")


@task(loop=THRICE)
def poll(log: str, *, ctx) -> int:
    """Once per iteration."""
    note(log, "poll", ctx.iteration)
    return int(ctx.iteration)


@task
def flaky(log: str, gate: str, _after: Any, *, ctx) -> int:
    """Fail in the first attempt, once the gate is open."""
    note(log, "flaky", ctx.attempt)
    if ctx.attempt == 1:
        wait_for_file(gate)
        raise OSError("not yet")
    return int(ctx.attempt)


@task(effects="idempotent")
def hold(log: str, gate: str, *, ctx) -> str:
    """Hang until the gate opens; may be run twice."""
    note(log, "hold", ctx.attempt)
    wait_for_file(gate)
    return "held"


@task(effects="at_most_once")
def charge(log: str, gate: str, *, ctx) -> str:
    """Hang until the gate opens; never runs twice."""
    note(log, "charge", ctx.key)
    wait_for_file(gate)
    note(log, "charged")
    return "charged"


@task(effects="at_most_once", verify=look_up)
def order(log: str, gate: str, *, ctx) -> str:
    """The same with a hook, which knows what was saved."""
    note(log, "order", ctx.key)
    ctx.save({"job": f"job-{ctx.attempt}"})
    wait_for_file(gate)
    return f"job-{ctx.attempt}"


@task
def gather(log: str, *parts: Any, ctx) -> list[Any]:
    """What the others have returned."""
    note(log, ctx.task)
    return list(parts)


@workflow
def mixed(log: str, delay: float = 0.2):
    """A task of each kind. Those that hang wait for the files ``fail`` and ``gate`` beside the log.

    ``delay`` is the wait in seconds before the second attempt of ``flaky``.
    """
    fail, gate = (str(Path(log).parent / name) for name in ("fail", "gate"))
    many = [short.options(name=f"short{n}")(log) for n in range(20)]
    plain.options(name="unwanted", condition=is_wanted)(log)
    ends = [hold(log, gate), charge(log, gate), order(log, gate)]
    early = gather.options(name="early")(log, plain(log), spoil(log), poll(log), *many)
    again = flaky.options(retry=Retry(attempts=1, delay=delay))(log, fail, early)
    gather.options(name="late")(log, again, *ends)


#: What the tasks of ``mixed`` end with; what they have returned, where that is a success.
OUTCOMES: dict[str, Any] = {
    **{f"short{n}": 1 for n in range(20)},
    "plain": "plain",
    "poll": 3,
    "early": ["plain", None, 3, *[1] * 20],
    "hold": "held",
    "charge": "charged",
    "order": "job-1",
    "flaky": 2,
    "late": [2, "held", "charged", "job-1"],
}


def chain(log: str, size: int = 3) -> Workflow:
    """Tasks one after another, each in a batch of its own."""
    flow = Workflow("chain")
    before: list[Any] = []
    for number in range(size):
        options: dict[str, Any] = {"depends_on": before, "batch": False}
        before = [flow.add(f"c{number}", plain, (log,), **options)]
    return flow
