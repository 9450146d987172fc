"""Runs in chosen states, and commands that are run in this process: quick to ask many questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner, Result

from distflow.cli import main
from distflow.core.claim import Progress
from distflow.core.model import Task
from distflow.core.run import RunSpec
from distflow.store.redis.store import RedisRunStore
from tests.support.redis_server import RedisServer
from tests.support.stores import claim, final, finish, make_spec, open_run

#: The widest line that people are shown, commands to copy excepted.
WIDTH = 80


def run_here(
    url: str, *words: str | Path, given: bytes | str | None = None, piped: bool = False
) -> Result:
    """Run ``distflow WORDS…`` in this process; ``given`` is its stdin. What it prints goes to a
    terminal, unless it is ``piped``.
    """
    environment = {"DISTFLOW_REDIS_URL": url, "COLUMNS": str(WIDTH)}
    with patch("distflow.cli.ui.views.is_terminal", lambda _stream: not piped):
        return CliRunner(env=environment).invoke(main, [str(word) for word in words], input=given)


class Scene:
    """A Redis with runs on it, and the command line in front of it."""

    def __init__(self, server: RedisServer) -> None:
        self.url = server.url
        self.client: Any = server.client()

    def cli(
        self, *words: str | Path, given: bytes | str | None = None, piped: bool = False
    ) -> Result:
        """Run ``distflow WORDS…``: see :func:`run_here`."""
        return run_here(self.url, *words, given=given, piped=piped)

    def refused(self, *words: str | Path) -> str:
        """Run a command that must end with exit 2 and one line on stderr; returns the line."""
        result = self.cli(*words)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        lines = result.stderr.splitlines()
        assert len(lines) == 1
        return lines[0]

    def store(self, run_id: str = "run-1") -> RedisRunStore:
        """The store of a run."""
        return RedisRunStore(self.client, run_id, patience_seconds=5)

    def open_run(self, *names: str, run_id: str = "run-1") -> tuple[RedisRunStore, int]:
        """A run of tasks without dependencies that ``anna`` leads; its store and epoch."""
        store = self.store(run_id)
        epoch = open_run(store, *names)
        store.begin_batch(epoch, "b1", "w1", "job-1")
        return store, epoch

    def open_graph(self, tasks: Sequence[Task], run_id: str = "run-1") -> tuple[RedisRunStore, int]:
        """A run of these tasks that ``anna`` leads; its store and epoch."""
        store = self.store(run_id)
        spec: RunSpec = make_spec(run_id)
        store.create_run(spec, "creation")
        store.append_tasks("creation", 0, tasks)
        store.seal_run("creation", len(tasks))
        epoch = store.acquire_lease("anna", 60.0)
        store.begin_batch(epoch, "b1", "w1", "job-1")
        return store, epoch

    def settle(
        self, store: RedisRunStore, epoch: int, task: str, status: str, **fields: Any
    ) -> None:
        """Let a worker run a task to this outcome."""
        claim(store, epoch, task, f"t-{task}")
        done = final(task, f"t-{task}", status, keep=status == "unknown", **fields)
        if status == "unknown":
            done = done._replace(progress=Progress(2, started=True))
        finish(store, epoch, done)

    def leave(self, store: RedisRunStore, epoch: int) -> None:
        """Let nobody lead the run any more."""
        store.release_lease("anna", epoch)

    def close(self) -> None:
        """Close the connection."""
        self.client.close()
