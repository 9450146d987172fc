"""Tasks, plans and workflows that do what a program says, and note each call.

``ctx.params`` has ``script`` and ``log``; a line of the log is ``name attempt iteration``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distflow import NotDone, Retry, TaskResult, TaskStatus, Workflow, plan, task, workflow
from tests.support.behaviour import SAID, give
from tests.support.programs import (
    Block,
    Call,
    Each,
    Map,
    Options,
    Plan,
    Program,
    Sub,
    fill,
    from_plain,
    to_plain,
)
from tests.support.tasks.recording import note


def _step(ctx: Any) -> str:
    """Note the call; returns what it is to do, once what is not done is raised."""
    note(ctx.params["log"], ctx.task, ctx.attempt, ctx.iteration)
    steps = ctx.params["script"].get(ctx.task, ("ok",))
    step: str = steps[min(ctx.attempt, len(steps)) - 1]
    if step == "not_done":
        raise NotDone(f"attempt {ctx.attempt} of {ctx.task}")
    return step


@task
def work(*values: Any, gives: Any, fixed: Any = None, node: str = "", ctx: Any) -> Any:
    """A task of a program."""
    step = _step(ctx)
    if step == "raise":
        raise ValueError(f"attempt {ctx.attempt} of {ctx.task}")
    if step in SAID:
        return TaskResult(TaskStatus(step), message=f"said so itself: {step}")
    seen = [[each.status.value, each.data] for each in ctx.results_of(node)] if node else fixed
    return give(from_plain(gives), ctx.task, (*values, seen))


@plan
def grow(*values: Any, block: Any, fixed: Any = None, ctx: Any) -> Any:
    """A plan of a program; one that fails has built everything."""
    step = _step(ctx)
    if step in SAID:
        return TaskResult(TaskStatus(step), message=f"said so itself: {step}")
    made = build(from_plain(block), (*values, fixed))
    if step == "raise":
        raise ValueError(f"attempt {ctx.attempt} of {ctx.task}")
    return made


@workflow
def within(given: Any, block: Any) -> Any:
    """A workflow within a program."""
    return build(block, given)


@workflow
def program(block: Any, script: Any, log: str) -> Any:
    """A whole program."""
    return build(from_plain(block), ())


def write(written: Program, log: Path) -> Workflow:
    """The workflow of a program, whose tasks write to this log."""
    script = {name: list(steps) for name, steps in written.script.items()}
    built: Workflow = program(to_plain(written.block), script, str(log))
    return built


def looks(ctx: Any) -> bool:
    """The condition of a task of a program."""
    note(ctx.params["log"], f"?{ctx.task}", ctx.attempt, ctx.iteration)
    (says,) = ctx.params["script"].get(f"?{ctx.task}", ("yes",))
    if says == "raise":
        raise ValueError(f"the condition of {ctx.task}")
    return bool(says == "yes")


def build(block: Block, given: Any) -> Any:
    """Write the block as a user would; returns what it comes to."""
    made: dict[str, Any] = {}
    for each in block.statements:
        made[each.name] = _STATEMENTS[type(each)](each, made, given)
    return fill(block.returns, made, given)


def _options(name: str, options: Options) -> dict[str, Any]:
    return {
        "name": name,
        "retry": Retry(options.retries, delay=0.0) if options.retries else None,
        "continue_on_error": options.tolerated,
        "effects": options.effects,
        "condition": looks if options.asks else None,
    }


def _call(call: Call, made: dict[str, Any], given: Any) -> Any:
    adds = work.options(**_options(call.name, call.options))
    node = made[call.looks_at].name if call.looks_at else ""
    return adds(*fill(call.args, made, given), gives=to_plain(call.gives), node=node)


def _each(each: Each, made: dict[str, Any], given: Any) -> Any:
    return [
        _call(Call(f"{each.name}{position}", (element,), each.gives, each.options), made, given)
        for position, element in enumerate(_listed(fill(each.over, made, given)))
    ]


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return value
    raise TypeError(f"no list: {value!r}")


def _map(mapped: Map, made: dict[str, Any], given: Any) -> Any:
    options = _options(mapped.name, mapped.options)
    sources = fill(mapped.sources, made, given)
    fixed = fill(mapped.fixed, made, given)
    how = {"key": mapped.key, "max_failures": mapped.max_failures, "fixed": fixed}
    if mapped.block is None:
        return work.options(**options).map(*sources, **how, gives=to_plain(mapped.gives))
    del options["effects"]
    return grow.options(**options).map(*sources, **how, block=to_plain(mapped.block))


def _plan(planned: Plan, made: dict[str, Any], given: Any) -> Any:
    options = _options(planned.name, planned.options)
    del options["effects"]
    return grow.options(**options)(*fill(planned.args, made, given), block=to_plain(planned.block))


def _sub(sub: Sub, made: dict[str, Any], given: Any) -> Any:
    return within.options(name=sub.name)(fill(sub.args, made, given), sub.block)


_STATEMENTS: dict[type, Any] = {Call: _call, Each: _each, Map: _map, Plan: _plan, Sub: _sub}
