"""Stock RQ workers as processes of their own, to be stopped, killed and frozen by tests."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from redis import Redis

from distflow.local.launch import bound_to_this_process
from distflow.local.processes import kill_session, session_members
from tests.support.wait import wait_for

#: Workers run here, so that task modules are imported by the name that tests import them by:
#: ``tests.support.tasks.…``.
ROOT = Path(__file__).parents[2]

FORKING = "rq.worker.Worker"
SIMPLE = "rq.worker.SimpleWorker"

_numbers = itertools.count(1)


class WorkerProcess:
    """One ``rq worker``; started at once, and told to stop if the test process dies."""

    def __init__(
        self,
        url: str,
        queues: Sequence[str] = ("default",),
        *,
        name: str | None = None,
        worker_class: str = FORKING,
        env: Mapping[str, str] | None = None,
        extra_args: Sequence[str] = (),
    ) -> None:
        self.url = url
        self.name = name or f"worker-{os.getpid()}-{next(_numbers)}"
        command = [sys.executable, "-m", "rq.cli", "worker", "--url", url, "--name", self.name]
        command += ["--worker-class", worker_class, *extra_args, *queues]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `close` ends it
        self.process = subprocess.Popen(
            bound_to_this_process(command),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the worker, not of its work horse."""
        return self.process.pid

    def wait_ready(self, timeout: float = 20.0) -> WorkerProcess:
        """Return when it is registered and listens."""
        with Redis.from_url(self.url) as client:
            wait_for(
                lambda: self._ended() or client.hget(f"rq:worker:{self.name}", "state"),
                timeout,
                f"worker {self.name} to listen",
            )
        if self._ended():
            raise AssertionError(f"worker {self.name} ended at its start:\n{self.log()}")
        return self

    def horses(self) -> list[int]:
        """The ids of the processes of its session other than itself: its work horses."""
        return [pid for pid in session_members(self.pid) if pid != self.pid]

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM: a warm shutdown; returns the exit status."""
        self.process.terminate()
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to the worker and its horses; returns when they are gone."""
        kill_session(self.process)
        wait_for(lambda: not self.horses(), what=f"the horses of {self.name} to be gone")

    def kill_parent(self) -> None:
        """SIGKILL to the worker alone: its horse goes on."""
        self.process.kill()
        self.process.wait()

    def kill_horse(self) -> None:
        """SIGKILL to its horses alone; waits for one to be there."""
        for pid in wait_for(self.horses, what=f"a horse of {self.name}"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP to the worker and its horses."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: undo ``freeze``."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """What it and its horses have printed."""
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")

    def close(self) -> None:
        """Kill what is left of it."""
        self.kill()
        self._log.close()

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def _signal(self, number: signal.Signals) -> None:
        for pid in session_members(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
