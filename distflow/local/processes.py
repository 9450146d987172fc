"""The processes that a child process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

from distflow.procfs import iter_processes


def session_members(session: int) -> list[int]:
    """The pids of a session, with its leader (whose pid is the session's id) first.

    RQ puts a work horse into a process group of its own, but it stays in its worker's session,
    even when the worker is dead. Needs ``/proc``: elsewhere the list is empty.
    """
    members = [process.pid for process in iter_processes() if process.session == session]
    return sorted(members, key=lambda pid: (pid != session, pid))


def kill_session(leader: subprocess.Popen[bytes]) -> None:
    """SIGKILL a child process that leads a session, then whatever is left in the session."""
    leader.kill()
    leader.wait()
    members = session_members(leader.pid)
    # Our leader is gone: a process with its pid now is somebody else's.
    if leader.pid not in members:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
