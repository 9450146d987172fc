"""One Redis and all the roles, each a process of its own as a user starts it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from redis import Redis

from distflow.authoring.params import load_workflow
from distflow.core.status import RunStatus
from distflow.errors import RunNotFound
from distflow.runs.client import Client
from distflow.runs.run import Run
from distflow_worker.patient import WorkerRedis
from tests.support.cli import command
from tests.support.cluster_front import REFUSALS, ClusterFront
from tests.support.refusing import BESIDE, RefusingServer
from tests.support.session_process import SessionProcess
from tests.support.tasks import recording, refused
from tests.support.wait import wait_for
from tests.support.worker_process import FAST

_FLOWS = "tests.support.tasks.refused"

#: Seconds until everybody is there, and until everything has ended once Redis goes on.
_READY_SECONDS = 60.0
_SETTLE_SECONDS = 60.0

#: Seconds in which a person is told what Redis refuses, the start of a process included, which
#: takes longer on a busy machine.
_TOLD_SECONDS = 10.0

_RUNS = ("led", "new", "left")

#: Who does not end.
_STAYING = ("idle", "distflow", "stock", "fast", "leader", "stand-by")


class Scene:
    """Everybody at work.

    Args:
        server: the Redis.
        folder: for the witness and the gate.
        front: what everybody talks to instead, where a cluster refuses.
    """

    def __init__(
        self, server: RefusingServer, folder: Path, front: ClusterFront | None = None
    ) -> None:
        self._server = server
        self._front = front
        self.url = front.url if front else server.url
        self.log = folder / "log"
        self._gate = folder / "gate"
        self.client = Client(Redis.from_url(server.url))
        self._open = ExitStack()
        self.members: dict[str, SessionProcess] = {}

    def close(self) -> None:
        """End everybody."""
        self._open.close()
        self.client.redis.close()

    def logs(self) -> str:
        """What everybody has printed."""
        return "\n".join(f"--- {name}\n{each.log()}" for name, each in self.members.items())

    # Before

    def gather(self) -> Run:
        """Start everybody, and a run that is at work on every busy worker; return it."""
        rq = [sys.executable, "-m", "rq.cli", "worker", "--url", self.url]
        stock = {"RQ_CONNECTION_CLASS": f"{WorkerRedis.__module__}.{WorkerRedis.__name__}"}
        self.start("idle", *command("worker", "--name", "idle", refused.IDLE))
        self.start("distflow", *command("worker", "--name", "distflow", "distflow"))
        self.start("stock", *rq, "--name", "stock", "stock", env=stock)
        self.start("fast", *rq, "--name", "fast", "-w", FAST, "fast")
        self.start("leader", *command("coordinator"))
        for name in ("idle", "distflow", "stock", "fast"):
            self._wait_listening(name)
        params = {"log": str(self.log), "gate": str(self._gate)}
        run = self.client.submit(load_workflow(f"{_FLOWS}:everywhere"), params, "led", detach=True)
        wait_for(lambda: len(recording.lines(self.log)) == len(refused.HELD), _READY_SECONDS)
        self.start("stand-by", *command("coordinator"))
        wait_for(lambda: len(self.client.coordinators()) == 2, _READY_SECONDS, "two coordinators")
        return run

    def start(self, name: str, *words: str, env: dict[str, str] | None = None) -> SessionProcess:
        """Start one of them."""
        process = SessionProcess(name, words, env={"DISTFLOW_REDIS_URL": self.url, **(env or {})})
        self._open.callback(process.close)
        self.members[name] = process
        return process

    def _wait_listening(self, name: str) -> None:
        redis = self.client.redis
        key = f"rq:worker:{name}"
        wait_for(lambda: redis.hget(key, "state"), _READY_SECONDS, f"worker {name} to listen")

    # Meanwhile

    @contextmanager
    def refusing(self, word: str, seconds: float) -> Iterator[None]:
        """Refuse for the length of a block, which takes about so many seconds."""
        if word in REFUSALS:
            assert self._front is not None
            with self._front.refusing(word):
                yield
        else:
            with self._server.refusing(word, seconds):
                yield

    def arrive(self) -> None:
        """Persons come: one submits, one resumes, one looks."""
        log = f"log={self.log}"
        self.start("submit", *command("submit", f"{_FLOWS}:idle", "-p", log, "--run-id", "new"))
        self.start("resume", *command("resume", "left"))
        self.start("status", *command("status", "led"))

    def leave_one(self) -> None:
        """A run that nobody leads, for the one who resumes."""
        self.client.create(load_workflow(f"{_FLOWS}:idle"), {"log": str(self.log)}, run_id="left")

    def open_gate(self) -> None:
        """What is at work ends."""
        self._gate.write_text("")

    def wait_told(self, word: str) -> dict[str, float]:
        """Until those who came know what is refused; returns how long each took. Who only looks
        ends with it, or shows what can be read.
        """
        began = time.monotonic()
        told: dict[str, float] = {}
        words = {word, BESIDE.get(word, word)}

        def all_told() -> bool:
            for name in ("submit", "resume", "status"):
                process = self.members[name]
                log = process.log()
                knows = any(f"refuses with {word}" in log for word in words)
                if name not in told and (knows or (name == "status" and process.has_ended())):
                    told[name] = time.monotonic() - began
            return len(told) == len(("submit", "resume", "status"))

        wait_for(all_told, _TOLD_SECONDS, f"all to be told of {word}: {told}")
        return told

    # After

    def wait_ended(self) -> float:
        """Until all runs have ended; returns how long that took."""
        began = time.monotonic()
        for run_id in _RUNS:
            is_over = partial(self._is_success, run_id)
            wait_for(is_over, _SETTLE_SECONDS, f"run {run_id} to be a success")
        for name in ("submit", "resume"):
            assert self.members[name].process.wait(_SETTLE_SECONDS) == 0, name
        return time.monotonic() - began

    def _is_success(self, run_id: str) -> bool:
        try:
            return self.client.run(run_id).status() == RunStatus.SUCCESS
        except RunNotFound:
            return False

    def check(self) -> None:
        """Each task ran once, nothing had to be repaired, and everybody is there still."""
        calls = Counter(tuple(words) for words in recording.lines(self.log))
        assert set(calls.values()) == {1}, calls
        assert len(calls) == 2 * sum(len(self.client.run(run_id).graph()) for run_id in _RUNS)
        repairs = {run_id: self.client.run(run_id).info().repairs for run_id in _RUNS}
        harmless = {"redis_restarted"}
        assert all(set(some) <= harmless for some in repairs.values()), repairs
        gone = [name for name in _STAYING if self.members[name].has_ended()]
        assert gone == [], "\n".join(self.members[name].log() for name in gone)
