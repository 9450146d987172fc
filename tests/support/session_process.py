"""A process that leads a session, to be stopped, killed and frozen with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

from distflow.local.launch import bound_to_this_process
from distflow.local.processes import kill_session, session_members
from tests.support.release import ROOT, THIS, Release
from tests.support.wait import stretched, wait_for

__all__ = ["ROOT", "SessionProcess"]


class SessionProcess:
    """Started at once, and told to stop if the test process dies."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        release: Release = THIS,
    ) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `close` ends it
        self.process = subprocess.Popen(
            bound_to_this_process(command),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=release.cwd,
            env=release.environment(env),
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the process itself, not of what it started."""
        return self.process.pid

    def children(self) -> list[int]:
        """The ids of the other processes of its session; of a worker: its work horses."""
        return [pid for pid in session_members(self.pid) if pid != self.pid]

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(stretched(timeout))

    def kill(self) -> None:
        """SIGKILL to it and its children; returns when they are gone."""
        kill_session(self.process)
        wait_for(lambda: not self.children(), what=f"the children of {self.name} to be gone")

    def kill_parent(self) -> None:
        """SIGKILL to it alone: its children go on."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP to it and its children."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: undo ``freeze``."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """What it and its children have printed."""
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")

    def close(self) -> None:
        """Kill what is left of it."""
        self.kill()
        self._log.close()

    def has_ended(self) -> bool:
        """Whether it is gone; its children may go on."""
        return self.process.poll() is not None

    def _signal(self, number: signal.Signals) -> None:
        for pid in session_members(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
