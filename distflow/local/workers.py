"""The stock RQ workers that ``distflow run`` starts on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from distflow.errors import DistflowError, InvalidInput
from distflow.ids import new_worker_name
from distflow.local.folder import open_log
from distflow.local.launch import PID, bound_to_this_process
from distflow.local.processes import kill_session
from distflow.text import counted

#: How long a stopping worker may finish its job, and how long it may take to give it up after a
#: second request.
STOP_SECONDS = 10.0
_COLD_STOP_SECONDS = 2.0
#: A worker that exits by itself this often in a row, this soon after its start, will do so again.
_EARLY_ENDS = 3
_EARLY_SECONDS = 5.0


class LocalWorkers:
    """Some ``rq worker`` processes, numbered from 1; as a context manager, for a block.

    Each leads a session of its own, so that Ctrl-C at the terminal reaches only the coordinator,
    and (on Linux) gets a SIGTERM when this process dies. Call ``start`` and ``ensure`` on a thread
    that lives as long as the workers should: the kernel watches that thread.
    """

    def __init__(
        self,
        url: str,
        *,
        count: int,
        data_dir: Path,
        queues: Sequence[str] = ("default",),
        cwd: Path | None = None,
        extra_args: Sequence[str] = (),
    ) -> None:
        """Start nothing yet.

        Args:
            url: of the Redis server.
            count: how many workers, 1 or more.
            data_dir: folder of the workers' logs, ``worker-N.log``, which are appended to.
            queues: names of RQ queues, the most urgent first.
            cwd: folder of the user's modules; by default the working directory.
            extra_args: more options for ``rq worker``.
        """
        if count < 1:
            raise InvalidInput(f"{counted(count, 'worker')} can do nothing: use 1 or more")
        self._cwd = (cwd or Path.cwd()).absolute()
        self._data_dir = data_dir
        self._command = [
            *(sys.executable, "-m", "rq.cli", "worker", "--url", url, "--quiet"),
            *extra_args,
        ]
        self._queues = tuple(queues)
        self._count = count
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._started_at: dict[int, float] = {}
        self._early_ends = 0

    @property
    def pids(self) -> list[int]:
        """The pids of the running workers, without those of their work horses."""
        return [worker.pid for worker in self._workers.values() if worker.poll() is None]

    def log_path(self, number: int) -> Path:
        """The log of the worker with this number."""
        return self._data_dir / f"worker-{number}.log"

    def start(self) -> Self:
        """Start all workers, without waiting until they listen."""
        for number in range(1, self._count + 1):
            self._spawn(number)
        return self

    def ensure(self) -> int:
        """Restart the workers that have exited; returns how many.

        Raises:
            DistflowError: they exit at once, again and again; the message quotes the log.
        """
        restarted = 0
        for number, worker in list(self._workers.items()):
            if worker.poll() is None:
                continue
            self._count_early_end(number, worker)
            self._spawn(number)
            restarted += 1
        return restarted

    def serve(self, queues: Sequence[str]) -> None:
        """Listen to more queues: each worker finishes its job, and :meth:`ensure` starts another in
        its place.

        Args:
            queues: names of RQ queues; those that are served already may be among them.
        """
        more = [queue for queue in queues if queue not in self._queues]
        if not more:
            return
        self._queues += tuple(more)
        for worker in self._workers.values():
            if worker.poll() is None:
                worker.terminate()

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Let each worker finish its job; slower ones are killed, with their work horses."""
        self._terminate(timeout_seconds)
        # On a second signal RQ kills the work horse and exits cleanly.
        self._terminate(_COLD_STOP_SECONDS)
        for worker in self._workers.values():
            # A worker that somebody killed may have left its work horse behind.
            kill_session(worker)
        self._workers.clear()

    def _spawn(self, number: int) -> None:
        modules = [str(self._cwd), *filter(None, [os.environ.get("PYTHONPATH")])]
        with open_log(self.log_path(number)) as log:
            self._workers[number] = subprocess.Popen(
                bound_to_this_process(
                    [*self._command, "--name", new_worker_name(PID), *self._queues]
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._cwd,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(modules)},
                start_new_session=True,
            )
        self._started_at[number] = time.monotonic()

    def _count_early_end(self, number: int, worker: subprocess.Popen[bytes]) -> None:
        early = time.monotonic() - self._started_at[number] < _EARLY_SECONDS
        # A worker killed by a signal (a negative code) did not exit by itself.
        self._early_ends = self._early_ends + 1 if early and worker.returncode > 0 else 0
        if self._early_ends >= _EARLY_ENDS:
            raise DistflowError(
                f"the workers exit as soon as they start: {self._last_line(number)} "
                f"(see {self.log_path(number)})"
            )

    def _last_line(self, number: int) -> str:
        lines = self.log_path(number).read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    def _terminate(self, seconds: float) -> None:
        running = [worker for worker in self._workers.values() if worker.poll() is None]
        for worker in running:
            worker.terminate()
        deadline = time.monotonic() + seconds
        for worker in running:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
