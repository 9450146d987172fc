"""Workers inside of tasks, to be killed and frozen, and coordinators with the real settings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from distflow import Workflow
from distflow.coordinator.settings import CoordinatorSettings
from distflow.events.notice import Interrupt, Notice
from distflow.runs.client import Client
from tests.support.redis_server import TcpServer
from tests.support.tasks import recording, stuck
from tests.support.wait import wait_for
from tests.support.worker_process import WorkerProcess

#: As `distflow worker` starts RQ's worker.
BRISK = ("--worker-ttl", "16", "--job-monitoring-interval", "1")


class Scene:
    """Workers, each on a queue of its own, with a run each that a coordinator of its own leads."""

    def __init__(self, folder: Path) -> None:
        self.settings = CoordinatorSettings()
        self._started = ExitStack()
        #: Ends all leading.
        self._interrupt = Interrupt()
        self.server = TcpServer()
        self._started.callback(self.server.close)
        # Redis would drop the connection of a host that is gone: who is connected is frozen.
        with self.server.client() as client:
            client.config_set("tcp-keepalive", 10)
        self.folder = folder
        self.workers: dict[str, WorkerProcess] = {}
        self.runs: dict[str, Any] = {}
        #: Queue -> what was told of its run, each with the time on this host's clock.
        self.told: dict[str, list[tuple[float, Notice]]] = {}

    def log(self, queue: str) -> Path:
        """What the tasks of a queue wrote."""
        return self.folder / f"log-{queue}"

    def gate(self, queue: str) -> Path:
        """What the task of a queue waits for."""
        return self.folder / f"gate-{queue}"

    def worker(self, queue: str, *, name: str = "", **options: Any) -> WorkerProcess:
        """Start a worker on a queue; it need not be ready yet."""
        worker = WorkerProcess(self.server.url, [queue], **options)
        self._started.callback(worker.close)
        self.workers[name or queue] = worker
        return worker

    def submit(self, queue: str, workflow: Workflow) -> None:
        """Lead a run on a thread of this process."""
        told = self.told.setdefault(queue, [])
        client = Client(self.server.client(), settings=self.settings)
        self._started.callback(client.redis.close)
        run = self.runs[queue] = client.create(workflow)
        executor = run.executor(
            listener=lambda notice: told.append((time.monotonic(), notice)),
            interrupt=self._interrupt,
        )
        leader = threading.Thread(target=executor.lead, name=f"lead-{queue}", daemon=True)
        leader.start()
        # Before its Redis ends: it would wait for that.
        self._started.callback(leader.join)

    def hold(self, queue: str, effects: str) -> None:
        """Let a worker be inside a task until the gate opens."""
        gate = str(self.gate(queue))
        flow = stuck.single(stuck.hold, self.log(queue), gate, queue, effects=effects)
        self.submit(queue, flow)

    def began(self, queue: str, times: int = 1) -> None:
        """Return when a task of the queue has begun so often."""
        wait_for(lambda: len(recording.lines(self.log(queue))) >= times, 30, f"the task of {queue}")

    def all_have_beaten(self) -> bool:
        """Whether each worker has been inside its task for some beats: the coordinator has seen a
        heartbeat of each as well.
        """
        for run in self.runs.values():
            claims, beats = run.store.read_claims(), run.store.read_beats()
            if not claims or any(beats[c.batch].at - c.claimed < 2500 for c in claims.values()):
                return False
        return True

    def wait_told(self, queue: str, kind: str, timeout: float) -> tuple[float, Notice]:
        """The first notice of a kind, and when it came."""
        found = wait_for(
            lambda: [each for each in self.told[queue] if each[1].kind == kind],
            timeout,
            f"{kind} of {queue}",
        )
        return found[0]

    def result(self, queue: str) -> Any:
        """The outcome of the queue's one task, once its run has ended."""
        run = self.runs[queue]
        assert run.wait(60) is not None
        (result,) = run.results().values()
        return result

    def mishaps(self, queue: str) -> list[str]:
        """What was repaired, or warned of."""
        return [n.message for _at, n in self.told[queue] if n.kind in ("repair", "warning")]

    def at_end(self, call: Callable[[], object]) -> None:
        """Call this when the scene ends, before what was started earlier ends."""
        self._started.callback(call)

    def close(self) -> None:
        """End everything."""
        for queue in self.runs:
            self.gate(queue).touch()
        self._interrupt.set()
        self._started.close()
