"""Tasks of workflows that are hurt at crash points, beside those of the soak."""

from __future__ import annotations

from tests.support.tasks.recording import wait_for_file
from tests.support.tasks.soaking import witness


def keep(log, failures, parents, *, ctx):
    """Save a note, and fail in the first attempts."""
    witness(log, ctx, "start")
    ctx.save([ctx.attempt])
    if ctx.attempt <= failures:
        witness(log, ctx, "raised")
        raise ValueError(f"attempt {ctx.attempt} of {ctx.task} is to fail")
    witness(log, ctx, "end")
    return ctx.saved


def hold(log, gate, parents, *, ctx):
    """Hang until the gate opens, and only then do something."""
    witness(log, ctx, "start")
    wait_for_file(gate)
    witness(log, ctx, "effect")
    witness(log, ctx, "end")
    return ctx.task
