"""RQ workers as processes of their own, to be stopped, killed and frozen by tests."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

import rq.defaults
from redis import Redis

from tests.support.release import THIS, Release
from tests.support.session_process import ROOT, SessionProcess
from tests.support.wait import wait_for

__all__ = ["FAST", "FORKING", "ROOT", "SIMPLE", "WorkerProcess"]

FORKING = "rq.worker.Worker"
SIMPLE = "rq.worker.SimpleWorker"
FAST = "distflow_worker.FastWorker"

_numbers = itertools.count(1)


def key_prefix(asked: str) -> str:
    """Of RQ's keys in a process with this ``RQ_KEY_PREFIX``, which RQ 2.12 ignores."""
    return asked if hasattr(rq.defaults, "RQ_KEY_PREFIX") else "rq"


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
        self._prefix = key_prefix((env or {}).get("RQ_KEY_PREFIX", "rq"))
        name = name or f"worker-{os.getpid()}-{next(_numbers)}"
        command = [str(release.python), "-m", "rq.cli", "worker", "--url", url, "--name", name]
        command += ["--worker-class", worker_class, *extra_args, *queues]
        super().__init__(name, command, env=env, release=release)

    def wait_ready(self, timeout: float = 20.0) -> WorkerProcess:
        """Return when it is registered and listens."""
        key = f"{self._prefix}:worker:{self.name}"
        with Redis.from_url(self.url) as client:
            wait_for(
                lambda: self.has_ended() or client.hget(key, "state"),
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
