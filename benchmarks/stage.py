"""One system on a stage of its own: a server, its workers, and a driver that is the client."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.clients.port import URL_VARIABLE
from benchmarks.meter import MemoryWatch
from benchmarks.server import running_server
from benchmarks.systems import System
from tests.support.session_process import SessionProcess

#: After which a job that does not end is an error.
PATIENCE_SECONDS = 3600.0
_SHOWN_LINES = 15


class StageFailed(Exception):
    """A system could not be measured; says what its processes printed last."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A system that runs: made by :func:`staged`."""

    system: System
    url: str
    server_pid: int
    workers: Sequence[SessionProcess]
    patience_seconds: float

    def drive(self, job: str, **options: Any) -> dict[str, Any]:
        """Do a job of :mod:`benchmarks.jobs` in a client process of its own, and return what it
        measured, with the memory of all processes.

        Raises:
            StageFailed: it did not end well.
        """
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            answer = Path(folder, "answer.json")
            command = [sys.executable, "-m", "benchmarks.driver", self.system.name, job]
            driver = SessionProcess(
                "driver", [*command, json.dumps(options), str(answer)], env=_environment(self.url)
            )
            stack.callback(driver.close)
            theirs = MemoryWatch([worker.pid for worker in self.workers])
            everyone = MemoryWatch(
                [driver.pid, self.server_pid, *(worker.pid for worker in self.workers)]
            )
            try:
                with theirs, everyone:
                    code = driver.process.wait(self.patience_seconds)
                    theirs.look()
            except subprocess.TimeoutExpired:
                code = None
            if code != 0:
                how = "ended badly" if code is not None else f"took over {self.patience_seconds} s"
                said = [driver.log(), *(worker.log() for worker in self.workers)]
                raise StageFailed(f"{job} {how}: {_last_lines(said)}")
            found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
            found["worker_peak_bytes"] = theirs.largest
            found["all_peak_bytes"] = everyone.largest_sum
            return found


@contextmanager
def staged(
    system: System, persistence: str, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[Stage]:
    """Start a system; everything of it is gone after the block."""
    with running_server(persistence) as server, ExitStack() as stack:
        workers = []
        for number, command in enumerate(system.workers, 1):
            words = [word.format(url=server.url, number=number) for word in command]
            worker = SessionProcess(f"{system.name}-{number}", words, env=_environment(server.url))
            stack.callback(worker.close)
            workers.append(worker)
        yield Stage(system, server.url, server.pid, workers, patience_seconds)


def end_cleanly() -> None:
    """Let SIGTERM end this process as an exit does: what it has started is ended with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _environment(url: str) -> Mapping[str, str]:
    return {URL_VARIABLE: url, "DISTFLOW_REDIS_URL": url, "PYTHONUNBUFFERED": "1"}


def _last_lines(said: Sequence[str]) -> str:
    lines = [line for text in said for line in text.splitlines()[-_SHOWN_LINES:]]
    return "\n".join(lines) or "nothing was printed"
