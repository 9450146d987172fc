"""What the tests of long-running commands share: workflows to run, processes to watch."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.support.cli import kill_cli, start_cli
from tests.support.tasks import recording
from tests.support.wait import stretched, wait_for

FLOWS = "tests.support.tasks.recording"

StartCli = Callable[..., subprocess.Popen[str]]


@contextmanager
def started_commands() -> Iterator[StartCli]:
    """``start_cli`` whose processes are gone at the end of the block."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str, **options: object) -> subprocess.Popen[str]:
        started.append(start_cli(*args, **options))  # type: ignore[arg-type]
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            kill_cli(process)


def dag(log: Path, size: int = 5) -> list[str]:
    """A workflow of quick tasks."""
    return [f"{FLOWS}:random_dag", "-p", f"log={log}", "-p", f"size={size}"]


def held(folder: Path) -> list[str]:
    """A workflow whose first task hangs until the file ``gate`` is there."""
    return [f"{FLOWS}:holding", "-p", f"log={folder / 'log'}", "-p", f"gate={folder / 'gate'}"]


def begun(folder: Path) -> bool:
    """Whether the first task of ``held`` is at work."""
    return bool(recording.lines(folder / "log"))


def end(process: subprocess.Popen[str], timeout: float = 60.0) -> tuple[int, str, list[str]]:
    """Exit code, stdout and the lines of stderr."""
    out, err = process.communicate(timeout=stretched(timeout))
    return process.returncode, out, err.splitlines()


def run_of(redis: Redis, run_id: str) -> Run:
    """The run, once there is one."""
    client = Client(redis)
    wait_for(lambda: run_id in client.run_ids(), 20, f"run {run_id}")
    return client.run(run_id)


def starts(folder: Path) -> Counter[str]:
    """How often each task began."""
    return Counter(words[0] for words in recording.lines(folder / "log"))
