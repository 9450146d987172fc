"""Short tasks that say in which process they ran."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.support.tasks.recording import lines, note, wait_for_file


def step(log, *, ctx):
    note(log, ctx.task, os.getpid())


def sleep(log, seconds, *, ctx):
    time.sleep(seconds)
    note(log, ctx.task, os.getpid())


def first_waits(log, gate, *, ctx):
    """The first call of all waits for the gate."""
    with suppress(FileExistsError):
        os.close(os.open(f"{gate}.first", os.O_CREAT | os.O_EXCL))
        wait_for_file(gate)
    note(log, ctx.task, os.getpid())


def named_waits(log, gate, name, *, ctx):
    """The task of this name waits for the gate."""
    if ctx.task == name:
        wait_for_file(gate)
    note(log, ctx.task, os.getpid())


def kill_worker(log, once, *, ctx):
    """Kill the worker and this process, ``once`` or each time."""
    killed = any(line[0] == ctx.task for line in lines(Path(log)))
    note(log, ctx.task, os.getpid())
    if once and killed:
        return
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
