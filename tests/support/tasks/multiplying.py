"""Tasks of a run that grows; they note every call."""

from __future__ import annotations

from collections import Counter

from distflow import plan, task, workflow

#: How often each was called.
CALLS: Counter[str] = Counter()


@task(effects="idempotent")
def numbers(size, ctx):
    CALLS[ctx.task] += 1
    return list(range(size))


@task(effects="idempotent")
def double(number, ctx):
    CALLS[ctx.task] += 1
    return 2 * number


@task(effects="at_most_once")
def charge(number, ctx):
    CALLS[ctx.task] += 1
    return number + 1


@task(effects="idempotent")
def pick(number, ctx):
    """Every third one fails."""
    CALLS[ctx.task] += 1
    if number % 3 == 0:
        raise ValueError(f"no {number}")
    return number


@task(effects="idempotent")
def add(values, ctx):
    CALLS[ctx.task] += 1
    return sum(value or 0 for value in values)


@plan
def summed(size):
    """A plan per element: a map in a plan in a map."""
    CALLS[f"plan of {size}"] += 1
    return {"sum": add(double.map(numbers(size))), "size": size}


@task(effects="idempotent")
def report(*values, ctx):
    CALLS[ctx.task] += 1
    return list(values)


def itself(number):
    """The key of a number."""
    return number


@workflow
def growing(size):
    """All that a run may grow by."""
    found = numbers(size)
    doubled = double.map(double.map(found))
    charged = charge.map(found, key=itself)
    picked = pick.map(found, max_failures=0.5)
    plans = summed.map([1, 0, 2])
    return report(add(doubled), add(charged), add(picked), plans)
