"""What the tests of this folder share: the run that two releases play together."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.support.cli import kill_cli, start_cli
from tests.support.release import Release
from tests.support.tasks.recording import lines
from tests.support.tasks.released import OUTCOMES, open_gates
from tests.support.wait import wait_for

FLOWS = "tests.support.tasks.released"

#: How long a run, or a state of it, is waited for on a busy machine.
PATIENCE_SECONDS = 60.0

#: Tasks of ``mixed`` that hang until their gate opens.
HANGING = {"hold", "charge", "order"}


def mixed(folder: Path, run_id: str = "r", delay: float = 0.2) -> list[str]:
    """The words of a command that submit ``mixed`` with its witness in a folder."""
    params = ["-p", f"log={folder / 'log'}", "-p", f"delay={delay}"]
    return ["submit", f"{FLOWS}:mixed", "--run-id", run_id, *params]


def calls(folder: Path) -> Counter[str]:
    """How often each function was called, and each hook asked."""
    return Counter(words[0] for words in lines(folder / "log"))


#: Where nothing is lost.
CALLS = Counter({**dict.fromkeys(OUTCOMES, 1), "poll": 3, "until": 3, "flaky": 2})
CALLS.update(spoil=1, charged=1)


def check_ended(run: Run, folder: Path, wanted: Counter[str] = CALLS) -> None:
    """The run is a success with all that its tasks return, and each was called as often as said."""
    results = run.results()
    assert run.status() == "success"
    statuses = {name: result.status.value for name, result in results.items()}
    assert statuses == {
        **dict.fromkeys(OUTCOMES, "success"),
        "spoil": "failure",
        "unwanted": "skipped",
    }
    assert {name: results[name].data for name in OUTCOMES} == OUTCOMES
    assert calls(folder) == wanted
    assert run.info().version == 1


@contextmanager
def a_run(url: str, run_id: str = "r") -> Iterator[Run]:
    """A run, read by the distflow of this source."""
    with Redis.from_url(url) as redis:
        yield Run(Client(redis).engine, run_id)


def has_ended(run: Run) -> bool:
    """Whether the run has ended well."""
    return run.status() == "success"


@contextmanager
def playing(url: str, *words: str, release: Release, **options: Any) -> Iterator[Any]:
    """A command of a release that goes on until it is killed, or ends by itself."""
    process: subprocess.Popen[str] = start_cli(url, *words, release=release, **options)
    try:
        yield process
    finally:
        kill_cli(process)


def wait_until_half_done(run: Run, folder: Path) -> None:
    """In a run of ``mixed`` that four workers run: all that hangs has begun, what precedes it has
    ended, and one task waits for its retry.
    """
    wait_for(lambda: {"flaky", *HANGING} <= set(calls(folder)), PATIENCE_SECONDS, "all to begin")
    open_gates(folder, "fail")

    def waits() -> bool:
        progress = run.store.read_progress().get("flaky")
        return progress is not None and progress.not_before > run.info().as_of * 1000

    wait_for(waits, PATIENCE_SECONDS, "a task to wait for its retry")
    assert "early" in run.results()
