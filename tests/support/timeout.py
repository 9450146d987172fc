"""The command ``timeout -s SIGNAL SECONDS COMMAND…``, by a clock that starts with the first line of
what the command prints: on a busy machine its start alone may take the seconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def main() -> int:
    """Run the command; what it and this script end with is what ``timeout`` would."""
    option, name, seconds, *command = sys.argv[1:]
    assert option == "-s"
    number = signal.Signals[f"SIG{name}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        sys.stdout.buffer.write(process.stdout.readline())
        sys.stdout.flush()
        try:
            return process.wait(float(seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            # As the shell is told that it was killed.
            os.kill(os.getpid(), number)
            return 128 + number


if __name__ == "__main__":
    sys.exit(main())
