"""Tasks that do what a test of this very process says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: The tasks that were called, in this order.
CALLED: list[str] = []

#: What the conditions of loops were asked about.
ASKED: list[Any] = []

#: By task: what it does; nothing where it is not named. Behind a ``!``, its loop's condition.
ACTS: dict[str, Callable[[], Any]] = {}


def act(*_given, ctx):
    CALLED.append(ctx.task)
    return ACTS[ctx.task]() if ctx.task in ACTS else ctx.task


def other(*_given, ctx):
    """The same under another name."""
    CALLED.append(ctx.task)
    return ACTS[ctx.task]() if ctx.task in ACTS else ctx.task


def looks(ctx):
    """A condition."""
    CALLED.append(f"?{ctx.task}")
    return ACTS[f"?{ctx.task}"]()


def until(ctx, result):
    """A loop's condition."""
    ASKED.append(result)
    return ACTS[f"!{ctx.task}"]()


def hook(key, ctx):
    """A verify hook."""
    return ACTS[f"?{ctx.task}"]()
