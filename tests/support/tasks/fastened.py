"""Tasks that say something of the process that they share with others, or do something to it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from rq import get_current_job

from tests.support.tasks.recording import lines, note, wait_for_file

_kept: list[bytes] = []


def look(*, ctx):
    """The process, its parent, what it has open, and the RQ job that it is told of."""
    job = get_current_job()
    assert job is not None
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "open": len(list(Path("/proc/self/fd").iterdir())),
        "job": job.id,
        "worker": job.worker_name,
    }


def hoard(megabytes, *, ctx):
    """Keep memory beyond the task."""
    _kept.append(b"x" * (megabytes << 20))
    return os.getpid()


def hold(log, gate, *, ctx):
    """Hang until the gate opens; say before and after where."""
    note(log, ctx.task, ctx.attempt, os.getpid())
    wait_for_file(gate)
    note(log, ctx.task, "done", os.getpid())
    return os.getpid()


def die_once(log, *, ctx):
    """Kill the own process, the first time."""
    calls = [line for line in lines(Path(log)) if line[0] == ctx.task]
    note(log, ctx.task, os.getpid())
    if not calls:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def leave(log, *, ctx):
    """End the process, as if all were well."""
    note(log, ctx.task, os.getpid())
    os._exit(0)


def overrun(log, stubborn, *, ctx):
    """Do not end in time, and let ``stubborn`` ones go on whatever is raised."""
    note(log, ctx.task, os.getpid())
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            if not stubborn:
                raise
