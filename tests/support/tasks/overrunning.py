"""Tasks that do not end in time, each in its own way; each first notes when and where it runs."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from distflow import Retry, Workflow
from tests.support.tasks.recording import note
from tests.support.wait import wait_for

#: Seconds that each of them may take.
TIMEOUT = 1.0

#: A child that does not heed SIGTERM, and says when it does not; and one that does.
_STUBBORN = ["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.05; done"]
_MEEK = ["sleep", "600"]


def begin(log: str, ctx) -> None:
    note(log, ctx.task, os.getpid(), time.time())


def swallow(log: str, *, ctx) -> None:
    """Let nothing end it that can be caught."""
    begin(log, ctx)
    while True:
        try:
            time.sleep(0.01)
        except BaseException:  # noqa: BLE001 - what it shows
            continue


def seize(log: str, *, ctx) -> None:
    """Be in C, with the interpreter lock in hand: no signal handler runs, and no thread. Nor does a
    signal interrupt it: it waits for a lock that it holds itself.
    """
    begin(log, ctx)
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


def swallow_hook(key: str, ctx) -> None:
    """A verify hook that does not end either; the log is that of the run's parameters."""
    swallow(ctx.params["log"], ctx=ctx)


def spawn(log: str, *, ctx) -> None:
    """Start two children that do not end, and wait."""
    begin(log, ctx)
    start_children(log, ctx)
    time.sleep(600)


def spawn_and_swallow(log: str, *, ctx) -> None:
    """The same, and let nothing end it."""
    start_children(log, ctx)
    swallow(log, ctx=ctx)


def start_children(log: str, ctx) -> None:
    leave(log, ctx=ctx)
    child = subprocess.Popen(_STUBBORN, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    note(log, f"{ctx.task}-child", child.pid)


def leave(log: str, *, ctx) -> str:
    """Leave a child behind, and end well."""
    child = subprocess.Popen(_MEEK)
    note(log, f"{ctx.task}-child", child.pid)
    return "left"


def spawn_and_die(log: str, *, ctx) -> None:
    """Start children, and be killed."""
    start_children(log, ctx)
    os.kill(os.getpid(), signal.SIGKILL)


def swallow_once(log: str, *, ctx) -> int:
    """Only the first attempt does not end."""
    if ctx.attempt == 1:
        swallow(log, ctx=ctx)
    begin(log, ctx)
    return int(ctx.attempt)


def swallow_alone(log: str, *, ctx) -> None:
    """Kill the guardian first."""
    os.kill(guardian(), signal.SIGKILL)
    swallow(log, ctx=ctx)


def look(log: str, *, ctx) -> dict[str, Any]:
    """What the guardian has open, and its session."""
    pid = guardian()
    wait_for(lambda: os.getsid(pid) == pid)
    folder = Path(f"/proc/{pid}/fd")

    def sockets() -> list[str]:
        links = [str(entry.readlink()) for entry in folder.iterdir()]
        return [link for link in links if link.startswith("socket:")]

    wait_for(lambda: len(sockets()) == 1, what="the guardian to let go of what was open")
    return {"sockets": len(sockets()), "session": os.getsid(pid) == os.getsid(0)}


def guardian() -> int:
    """The one child of this process."""
    (pid,) = [
        int(pid)
        for children in Path("/proc/self/task").glob("*/children")
        for pid in children.read_text().split()
    ]
    return pid


def quick(log: str, *, ctx) -> str:
    """End in time."""
    begin(log, ctx)
    return str(ctx.task)


def overrun(log: Path) -> Workflow:
    """One task for each way, each on a queue of its own."""
    flow = Workflow("overrun")
    words = (str(log),)
    ways = (swallow, seize, spawn, spawn_and_swallow, swallow_alone)
    for way in ways:
        flow.add(way.__name__, way, words, timeout=TIMEOUT, queue=way.__name__)
    flow.add("simple", swallow, words, timeout=TIMEOUT, queue="simple")
    flow.add("again", swallow_once, words, timeout=TIMEOUT, queue="again", retry=Retry(1))
    flow.add("charge", swallow, words, timeout=TIMEOUT, queue="charge", effects="at_most_once")
    flow.add("die", spawn_and_die, words, timeout=600.0, queue="die")
    flow.add("look", look, words, timeout=600.0, queue="again")
    flow.add("leave", leave, words, timeout=TIMEOUT, queue="leave")
    flow.add(
        "asked",
        swallow,
        words,
        timeout=TIMEOUT,
        queue="asked",
        effects="at_most_once",
        verify=swallow_hook,
    )
    # These travel together, and so do the last two.
    flow.add("before", quick, words, queue="mates", priority=3)
    flow.add("middle", swallow, words, timeout=TIMEOUT, queue="mates", priority=2)
    flow.add("behind", quick, words, queue="mates", priority=1)
    flow.add("soft", spawn, words, timeout=TIMEOUT, queue="pair", priority=1)
    flow.add("last", quick, words, queue="pair")
    return flow
