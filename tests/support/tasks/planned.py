"""Plans that do what a test of this very process says, and tasks that they call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distflow import plan, task

#: What the next plan does with its arguments.
ACTS: list[Callable[..., Any]] = []


@task
def add(*numbers, more=0):
    return sum(numbers) + more


@task(continue_on_error=True, queue="slow")
def fail(*_given):
    raise ValueError("no")


@task
def total(values):
    return sum(values)


@plan
def build(*args, **kwargs):
    return ACTS[-1](*args, **kwargs)


@plan
def build_again(*args, **kwargs):
    """The same under another name."""
    return ACTS[-1](*args, **kwargs)


@task
def look(given, ctx):
    """What a task sees of the nodes that it depends on."""
    return ACTS[-1](given, ctx)
