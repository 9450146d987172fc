"""Tasks that change the process that they share with others, or copy it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.tasks.recording import note


def look(log, *_before, ctx):
    """What this task finds of its process."""
    note(log, ctx.task, os.getpid())
    umask = os.umask(0o022)
    os.umask(umask)
    return [
        umask,
        str(Path.cwd()),
        os.environ.get("SPOILED"),
        os.fstat(1).st_ino,
        os.fstat(2).st_ino,
        str(signal.getsignal(signal.SIGTERM)),
    ]


def spoil(log, *_before, ctx):
    """Another umask, folder, environment, handler; no stdout, and stderr goes nowhere."""
    note(log, ctx.task, os.getpid())
    os.umask(0o077)
    os.chdir("/")
    os.environ["SPOILED"] = "1"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.close(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def split(log, *_before, ctx):
    """Fork, and return in both."""
    note(log, ctx.task, os.getpid())
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
