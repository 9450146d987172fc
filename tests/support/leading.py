"""A coordinator at work without processes, threads or waiting: a run in memory, a clock that the
test moves, and workers that the test plays.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from distflow.coordinator.executor import WorkflowExecutor
from distflow.coordinator.fleet import Fleet
from distflow.coordinator.leases import LeaseKeeper
from distflow.coordinator.sending import send_batches
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.batches import Batch
from distflow.core.claim import (
    ClaimRequest,
    Code,
    Finish,
    Growth,
    Refused,
    WorkerFacts,
    scope_of,
)
from distflow.core.misfit import Registration
from distflow.core.model import Effects, Expanded, Grow, Task, TaskResult
from distflow.core.readings import JobFailure, WorkerProbe
from distflow.core.run import RunInfo, RunSpec
from distflow.core.run_options import RunOptions
from distflow.core.state import TaskStateManager
from distflow.core.status import RunStatus
from distflow.errors import RedisFull
from distflow.events.notice import Interrupt, Notice
from distflow.store.memory.store import MemoryRunStore, MemoryServer
from distflow.store.redis.keys import STAND_IN
from distflow.wire.codec import decode_result, encode_tasks, pack_decoded
from tests.support.clock import Chance, Clock
from tests.support.stores import again, final

#: Seconds between two heartbeats of a worker that is played.
_HEARTBEAT_SECONDS = 1.0


def played(name: str, effects: Effects = "normal", **fields: Any) -> Task:
    """A task whose function nobody calls."""
    return Task(name, "m:f", effects=effects, **fields)


def played_node(name: str, *after: str, **fields: Any) -> Task:
    """A growing node: a plan, after these tasks, unless ``grow`` says otherwise."""
    grow = fields.pop("grow", Grow("plan"))
    return Task(name, "m:plan", depends_on=after, effects="idempotent", grow=grow, **fields)


class Transport:
    """A dispatcher whose queues a test may look into, and lose things from."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.queued: dict[str, Batch] = {}
        #: Every batch that was sent, in this order.
        self.sent: list[Batch] = []
        self.workers: dict[str, PlayedWorker] = {}
        #: Batches that a worker could not read, with what it said.
        self.failures: dict[str, str] = {}
        #: The worker that said so.
        self.blame = "w"
        #: Jobs that workers were told to stop.
        self.stopped: list[str] = []
        #: Whether there is no room for more, and how often that was said.
        self.full = False
        self.refused = 0
        #: How often a run's jobs were taken off the queues.
        self.withdrawals = 0

    def dispatch(self, batches: Sequence[Batch]) -> None:
        if batches and self.full:
            self.refused += 1
            raise RedisFull("no room")
        self.sent += batches
        self.queued |= {batch.id: batch for batch in batches}

    def count_workers(self, queues: Collection[str]) -> Mapping[str, int]:
        return dict.fromkeys(queues, len(self.workers))

    def list_workers(self, queues: Collection[str]) -> Mapping[str, set[Registration]]:
        there = {
            Registration(name, worker.born)
            for name, worker in self.workers.items()
            if worker.connected
        }
        return dict.fromkeys(queues, there)

    def find_queued(self, run_id: str, queues: Collection[str]) -> set[str]:
        found = (batch for batch in self.queued.values() if batch.run_id == run_id)
        return {batch.id for batch in found if batch.queue in queues}

    def withdraw(self, run_id: str, queues: Collection[str]) -> int:
        self.withdrawals += 1
        found = self.find_queued(run_id, queues)
        for name in found:
            del self.queued[name]
        return len(found)

    def probe_workers(self, workers: Collection[str]) -> Mapping[str, WorkerProbe]:
        return {
            name: worker.probe(self._clock.unix())
            for name in workers
            if (worker := self.workers.get(name)) is not None
        }

    def read_failures(self, batches: Collection[str]) -> Mapping[str, JobFailure]:
        by = WorkerFacts(self.blame, "born", "host", 7)
        found = [name for name in batches if name in self.failures]
        return {name: JobFailure(self.failures[name], by) for name in found}

    def stop_job(self, job: str, worker: str) -> None:
        self.stopped.append(job)


class PlayedWorker:
    """A worker of which a test says what it does; it beats while it is alive."""

    def __init__(self, store: MemoryRunStore, clock: Clock, name: str) -> None:
        self._store = store
        self._clock = clock
        self._tokens = itertools.count(1)
        self.name = name
        self.born = "born"
        self.batch: Batch | None = None
        self.task = ""
        self.connected = True
        #: How long Redis takes to drop its connection when its host is gone; None for long.
        self.drop_seconds: float | None = 0.0
        #: Whether its task has run longer than its timeout.
        self.overdue = False
        #: When it was frozen, in Unix seconds; None while it is awake.
        self.frozen_at: float | None = None
        #: Task -> the token and attempt of its claim.
        self.held: dict[str, tuple[str, int]] = {}

    def probe(self, now: float) -> WorkerProbe:
        heard_at = now if self.frozen_at is None else self.frozen_at
        overdue = now - heard_at - _HEARTBEAT_SECONDS
        return WorkerProbe(self.connected, [self.job], heard_at, overdue, self.drop_seconds)

    def begin(self, batch: Batch) -> Code:
        """Take a batch up."""
        code = self._store.begin_batch(batch.epoch, batch.id, self.name, batch.id).code
        if code == Code.OK:
            self.batch = batch
        return code

    def claim(self, task: str, *, start: bool = True, quiet: bool = False) -> Code:
        """Claim a task of its batch; from then on it is inside of it. No event tells of a claim
        that is ``quiet``.
        """
        assert self.batch is not None
        token = f"{self.name}-{next(self._tokens)}"
        wanted = ClaimRequest(task, token, start, (), quiet, quiet)
        (reply,) = self._store.advance(self.batch.epoch, self.batch.id, claims=[wanted]).claims
        if reply.code == Code.GRANTED:
            self.held[task], self.task = (token, reply.attempt), task
        return reply.code

    def start(self, task: str) -> Code:
        """Mark that a task which it has claimed may have effects."""
        return self._store.start_task(task, self.held[task][0])

    @property
    def job(self) -> str:
        """Id of the job that it works on, empty between two."""
        return self.batch.id if self.batch else ""

    def beat(self) -> None:
        """Say that its batch lives, if it has one and is awake."""
        if self.batch and self.connected and self.frozen_at is None:
            said = (self.batch.id, self.name, self.batch.id, self.task)
            self._store.beat(*said, overdue=self.overdue)

    def finish(self, task: str, status: str = "success", *, ending: bool = True) -> Code:
        """Tell how a task ended, and end the batch."""
        token, attempt = self.held.pop(task)
        return self.tell(final(task, token, status, attempt=attempt), ending=ending)

    def expand(self, task: str, *chunks: Sequence[Task], granted: Code = Code.GRANTED) -> Code:
        """Tell that a growing node has made these tasks, chunk by chunk, and end the batch.
        ``granted`` is the answer to each chunk.
        """
        token, attempt = self.held.pop(task)
        children = [child for chunk in chunks for child in chunk]
        names = [child.name.removeprefix(f"{task}.") for child in children]
        packed = map(encode_tasks, chunks)
        stand_in = pack_decoded({"names": names, "value": None, "tolerates": []})
        for number, chunk in [*enumerate(packed), (STAND_IN, stand_in)]:
            assert self._store.write_chunk(task, token, number, chunk) == granted
        queues = tuple(sorted({child.queue for child in children}))
        growth = Growth(len(chunks), len(children), queues)
        data = Expanded(token, len(children))
        done = final(task, token, data=data, attempt=attempt)
        return self.tell(done._replace(grows=True, growth=growth))

    def fail(self, task: str, *, delay_ms: int) -> Code:
        """Tell that a task is to run again after a while, and end the batch."""
        token, attempt = self.held.pop(task)
        return self.tell(again(task, token, attempt=attempt, delay_ms=delay_ms))

    def tell(self, done: Finish, *, ending: bool = True) -> Code:
        """Record an outcome."""
        assert self.batch is not None
        told = self._store.advance(self.batch.epoch, self.batch.id, [done], ending=ending)
        self.task = ""
        if ending:
            self.batch = None
        return told.finishes[0]

    def release(self, task: str) -> None:
        """Give a claim back, untouched."""
        assert self.batch is not None
        token, _attempt = self.held.pop(task)
        self._store.advance(self.batch.epoch, self.batch.id, released=[(task, token)])
        self.task = ""

    def refuse(self, task: str, words: str = "ImportError: no m", *, scope: str = "") -> None:
        """Give a claim back, since this worker cannot run the task, and end the batch."""
        assert self.batch is not None
        token, _attempt = self.held.pop(task)
        refused = Refused(task, token, scope or scope_of("function", "m:f"), "m:f", words, "trace")
        by = WorkerFacts(self.name, self.born, "host", 7, "/srv")
        self._store.advance(
            self.batch.epoch, self.batch.id, refused=[refused], by=by, ending=True, unstarted=[task]
        )
        self.batch, self.task = None, ""

    def end(self) -> None:
        """End the batch."""
        assert self.batch is not None
        self._store.advance(self.batch.epoch, self.batch.id, ending=True)
        self.batch, self.task = None, ""

    def die(self) -> None:
        """SIGKILL to all of it."""
        self.connected = False

    def lose_power(self) -> None:
        """Its host is gone, and Redis keeps its connections for long."""
        self.drop_seconds = None
        self.freeze()

    def freeze(self) -> None:
        """SIGSTOP to all of it."""
        self.frozen_at = self._clock.unix()

    def thaw(self) -> None:
        """SIGCONT."""
        self.frozen_at = None


class Leading:
    """One run, and the coordinator that leads it step by step.

    Args:
        tasks: of the run.
        settings: of the coordinator; batches are not held back for company.
        options: of the run.
    """

    def __init__(
        self,
        *tasks: Task,
        settings: CoordinatorSettings | None = None,
        options: RunOptions | None = None,
    ) -> None:
        self.clock = Clock()
        self.chance = Chance()
        self.settings = settings or CoordinatorSettings()
        self.server = MemoryServer(clock=self.clock.unix)
        self.store = MemoryRunStore("run-1", server=self.server)
        self.transport = Transport(self.clock)
        spec = RunSpec("run-1", "m:flow", {}, "origin", options or RunOptions(batch=False))
        self.store.create_run(spec, "creation", tasks)
        self.told: list[Notice] = []
        self.interrupt, self.cancel = Interrupt(), threading.Event()
        self.executor = self.make_executor()

    def make_executor(self) -> WorkflowExecutor:
        """A coordinator that does not lead yet."""
        return WorkflowExecutor(
            self.store,
            self.transport,
            settings=self.settings,
            listener=self.told.append,
            interrupt=self.interrupt,
            cancel=self.cancel,
            clock=self.clock,
            chance=self.chance,
        )

    def begin(self, **options: Any) -> None:
        """Begin to lead, and send what is ready."""
        self.executor.begin(**options)
        assert self.step() is None

    def take_over(self) -> None:
        """Its coordinator was killed, and another comes."""
        self.executor.abandon()
        self.executor = self.make_executor()
        self.begin(force=True)

    def step(self, seconds: float = 0.0) -> RunStatus | None:
        """Let time pass, and then the coordinator see what has happened; the status of a run that
        it leads no more.
        """
        self.clock.sleep(seconds)
        ended = self.executor.step(self.store.read_events(self.executor.last_event))
        if ended is None:
            send_batches(self.transport, self.executor.take_batches(), self.executor.keep)
        return ended

    def go_on(self, seconds: float) -> RunStatus | None:
        """Let time pass as it does: every half second workers beat, and the coordinator looks."""
        until = self.clock.seconds + seconds
        ended = None
        while ended is None and self.clock.seconds < until:
            for worker in self.transport.workers.values():
                worker.beat()
            ended = self.step(0.5)
        return ended

    def worker(self, name: str = "w") -> PlayedWorker:
        """A worker that idles."""
        worker = PlayedWorker(self.store, self.clock, name)
        self.transport.workers[name] = worker
        return worker

    def take(self, worker: PlayedWorker, task: str, *, start: bool = True) -> PlayedWorker:
        """Let a worker take the batch with a task off its queue, and be inside the task."""
        (batch,) = [
            batch
            for batch in self.transport.queued.values()
            if task in {each.name for each in batch.tasks}
        ]
        del self.transport.queued[batch.id]
        assert worker.begin(batch) == Code.OK
        assert worker.claim(task, start=start) == Code.GRANTED
        return worker

    def at_work(self, task: str, name: str = "w", *, start: bool = True) -> PlayedWorker:
        """A worker inside a task, of which the coordinator has seen beats and heartbeats."""
        worker = self.take(self.worker(name), task, start=start)
        assert self.go_on(2.0) is None
        return worker

    # What became of it

    @property
    def state(self) -> TaskStateManager:
        """Where the tasks stand, as the coordinator knows it."""
        return self.executor._leadership.led.mirror.state

    @property
    def running(self) -> dict[str, float]:
        """The tasks at work, as the coordinator knows them."""
        return self.executor._leadership.led.mirror.running

    @property
    def fleet(self) -> Fleet:
        """The workers as the coordinator knows them."""
        return self.executor._tools.fleet

    @property
    def keeper(self) -> LeaseKeeper:
        """What renews its lease."""
        return self.executor._leadership._shared.keeper

    @property
    def info(self) -> RunInfo:
        return self.store.read_info()

    def sent_with(self, task: str) -> int:
        """How often a task was sent."""
        return sum(task in {each.name for each in batch.tasks} for batch in self.transport.sent)

    def result(self, task: str) -> TaskResult | None:
        """The outcome of a task."""
        (packed,) = self.store.read_results([task])
        return None if packed is None else decode_result(packed)

    def said(self, kind: str) -> list[str]:
        """The messages of a kind that were told."""
        return [notice.message for notice in self.told if notice.kind == kind]


def just_before(
    monkeypatch: pytest.MonkeyPatch, led: Leading, new: RunStatus, act: Callable[[], object]
) -> None:
    """Let something happen at the very moment at which the coordinator moves the run."""
    set_status = led.store.set_status
    acts = [act]

    def overtaken(to: RunStatus, *args: Any, **options: Any) -> RunStatus:
        if to == new and acts:
            acts.pop()()
        return set_status(to, *args, **options)

    monkeypatch.setattr(led.store, "set_status", overtaken)


def move(led: Leading, to: RunStatus) -> Callable[[], object]:
    """A person moves a run."""
    return partial(led.store.set_status, to, {RunStatus.RUNNING, RunStatus.BLOCKED})
