"""Start a command that is told to end (SIGTERM) when the process that started it dies.

Run as a script, so that it costs no import of anything: ``launch.py PARENT_PID COMMAND…``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

#: Stands for the process id of the command, in its words.
PID = "{pid}"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def bound_to_this_process(command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` until it ends or this process does; :data:`PID` in it
    becomes its process id.

    On Linux only; elsewhere the command outlives a parent that is killed. The kernel watches
    the *thread* that starts the command, so that must be one that lives as long as wanted.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    """Ask the kernel for the signal, then become the command."""
    parent, command = int(sys.argv[1]), [w.replace(PID, str(os.getpid())) for w in sys.argv[2:]]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # A parent that died before the kernel was asked sends no signal any more.
    if os.getppid() != parent:
        sys.exit(f"the process {parent}, for which this was started, is gone")
    os.execv(command[0], command)  # noqa: S606 - without a shell is the point


if __name__ == "__main__":
    main()
