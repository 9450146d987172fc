"""Start a command that gets SIGTERM when the process that started it dies.

Run as a script, so that nothing needs to be imported: ``launch.py PARENT_PID COMMAND…``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

#: Placeholder for the pid of the command, in its words.
PID = "{pid}"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def bound_to_this_process(command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` until it or this process ends; :data:`PID` in it
    becomes its pid.

    On Linux only; elsewhere the command outlives a killed parent. The kernel watches the *thread*
    that starts the command, so that thread must live as long as the command should.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    """Ask the kernel for the signal, then become the command."""
    parent, command = int(sys.argv[1]), [w.replace(PID, str(os.getpid())) for w in sys.argv[2:]]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # If the parent died before this call, the kernel sends no signal.
    if os.getppid() != parent:
        sys.exit(f"the process {parent}, for which this was started, is gone")
    os.execv(command[0], command)  # noqa: S606 - without a shell is the point


if __name__ == "__main__":
    main()
