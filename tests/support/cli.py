"""The command line as a user runs it: a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.release import THIS, Release
from tests.support.signals import ignoring
from tests.support.wait import stretched

#: A lease so short that a test need not wait for the one of a killed coordinator.
SHORT_LEASE = {"DISTFLOW_LEASE_SECONDS": "1"}


def command(*words: str) -> list[str]:
    """The console script of this environment with its arguments."""
    return [str(Path(sys.executable).parent / "distflow"), *words]


def start_cli(
    url: str,
    *words: str,
    env: Mapping[str, str] | None = None,
    release: Release | None = None,
    ignored: Sequence[signal.Signals] = (),
) -> subprocess.Popen[str]:
    """Start a command, with some signals ignored; its output goes to pipes. Where another release
    plays it, its module is run: it has no console script of these tests.
    """
    played = release or THIS
    typed = command(*words) if release is None else played.command(*words)
    return subprocess.Popen(
        ignoring(ignored, typed) if ignored else typed,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=played.cwd,
        env=played.environment({"DISTFLOW_REDIS_URL": url, **SHORT_LEASE, **(env or {})}),
    )


def run_cli(
    url: str,
    *words: str,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    release: Release | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    process = start_cli(url, *words, env=env, release=release)
    try:
        out, err = process.communicate(timeout=stretched(timeout))
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{words} did not end in {timeout} s:\n{out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def kill_cli(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and collect what is left of it."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def status_of(url: str, run_id: str) -> dict[str, Any]:
    """What ``distflow status --json`` says."""
    done = run_cli(url, "status", run_id, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document
