"""Tasks of the soak: each writes to an append-only file when it begins, what it did, and how it
ended.

A line is ``word run task attempt iteration process``; a process is its id and its time of start.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from distflow import NotDone
from tests.support.tasks.recording import note


def process_name(pid: int | str = "self") -> str:
    """``pid:time of start``, for a process that lives; empty for one that is gone or a zombie."""
    try:
        pid, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").partition(" ")
    except OSError:
        return ""
    # The command's name, in parentheses, may itself hold spaces and parentheses.
    fields = rest.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else f"{pid}:{fields[19]}"


def witness(log: str, ctx, word: str) -> None:
    note(log, word, ctx.run_id, ctx.task, ctx.attempt, ctx.iteration, process_name(os.getpid()))


def step(log: str, seconds, failures, parents, *, ctx):
    """Take so long, and fail in the first attempts."""
    witness(log, ctx, "start")
    time.sleep(seconds)
    if ctx.attempt <= failures:
        witness(log, ctx, "raised")
        raise ValueError(f"attempt {ctx.attempt} of {ctx.task} is to fail")
    witness(log, ctx, "end")
    return ctx.task


def quick(log, seconds, failures, parents, *, ctx):
    """A step that is measured by itself: where it is short, the next are claimed ahead."""
    return step(log, seconds, failures, parents, ctx=ctx)


def charge(log, seconds, failures, parents, *, ctx):
    """Do something outside that must not happen twice; vouch for having done nothing at first."""
    witness(log, ctx, "start")
    if ctx.attempt <= failures:
        witness(log, ctx, "raised")
        raise NotDone(f"attempt {ctx.attempt} of {ctx.task} did nothing")
    time.sleep(seconds)
    witness(log, ctx, "effect")
    time.sleep(seconds)
    witness(log, ctx, "end")
    return ctx.task


def never(ctx):
    return False


def always(ctx):
    return True


def thrice(ctx, result):
    """Whether a loop has made its three rounds."""
    return ctx.iteration >= 3
