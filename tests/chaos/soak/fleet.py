"""The processes of a soak: they are hurt on demand, and started again when they have ended."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.chaos.soak.faults import Fault
from tests.support.cli import command
from tests.support.redis_server import RedisServer
from tests.support.session_process import SessionProcess
from tests.support.worker_process import FAST, FORKING, SIMPLE, WorkerProcess

#: The environment of a worker that can run nothing: it gives back whatever it draws.
_MISFIT = {"DISTFLOW_ALLOW": "nothing"}

#: The queues and the class of each worker.
WORKERS = (
    (("fast", "default"), FAST),
    (("default", "fast"), FORKING),
    (("default",), FAST),
    (("default",), SIMPLE),
)

#: The same of one that is a misfit.
_MISFITS = ((("default", "fast"), FORKING),)
COORDINATORS = 2

#: Persons who resume at once.
_RESUMES = 2

#: Seconds until what has ended is started again.
_RESTART_SECONDS = 0.5

_LEASE = {"DISTFLOW_LEASE_SECONDS": "2"}


class Slot:
    """A place in which a process is kept."""

    def __init__(self, kind: str, make: Callable[[], SessionProcess]) -> None:
        self.kind = kind
        self.make = make
        self.process = make()
        #: When it is thawed, and when another is started, on the monotonic clock.
        self.thaw_at: float | None = None
        self.restart_at: float | None = None


class Fleet:
    """A Redis, workers and coordinators. To be used from one thread: the processes end with it."""

    def __init__(self) -> None:
        self.redis = RedisServer()
        self.counts: Counter[str] = Counter()
        url = self.redis.url
        self._environment = {"DISTFLOW_REDIS_URL": url, **_LEASE}
        self._slots = [
            Slot("worker", partial(WorkerProcess, url, queues, worker_class=kind))
            for queues, kind in WORKERS
        ]
        self._slots += [
            Slot("worker", partial(WorkerProcess, url, queues, worker_class=kind, env=_MISFIT))
            for queues, kind in _MISFITS
        ]
        self._slots += [
            Slot("coordinator", partial(self._run, "coordinator")) for _ in range(COORDINATORS)
        ]
        #: Run id -> the command of a person.
        self._resumes: dict[str, SessionProcess] = {}
        #: Their children may go on.
        self._ended: list[SessionProcess] = []
        self._redis_back_at: float | None = None
        self._redis_is_gone = False

    def _run(self, *words: str) -> SessionProcess:
        return SessionProcess(" ".join(words), command(*words), env=self._environment)

    def resume(self, run_id: str) -> bool:
        """Resume a run as a person does; False where too many do, or one does already."""
        if run_id in self._resumes or len(self._resumes) >= _RESUMES:
            return False
        self._resumes[run_id] = self._run("resume", run_id)
        self.counts["resumes"] += 1
        return True

    def apply(self, fault: Fault) -> None:
        """Do it, where there is something to do it to."""
        verb, kind = fault.what.split(",")[0].split()
        until = time.monotonic() + fault.seconds
        if kind == "redis":
            done = self._hurt_redis(verb, until)
        elif kind == "resume":
            resumes = [*self._resumes.values()]
            if done := bool(resumes):
                resumes[fault.which % len(resumes)].kill()
        else:
            done = self._hurt_member(fault, verb, kind, until)
        self.counts[fault.what] += done

    def _hurt_redis(self, verb: str, until: float) -> bool:
        if self._redis_back_at is not None:
            return False
        self._redis_back_at = until
        self._redis_is_gone = verb == "kill"
        if self._redis_is_gone:
            self.redis.kill()
        else:
            self.redis.pause()
        return True

    def _hurt_member(self, fault: Fault, verb: str, kind: str, until: float) -> bool:
        wanted = "worker" if kind == "horse" else kind
        able = [slot for slot in self._slots if slot.kind == wanted and slot.restart_at is None]
        slot = able[fault.which % len(able)] if able else None
        if slot is None or slot.process.has_ended():
            return False
        process = slot.process
        if kind == "horse" or (verb == "freeze" and "not its horse" in fault.what):
            members = process.children() if kind == "horse" else [process.pid]
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if verb == "kill" else signal.SIGSTOP)
            if verb == "freeze":
                slot.thaw_at = until
            return bool(members)
        if verb == "freeze":
            process.freeze()
            slot.thaw_at = until
        elif verb == "stop":
            process.process.terminate()
        elif "not its horse" in fault.what:
            process.kill_parent()
        else:
            process.kill()
        return True

    def tend(self) -> None:
        """Thaw what has been frozen for long enough, and start again what has ended."""
        now = time.monotonic()
        if self._redis_back_at is not None and now >= self._redis_back_at:
            if self._redis_is_gone:
                self.redis.restart()
            else:
                self.redis.proceed()
            self._redis_back_at = None
        for slot in self._slots:
            if slot.thaw_at is not None and now >= slot.thaw_at:
                slot.process.thaw()
                slot.thaw_at = None
            if slot.restart_at is None and slot.process.has_ended():
                slot.restart_at = now + _RESTART_SECONDS
            if slot.restart_at is not None and now >= slot.restart_at:
                # What it had forked goes on, and nobody else would wake it.
                slot.process.thaw()
                self._ended.append(slot.process)
                slot.process, slot.restart_at, slot.thaw_at = slot.make(), None, None
                self.counts["restarts"] += 1
        for run_id, process in [*self._resumes.items()]:
            if process.has_ended():
                self._ended.append(self._resumes.pop(run_id))

    def heal(self) -> None:
        """Thaw and start everything now."""
        for slot in self._slots:
            slot.thaw_at = slot.thaw_at and 0.0
        self._redis_back_at = self._redis_back_at and 0.0
        self.tend()

    def logs(self) -> str:
        """What each process has printed."""
        members = [*self._ended, *self._resumes.values(), *(slot.process for slot in self._slots)]
        return "".join(f"===== {each.name} [{each.pid}]\n{each.log()}\n" for each in members)

    def close(self) -> None:
        """Kill everything."""
        for process in (slot.process for slot in self._slots):
            process.close()
        for process in (*self._resumes.values(), *self._ended):
            process.close()
        self.redis.close()
