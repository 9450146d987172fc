"""Commands that are run in this process, in front of runs in chosen states: quick to ask many
questions.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from unittest.mock import patch

from click.testing import CliRunner, Result

from distflow.backends.memory import MemoryBackend
from distflow.cli import main
from distflow.cli.ui.connecting import OpenBackend
from distflow.core.batches import Batch
from distflow.core.claim import Progress
from distflow.core.model import Task
from distflow.core.readings import WorkerInfo
from distflow.core.run import ServerFacts
from distflow.errors import DistflowError
from distflow.ports.backend import Backend
from distflow.ports.run_store import RunStore
from distflow.store.memory.store import MemoryRunStore
from tests.support.stores import again, claim, final, finish, make_spec, open_run
from tests.support.wait import wait_for

#: The widest line that people are shown, commands to copy excepted.
WIDTH = 80

_Store = TypeVar("_Store", bound=RunStore)


def run_here(
    url: str,
    *words: str | Path,
    given: bytes | str | None = None,
    piped: bool = False,
    opener: OpenBackend | None = None,
) -> Result:
    """Run ``distflow WORDS…`` in this process; ``given`` is its stdin. What it prints goes to a
    terminal, unless it is ``piped``. Its runs are on the Redis of the URL, or where the ``opener``
    finds them.
    """
    environment = {"DISTFLOW_REDIS_URL": url, "COLUMNS": str(WIDTH)}
    typed = [str(word) for word in words]
    with patch("distflow.cli.ui.views.is_terminal", lambda _stream: not piped):
        return CliRunner(env=environment).invoke(main, typed, input=given, obj=opener)


def stderr_here() -> str:
    """What a command that runs in this process now has said until now; nothing before it runs."""
    # Of pytest's own stream nobody knows that.
    buffer: Any = getattr(sys.stderr, "buffer", None)
    said: bytes = buffer.getvalue() if isinstance(buffer, io.BytesIO) else b""
    return said.decode()


class BaseScene(ABC, Generic[_Store]):
    """Runs, and the command line in front of them."""

    @abstractmethod
    def cli(
        self, *words: str | Path, given: bytes | str | None = None, piped: bool = False
    ) -> Result:
        """Run ``distflow WORDS…``: see :func:`run_here`."""

    @abstractmethod
    def store(self, run_id: str = "run-1") -> _Store:
        """The store of a run."""

    def refused(self, *words: str | Path) -> str:
        """Run a command that must end with exit 2 and one line on stderr; returns the line."""
        result = self.cli(*words)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        lines = result.stderr.splitlines()
        assert len(lines) == 1
        return lines[0]

    def open_run(self, *names: str, run_id: str = "run-1") -> tuple[_Store, int]:
        """A run of tasks without dependencies that ``anna`` leads; its store and epoch."""
        store = self.store(run_id)
        epoch = open_run(store, *names)
        store.begin_batch(epoch, "b1", "w1", "job-1")
        return store, epoch

    def open_graph(self, tasks: Sequence[Task], run_id: str = "run-1") -> tuple[_Store, int]:
        """A run of these tasks that ``anna`` leads; its store and epoch."""
        store = self.store(run_id)
        store.create_run(make_spec(run_id), "creation")
        store.append_tasks("creation", 0, tasks)
        store.seal_run("creation", len(tasks))
        epoch = store.acquire_lease("anna", 60.0)
        store.begin_batch(epoch, "b1", "w1", "job-1")
        return store, epoch

    def settle(self, store: _Store, epoch: int, task: str, status: str, **fields: Any) -> None:
        """Let a worker run a task to this outcome."""
        claim(store, epoch, task, f"t-{task}")
        done = final(task, f"t-{task}", status, keep=status == "unknown", **fields)
        if status == "unknown":
            done = done._replace(progress=Progress(2, started=True))
        finish(store, epoch, done)

    def leave(self, store: _Store, epoch: int) -> None:
        """Let nobody lead the run any more."""
        store.release_lease("anna", epoch)


class StaffedBackend(MemoryBackend):
    """Runs in memory, with what else a Redis tells of its workers and itself."""

    def __init__(self, scene: MemoryScene, workers: int) -> None:
        super().__init__(workers=workers, clock=scene.unix)
        #: What new runs record of their server.
        self.facts = ServerFacts("aof-always", "redis 7.0.15", "noeviction")
        self.roster: list[WorkerInfo] = []
        self.suspended = False
        #: The durability that the last command asked for, and whether it allows eviction.
        self.wanted: tuple[str | None, bool] | None = None
        self.advice: list[str] = []

    def settle_server(self, durability: str | None, *, allow_eviction: bool) -> ServerFacts:
        """What the test says, unless the user has asked for a durability."""
        self.wanted = durability, allow_eviction
        return self.facts._replace(durability=durability or self.facts.durability)

    def workers(self) -> list[WorkerInfo]:
        return self.roster

    def has_worker(self, name: str) -> bool:
        return any(worker.name == name for worker in self.roster)

    def are_workers_suspended(self) -> bool:
        return self.suspended

    def server_advice(self) -> list[str]:
        return self.advice


class MemoryScene(BaseScene[MemoryRunStore]):
    """Runs in memory with the command line in front of them, and workers that a command which
    leads a run lets work on it.

    Args:
        workers: how many there are.
    """

    def __init__(self, workers: int = 1) -> None:
        #: By how much the clock of the runs was set forward.
        self.ahead_seconds = 0.0
        self.backend = StaffedBackend(self, workers)
        #: The URL and the patience that the last command asked for.
        self.asked: tuple[str, float] | None = None
        #: Raised to whoever asks for the runs.
        self.away: DistflowError | None = None

    def unix(self) -> float:
        """The clock of the runs."""
        return time.time() + self.ahead_seconds

    def _open(self, url: str, *, patience_seconds: float) -> Backend:
        self.asked = url, patience_seconds
        if self.away is not None:
            raise self.away
        return self.backend

    def cli(
        self, *words: str | Path, given: bytes | str | None = None, piped: bool = False
    ) -> Result:
        return run_here("redis://memory", *words, given=given, piped=piped, opener=self._open)

    def during(self, call: Callable[[], object], *, said: str) -> None:
        """Let something happen amid the next command, once it has said this on stderr."""

        def run() -> None:
            wait_for(lambda: said in stderr_here(), 20, said)
            call()

        threading.Thread(target=run, daemon=True).start()

    def store(self, run_id: str = "run-1") -> MemoryRunStore:
        return self.backend.store(run_id)

    def queue_up(self, run_id: str = "run-1") -> None:
        """Let a batch of a run wait in the queue ``default``."""
        task = next(self.store(run_id).iter_tasks())[0]
        self.backend.dispatcher.dispatch([Batch(f"{run_id}-1-1", "default", (task,), run_id, 1)])


def busy_run(scene: BaseScene[Any]) -> None:
    """One task of each kind: done, failed, unknown, running, waiting, pending."""
    store, epoch = scene.open_run("done", "bad", "lost", "busy", "later", "open")
    scene.settle(store, epoch, "done", "success", data={"rows": 3})
    scene.settle(store, epoch, "bad", "failure", error="ValueError: no\nsuch day " + "x" * 200)
    scene.settle(store, epoch, "lost", "unknown", error="WorkerLost: worker w1 was lost")
    store.begin_batch(epoch, "b9", "worker-9", "job-9")
    claim(store, epoch, "busy", "t-busy", batch="b9", begin=False)
    claim(store, epoch, "later", "t-later")
    finish(store, epoch, again("later", "t-later", delay_ms=300_000))
    store.renew_lease("anna", epoch, 60.0, queued=0, waiting=1)
