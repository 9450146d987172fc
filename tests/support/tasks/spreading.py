"""Tasks and plans of runs that grow, each with the witness of the soak.

What a plan makes has a mark in its names and arguments that another evaluation of the plan would
not have: so it shows if some of it was made twice, or differently.
"""

from __future__ import annotations

import secrets
import time

from distflow import Retry, plan, task
from tests.support.tasks.recording import wait_for_file
from tests.support.tasks.soaking import witness

_AGAIN = Retry(attempts=4, delay=0.1)


@task(retry=_AGAIN)
def find(log, count, *, ctx):
    """A list that nobody knows beforehand."""
    witness(log, ctx, "start")
    found = [{"id": f"k.{number}", "mark": secrets.token_hex(3)} for number in range(count)]
    witness(log, ctx, "end")
    return found


@task(effects="idempotent", retry=_AGAIN)
def clean(element, *, log, ctx):
    witness(log, ctx, "start")
    witness(log, ctx, "end")
    return [ctx.task, element["mark"]]


@task(retry=_AGAIN)
def measure(*rows, log, seconds=0.0, ctx):
    witness(log, ctx, "start")
    time.sleep(seconds)
    witness(log, ctx, "end")
    return [ctx.task, *rows]


@task(effects="at_most_once")
def charge(order, *, log, ctx):
    witness(log, ctx, "start")
    witness(log, ctx, "effect")
    witness(log, ctx, "end")
    return ctx.task


@task
def odd(element, *, log, ctx):
    """Fails for the second element."""
    witness(log, ctx, "start")
    if element["id"] == "k.1":
        witness(log, ctx, "raised")
        raise ValueError(f"{ctx.task} is to fail")
    witness(log, ctx, "end")
    return ctx.task


@task(retry=_AGAIN)
def part(element, *, log, mark, ctx):
    witness(log, ctx, "start")
    witness(log, ctx, "end")
    return mark


@task(retry=_AGAIN)
def best(marks, log, *, ctx):
    """One mark, since all are of one evaluation."""
    witness(log, ctx, "start")
    (mark,) = set(marks)
    witness(log, ctx, "end")
    return mark


@plan(retry=_AGAIN)
def train(models, log, queue, depth=1, gate="", *, ctx):
    """A map and a task, and a plan of the same kind within."""
    witness(log, ctx, "start")
    if gate:
        wait_for_file(gate)
    mark = secrets.token_hex(3)
    parts = part.options(name=f"part_{mark}", queue=queue).map(models, log=log, mark=mark)
    made = best.options(queue=queue)(parts, log)
    inner = []
    if depth:
        inner = [train.options(name=f"deep_{mark}", queue=queue)(models[:1], log, queue, depth - 1)]
    witness(log, ctx, "end")
    return [mark, made, inner]


@task(retry=_AGAIN)
def join(rows, charges, some, trained, log, *, ctx):
    """See that everything is there."""
    witness(log, ctx, "start")
    count = len(rows)
    assert None not in rows
    assert None not in charges
    assert len(charges) == count
    assert [each is None for each in some] == [number == 1 for number in range(count)]
    for mark, made, _inner in trained:
        assert mark == made
    witness(log, ctx, "end")
    return ctx.task
