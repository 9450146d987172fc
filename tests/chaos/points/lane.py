"""A lane plays one case after another, with a queue and a worker of its own."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from distflow import TaskStatus, connect
from distflow.core.status import RunStatus
from distflow.errors import DistflowError, RunNotFound
from distflow.runs.run import Run
from tests.chaos.points.case import BOTH, Case, make_fault
from tests.chaos.points.flows import make_flow
from tests.chaos.points.verdict import Broken, Witness
from tests.chaos.soak.person import is_inside
from tests.support.cli import command
from tests.support.proxy import Proxy
from tests.support.session_process import ROOT, SessionProcess
from tests.support.worker_process import FAST, FORKING, SIMPLE, WorkerProcess

#: Seconds that a run may take to its end, hurt or not.
_PATIENT_SECONDS = 60.0

_TICK_SECONDS = 0.03

_LEASE = {"DISTFLOW_LEASE_SECONDS": "0.5"}

#: Roles of workers -> their class. ``both`` are a FastWorker and its child, killed at once where
#: either reaches the point.
WORKERS = {"worker": FORKING, "simple": SIMPLE, "fast": FAST, BOTH: FAST}


#: Heartbeats of a worker that works come so often, in seconds.
_OBSERVED = ("--job-monitoring-interval", "1")

#: Workers write even small expansions in several chunks.
_SMALL_CHUNKS = {"PYTHONPATH": str(ROOT / "tests/support/small_chunks")}


class Played(NamedTuple):
    """What became of a case."""

    case: Case
    struck: bool
    broken: list[Broken]
    #: Commands of persons and coordinators that were started beyond the first of each.
    again: int
    seconds: float
    reached: Counter[str]
    #: What the processes printed, where something was broken.
    told: str = ""


class Lane:
    """To be used from one thread: its processes end with it.

    Args:
        url: of a Redis that several lanes share.
        number: of its database there: a service takes every run that it finds.
    """

    def __init__(self, url: str, number: int) -> None:
        self.url = f"{url}?db={number}"
        self.queue = f"lane{number}"
        self.client = connect(self.url)
        self._names = (f"{self.queue}-{number}" for number in itertools.count(1))
        self._classes = (FORKING, FAST) if number % 2 == 0 else (FAST, FORKING)
        self._healthy: list[WorkerProcess] = []

    def next_run_id(self) -> str:
        """Unlike any other."""
        return next(self._names)

    def take_workers(self, count: int) -> list[WorkerProcess]:
        """So many that nothing was done to, to be given back. Of which class they are is the
        lane's: RQ's own, or FastWorker.
        """
        taken, self._healthy = self._healthy[:count], self._healthy[count:]
        self.close()
        return taken + [
            WorkerProcess(self.url, [self.queue], worker_class=kind, env=_SMALL_CHUNKS)
            for kind in self._classes[len(taken) : count]
        ]

    def give_back(self, workers: Sequence[WorkerProcess]) -> None:
        """They may be used in the next case."""
        self._healthy += workers

    def close(self) -> None:
        """Kill the workers."""
        for worker in self._healthy:
            worker.close()
        self._healthy = []


class Play:
    """One case from its start to its verdict: what scenarios are made of.

    Args:
        lane: where it is played.
        case: which.
        flow: the name of its workflow.
        workers: how many there are.
        apart: whether Redis may be away for them alone.
    """

    def __init__(
        self, lane: Lane, case: Case, flow: str, workers: int = 1, *, apart: bool = False
    ) -> None:
        self.lane = lane
        self.case = case
        self.folder = Path(tempfile.mkdtemp(prefix="distflow-point-"))
        self.log, self.gate = self.folder / "log", self.folder / "gate"
        #: Where the workers that are hurt keep outcomes.
        self.spool = self.folder / "spool"
        self.fault = make_fault(case, self.folder, lane.url)
        #: What workers of some scenarios find Redis through.
        self.proxy = Proxy(lane.url) if apart else None
        self.flow_name = flow
        self.flow = make_flow(flow, str(self.log), str(self.gate), lane.queue)
        self.run_id = lane.next_run_id()
        self.witness = Witness(self.log)
        self.again = 0
        #: Whether it is seen within seconds that a worker is frozen.
        self.is_observed = False
        self._began = time.monotonic()
        self._wanted = workers
        self._workers: list[WorkerProcess] = []
        #: The command that leads, by what it was started with; and another, while it is frozen.
        self._leaders: list[SessionProcess] = []
        self._processes: list[SessionProcess] = []

    # What scenarios do

    def run(self) -> Run:
        """The run, which exists."""
        return self.lane.client.run(self.run_id)

    def submit(self, *, batch: bool = True) -> None:
        """Make the run, unhurt."""
        options: dict[str, Any] = {"concurrency": 2, "detach": True, "batch": batch}
        self.lane.client.create(self.flow.workflow, run_id=self.run_id, **options)

    def command(self, role: str, *words: str) -> SessionProcess:
        """Start a command of the product in a role."""
        return self._start(role, command(*words))

    def _start(self, role: str, words: Sequence[str]) -> SessionProcess:
        environment = {
            "DISTFLOW_REDIS_URL": self.fault.url(role),
            **_LEASE,
            **self.fault.environment(role),
        }
        process = SessionProcess(" ".join(words[1:]), words, env=environment)
        self._processes.append(process)
        return process

    def insist(self, role: str, done: Callable[[], bool], *words: str) -> None:
        """Give a command in a role, again and again until what it is for is done."""
        process = self.command(role, *words)

        def tried() -> bool:
            nonlocal process
            if not process.has_ended():
                return False
            if done():
                return True
            self.again += 1
            process = self.command(role, *words)
            return False

        self.wait(tried, f"{words} to be done")

    def lead(self, role: str = "resume") -> None:
        """See that somebody leads the run, from now on until the case is over."""
        if not self._leaders:
            self._leaders = [self._start_leader(role)]
        alive = [leader for leader in self._leaders if not leader.has_ended()]
        # Another comes after one that has ended, or while one is frozen; and services have a
        # standby, since one that could not lead a run lets it rest for a minute.
        alone = len(self._leaders) == 1
        struck = role == "coordinator" and self.fault.has_struck()
        if not alive or (alone and (self.fault.is_freezing or struck)):
            self.again += 1
            alive.append(self._start_leader(role))
        self._leaders = alive

    def _start_leader(self, role: str) -> SessionProcess:
        if role == "coordinator":
            return self.command(role, "coordinator")
        if role == "mender":
            return self._start(role, [sys.executable, "-m", "tests.chaos.points.lead", self.run_id])
        return self.command(role, "resume", self.run_id)

    def serve(self) -> None:
        """See that there are workers."""
        role = self.case.role
        if role == BOTH and self.fault.is_freezing:
            for worker in self._workers:
                worker.kill()
            self.fault.forget()
        self._processes += [worker for worker in self._workers if worker.has_ended()]
        self._workers = [worker for worker in self._workers if not worker.has_ended()]
        missing = self._wanted - len(self._workers)
        if missing and role in WORKERS:
            # None that is unhurt may take their work.
            self.lane.close()
            self._workers += [self._start_worker(role) for _ in range(missing)]
        elif missing:
            self._workers += self.lane.take_workers(missing)

    def _start_worker(self, role: str) -> WorkerProcess:
        return WorkerProcess(
            self.proxy.url if self.proxy else self.fault.url(role),
            [self.lane.queue],
            worker_class=WORKERS[role],
            extra_args=_OBSERVED if self.is_observed else (),
            env={
                **_SMALL_CHUNKS,
                **self.fault.environment(role),
                "DISTFLOW_SPOOL": str(self.spool),
            },
        )

    def kill_workers(self) -> None:
        """SIGKILL to the workers and their children."""
        for worker in self._workers:
            worker.kill()

    def freeze_struck(self) -> bool:
        """SIGSTOP to all of the worker that has a process which is frozen; whether there is one."""
        pid = self.fault.frozen_pid()
        struck = [worker for worker in self._workers if pid in (worker.pid, *worker.children())]
        for worker in struck:
            worker.freeze()
        return bool(struck)

    def thaw(self) -> None:
        """SIGCONT to the workers."""
        self.fault.forget()
        for worker in self._workers:
            worker.thaw()

    def kill_leader(self) -> None:
        """SIGKILL to who leads."""
        for leader in self._leaders:
            leader.kill()

    def orphan(self) -> None:
        """SIGKILL to the workers alone; returns when their children have ended by themselves."""
        for worker in self._workers:
            worker.kill_parent()
        self.gate.touch()
        self.wait(
            lambda: not any(worker.children() for worker in self._workers), "the orphans to end"
        )

    def stop_leader(self) -> None:
        """SIGTERM to who leads; returns when it has ended."""
        for leader in self._leaders:
            leader.process.terminate()
        self.wait(lambda: all(leader.has_ended() for leader in self._leaders), "the leader's end")

    def finish(self, role: str = "resume") -> None:
        """Lead the run to a success, whatever it takes."""
        run = self.run()

        def ended() -> bool:
            self.serve()
            status = run.status()
            if status == RunStatus.SUCCESS:
                return True
            standing = status in (RunStatus.FAILURE, RunStatus.CANCELLED, RunStatus.BLOCKED)
            # A service leads no run that stands: a person asks for that.
            self.lead("resume" if standing and role == "coordinator" else role)
            self.witness.look(run)
            self._decide(run)
            return False

        self.wait(ended, "the run to be a success")

    def _decide(self, run: Run) -> None:
        """Say what the witness says, of each unknown task that nobody is inside of."""
        for task, result in run.results().items():
            deeds = self.witness.deeds()[task]
            if result.status != TaskStatus.UNKNOWN or is_inside(deeds):
                continue
            done = any(deed.word == "effect" for deed in deeds)
            with suppress(DistflowError):
                run.resolve(task, "done" if done else "retry", task if done else None)
                self.witness.retried[task] += not done

    def has_kept(self) -> bool:
        """Whether an outcome is on disk."""
        return any(self.spool.glob("*.outcome"))

    def has_begun(self, task: str) -> bool:
        """Whether the task was called."""
        return any(deed.word == "start" for deed in self.witness.deeds()[task])

    def status(self) -> RunStatus | None:
        """Of the run; None where there is none."""
        try:
            return self.lane.client.run(self.run_id).status()
        except RunNotFound:
            return None

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Return when it holds; frozen processes are woken meanwhile.

        Raises:
            TimeoutError: the case takes too long.
        """
        while not holds():
            self.fault.tend()
            if time.monotonic() - self._began > _PATIENT_SECONDS:
                raise TimeoutError(f"waited {_PATIENT_SECONDS:g} s for {what}")
            threading.Event().wait(_TICK_SECONDS)

    # Its end

    def end(self, broken: list[Broken]) -> Played:
        """End every process, and say what became of the case."""
        told = ""
        if broken or self.case.role in WORKERS or any(each.has_ended() for each in self._workers):
            self._processes += self._workers
        else:
            self.lane.give_back(self._workers)
        if broken:
            told = "".join(f"===== {each.name}\n{each.log()}\n" for each in self._processes)
            told += self.log.read_text() if self.log.exists() else ""
        for process in self._processes:
            process.close()
        struck, reached = self.fault.has_struck(), self.fault.reached()
        self.fault.close()
        if self.proxy:
            self.proxy.close()
        shutil.rmtree(self.folder)
        seconds = time.monotonic() - self._began
        return Played(self.case, struck, broken, self.again, seconds, reached, told)
