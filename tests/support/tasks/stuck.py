"""Tasks that a worker is inside of for a while, each in its own way."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distflow import Workflow
from tests.support.tasks.recording import note, wait_for_file


def seize(log: str, seconds: int, *, ctx) -> str:
    """Hold the interpreter lock: no other thread of the process runs, its heartbeat neither."""
    note(log, ctx.task)
    ctypes.PyDLL(None).sleep(seconds)
    return str(ctx.task)


def nap(log: str, seconds: float, *, ctx) -> str:
    """Only sleep."""
    note(log, ctx.task)
    time.sleep(seconds)
    return str(ctx.task)


def hold(log: str, gate: str, *, ctx) -> int:
    """Hang until the gate opens."""
    note(log, ctx.task)
    wait_for_file(gate)
    note(log, ctx.task, "done")
    return int(ctx.attempt)


def kill(log: str, pid: int, *, ctx) -> None:
    """SIGKILL to a process."""
    note(log, ctx.task)
    os.kill(pid, signal.SIGKILL)


def single(
    task: Callable[..., Any], log: Path, what: object, queue: str, **options: Any
) -> Workflow:
    """A workflow of one task, named like its function; ``what`` it is inside of."""
    flow = Workflow("single")
    flow.add(task.__name__, task, (str(log), what), queue=queue, **options)
    return flow
