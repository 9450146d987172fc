"""Every process that a started process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

from distflow.procfs import iter_processes


def session_members(session: int) -> list[int]:
    """The ids of the processes of a session, its leader (whose id it bears) first.

    RQ puts a work horse into a process group of its own, but it stays in the session that its
    worker leads, also when the worker is dead. Needs ``/proc``: elsewhere the list is empty.
    """
    members = [process.pid for process in iter_processes() if process.session == session]
    return sorted(members, key=lambda pid: (pid != session, pid))


def kill_session(leader: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a started process that leads a session, and then to what is left in it."""
    leader.kill()
    leader.wait()
    members = session_members(leader.pid)
    # The leader was ours and is gone: one that bears its id now is a stranger's.
    if leader.pid not in members:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
