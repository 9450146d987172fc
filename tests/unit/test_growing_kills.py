"""Whole runs that grow, in memory: whoever is killed at whatever moment, every child is made once,
and joined.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest

from distflow.authoring import check_workflow
from distflow.backends.memory import MemoryBackend
from distflow.coordinator import mirror as mirror_module
from distflow.coordinator.executor import WorkflowExecutor
from distflow.coordinator.sending import send_batches
from distflow.core.batches import Batch
from distflow.core.readings import ServerInfo
from distflow.core.run import RunSpec
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from distflow.dispatch.stepping import StepWorker
from distflow.errors import WrongState
from distflow.store.memory.server import MemoryRun
from distflow.wire.codec import decode_result
from tests.support.clock import Clock
from tests.support.tasks.multiplying import CALLS, growing

SIZE = 5

#: Of a coordinator; an undisturbed run takes a hundred.
MOST_TURNS = 2000

#: Whether every moment is tried.
EVERY = int(os.environ.get("DISTFLOW_EXAMPLES", "0")) >= 1000

#: Its own tasks, the children of four maps and of a mapped plan, and theirs: over 1, 0 and 2.
TOTAL = 10 + 4 * SIZE + 3 + 3 * 3 + 3


@pytest.fixture(autouse=True)
def from_scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing was called before; and a coordinator takes in one chunk per step."""
    monkeypatch.setattr(mirror_module, "CHUNK_TASKS", 1)
    CALLS.clear()
    yield
    CALLS.clear()


class Killed(BaseException):
    """SIGKILL."""


class Life:
    """The life of a process that is killed right after its n-th call; or is not, where that is
    None. The calls are counted by ``calls``, perhaps together with those of others.
    """

    def __init__(self, last: int | None, calls: Iterator[int] | None = None) -> None:
        self.calls = itertools.count(1) if calls is None else calls
        self._last = last
        self._is_over = False

    def of(self, real: Any) -> Any:
        """A store or dispatcher, as the process sees it."""
        return _Seen(real, self)

    def live(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call; who is dead makes none."""
        if self._is_over:
            raise Killed
        answer = call()
        self._is_over = next(self.calls) == self._last
        if self._is_over:
            raise Killed
        return answer


class _Seen:
    def __init__(self, real: Any, life: Life) -> None:
        self._real = real
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found
        return lambda *args, **options: self._life.live(name, partial(found, *args, **options))


class MortalWorkers(MemoryBackend):
    """Two workers; the n-th call to a store kills one of them, and another takes its place."""

    def __init__(self, clock: Clock, last: int | None = None) -> None:
        super().__init__(workers=0, clock=clock.unix, sleep=clock.sleep)
        self._time = clock
        self._names = itertools.count(1)
        self.calls, self._last = itertools.count(1), last
        for _ in range(2):
            self._add()

    def work(self) -> bool:
        try:
            return super().work()
        except Killed:
            self._dispatcher.remove_worker(self._workers.pop())
            self._add()
            return True

    def _add(self) -> None:
        life = Life(self._last, self.calls)

        def opened(run_id: str) -> Any:
            return life.of(self.store(run_id))

        worker = StepWorker(f"w{next(self._names)}", opened, self._time.unix)
        self._workers.append(worker)
        self._dispatcher.add_worker(worker)


def write(backend: MemoryBackend) -> None:
    """The run, which nobody leads yet."""
    graph = check_workflow(growing(SIZE))
    spec = RunSpec("run-1", "m:growing", {}, "0f", RunOptions(), version=2)
    backend.store("run-1").create_run(spec, "creation", graph.tasks)


def lead(
    backend: MemoryBackend, clock: Clock, life: Life, *, reopen: bool = False
) -> RunStatus | None:
    """A coordinator leads the run to its end; None where it was killed before."""
    store, dispatcher = life.of(backend.store("run-1")), life.of(backend.dispatcher)
    executor = WorkflowExecutor(store, dispatcher, clock=clock)
    try:
        executor.begin(force=True, reopen=reopen)
        events: Any = ()
        for _turn in range(MOST_TURNS):
            ended = executor.step(events)
            if ended is not None:
                return ended
            send_batches(dispatcher, executor.take_batches(), executor.keep)
            left = max(0.001, min(0.25, executor.wake_at - clock.monotonic()))
            events = store.read_events(executor.last_event, block_ms=int(left * 1000) or 1)
        raise AssertionError("the run does not end")
    except Killed:
        return None
    finally:
        executor.abandon()


def value(backend: MemoryBackend, task: str) -> Any:
    """What a task returned."""
    (packed,) = backend.store("run-1").read_results([task])
    assert packed is not None
    return decode_result(packed).data


def check_ended(backend: MemoryBackend) -> None:
    """All children were made, once, and joined."""
    info = backend.store("run-1").read_info()
    assert (info.total, info.pending) == (TOTAL, 0)
    assert info.counts["success"] == TOTAL - 2
    picked = sum(number for number in range(SIZE) if number % 3)
    plans = [{"sum": each * (each - 1), "size": each} for each in (1, 0, 2)]
    sums = 4 * sum(range(SIZE)), sum(range(SIZE)) + SIZE, picked
    assert value(backend, "report") == [*sums, plans]


def moments(play: Callable[[int | None], int]) -> Iterator[int]:
    """Calls of a play that is not disturbed: all of them where many examples are wanted, a random
    few otherwise.
    """
    CALLS.clear()
    last = play(None)
    yield from range(1, last) if EVERY else sorted(random.sample(range(1, last), 15))


def test_a_coordinator_may_be_killed_at_every_moment() -> None:
    """Its successor finds what was there: no function is called twice, whatever was being read,
    written or sent.
    """

    def play(last: int | None) -> int:
        clock = Clock()
        backend, life = MortalWorkers(clock), Life(last)
        write(backend)
        ended = lead(backend, clock, life) or lead(backend, clock, Life(None))
        assert ended == RunStatus.SUCCESS, last
        check_ended(backend)
        return next(life.calls)

    for last in moments(play):
        CALLS.clear()
        play(last)
        assert set(CALLS.values()) == {1}, (last, CALLS)


def test_a_worker_may_be_killed_at_every_moment() -> None:
    """What had begun runs again, unless it must not: then a person decides."""

    def play(last: int | None) -> int:
        clock = Clock()
        backend = MortalWorkers(clock, last)
        write(backend)
        ended = lead(backend, clock, Life(None))
        charged = {CALLS[f"charge[{number}]"] for number in range(SIZE)}
        assert charged <= {0, 1}, last
        if ended == RunStatus.BLOCKED:
            assert backend.store("run-1").read_info().counts[TaskStatus.UNKNOWN] == 1
        else:
            assert ended == RunStatus.SUCCESS, last
            check_ended(backend)
        return next(backend.calls)

    for last in moments(play):
        CALLS.clear()
        play(last)


class Disturbed(Life):
    """The life of a coordinator whose run a person stops right after its n-th call."""

    def __init__(self, backend: MemoryBackend, moment: int | None, new: RunStatus) -> None:
        super().__init__(None)
        self._backend = backend
        self._moment = moment
        self._new = new

    def live(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call."""
        answer = call()
        if next(self.calls) == self._moment:
            # Whoever stops a run that has ended is told so.
            with suppress(WrongState):
                self._backend.store("run-1").set_status(
                    self._new, {RunStatus.RUNNING}, reason="stopped"
                )
        return answer


@pytest.mark.parametrize("new", [RunStatus.CANCELLING, RunStatus.PAUSED])
def test_a_person_may_stop_it_at_every_moment(new: RunStatus) -> None:
    """All that was made is there, and nothing is left open; a resume runs what remains."""

    def play(moment: int | None) -> int:
        clock = Clock()
        backend = MortalWorkers(clock)
        write(backend)
        life = Disturbed(backend, moment, new)
        ended = lead(backend, clock, life)
        stopped = RunStatus.CANCELLED if new == RunStatus.CANCELLING else new
        assert ended in (stopped, RunStatus.SUCCESS), moment
        if ended == RunStatus.CANCELLED:
            assert backend.store("run-1").read_info().pending == 0, moment
        if ended != RunStatus.SUCCESS:
            assert lead(backend, clock, Life(None), reopen=True) == RunStatus.SUCCESS, moment
        check_ended(backend)
        assert all(CALLS[f"charge[{number}]"] == 1 for number in range(SIZE)), moment
        return next(life.calls)

    for moment in moments(play):
        CALLS.clear()
        play(moment)


class Past(Life):
    """The life of a coordinator whose Redis comes back with the data of an earlier moment: those of
    its n-th call, after so many more, while it waits for events.
    """

    def __init__(self, backend: MemoryBackend, clock: Clock, first: int, more: int) -> None:
        super().__init__(None)
        self._backend = backend
        self._clock = clock
        self._first = first
        self._more = more
        #: The run and the queues of that moment; and which process of Redis answers.
        self._kept: tuple[MemoryRun, dict[str, Batch]] | None = None
        self._server = "memory"

    def live(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call; another process of Redis answers once the data are older."""
        answer, number = call(), next(self.calls)
        runs, queued = self._backend.server.runs, self._backend.dispatcher._queued
        if number == self._first:
            self._kept = copy_run(runs["run-1"]), queued.copy()
        elif self._kept is not None and number > self._first + self._more and name == "read_events":
            runs["run-1"], before = self._kept
            queued.clear()
            queued.update(before)
            self._kept, self._server = None, "another"
            self._clock.sleep(2.0)
        return answer._replace(server_id=self._server) if isinstance(answer, ServerInfo) else answer


def copy_run(run: MemoryRun) -> MemoryRun:
    """What a snapshot of Redis has of a run."""
    values = {each.name: getattr(run, each.name) for each in fields(run) if each.init}
    more: Any = {n: v.copy() for n, v in values.items() if isinstance(v, dict | list)}
    copied = replace(run, **more)
    grown, chunks = run.expansions, run.expansions.chunks
    copied.expansions = replace(
        grown,
        records=grown.records.copy(),
        chunks={token: some.copy() for token, some in chunks.items()},
    )
    copied.expansions.graph_bytes = grown.graph_bytes
    return copied


def test_redis_may_come_back_with_older_data() -> None:
    """From before an expansion, from the middle of one: what is gone is made again, and nothing of
    it is mixed with what was there.
    """

    def play(first: int | None, more: int = 0) -> int:
        clock = Clock()
        backend = MortalWorkers(clock)
        write(backend)
        life = Past(backend, clock, first or 0, more)
        assert lead(backend, clock, life) == RunStatus.SUCCESS
        check_ended(backend)
        return next(life.calls)

    chance = random.Random(7)
    for first in moments(play):
        play(first, chance.randint(1, 30))
