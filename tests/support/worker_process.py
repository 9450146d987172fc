"""RQ workers as processes of their own, to be stopped, killed and frozen by tests."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

from redis import Redis

from tests.support.release import THIS, Release
from tests.support.session_process import ROOT, SessionProcess
from tests.support.wait import wait_for

__all__ = ["FAST", "FORKING", "ROOT", "SIMPLE", "WorkerProcess"]

FORKING = "rq.worker.Worker"
SIMPLE = "rq.worker.SimpleWorker"
FAST = "distflow_worker.FastWorker"

_numbers = itertools.count(1)


class WorkerProcess(SessionProcess):
    """One ``rq worker``; ``stop`` is a warm shutdown."""

    def __init__(
        self,
        url: str,
        queues: Sequence[str] = ("default",),
        *,
        name: str | None = None,
        worker_class: str = FORKING,
        env: Mapping[str, str] | None = None,
        extra_args: Sequence[str] = (),
        release: Release = THIS,
    ) -> None:
        self.url = url
        name = name or f"worker-{os.getpid()}-{next(_numbers)}"
        command = [str(release.python), "-m", "rq.cli", "worker", "--url", url, "--name", name]
        command += ["--worker-class", worker_class, *extra_args, *queues]
        super().__init__(name, command, env=env, release=release)

    def wait_ready(self, timeout: float = 20.0) -> WorkerProcess:
        """Return when it is registered and listens."""
        with Redis.from_url(self.url) as client:
            wait_for(
                lambda: self.has_ended() or client.hget(f"rq:worker:{self.name}", "state"),
                timeout,
                f"worker {self.name} to listen",
            )
        if self.has_ended():
            raise AssertionError(f"worker {self.name} ended at its start:\n{self.log()}")
        return self

    def horses(self) -> list[int]:
        """The ids of its work horses."""
        return self.children()

    def kill_horse(self) -> None:
        """SIGKILL to its horses alone; waits for one to be there."""
        for pid in wait_for(self.horses, what=f"a horse of {self.name}"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
