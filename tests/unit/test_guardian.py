"""What a guardian does about a task that does not end: on a run in memory, without a process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from distflow.core.batches import Batch
from distflow.core.claim import ClaimReply
from distflow.core.model import Grow, Retry, Task, TaskResult
from distflow.core.run import RunSpec
from distflow.core.run_options import RunOptions
from distflow.core.status import TaskStatus
from distflow.errors import RedisUnavailable
from distflow.store.memory.store import MemoryRunStore
from distflow.wire.batch_payload import BatchPayload, batch_payload
from distflow.wire.codec import decode_result
from distflow_worker import guardian as guardian_module
from distflow_worker.guardian import DISARMED, Call, Guardian
from distflow_worker.process_group import ProcessGroup
from tests.support.stores import claim, final, finish
from tests.support.wait import wait_for

#: Longer than any test takes.
_LONG_SECONDS = 600.0


class Group(ProcessGroup):
    """Processes that a guardian ends in name only."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid, leads=True)
        self.ended = 0

    def end(self, *, spare: int | None = None) -> None:
        """Note it."""
        assert spare is None
        self.ended += 1


class Store(MemoryRunStore):
    """A run whose patience can be chosen, as that of one on Redis."""

    def with_patience(self, _seconds: float) -> Store:
        """Itself."""
        return self


class Keeper:
    """Outcomes that Redis takes at once."""

    def settle(self, _finishes: object, call: Callable[[], Any]) -> Any:
        """Call."""
        return call()


class Batched:
    """A batch of two tasks under guard, in the place of ``Guarded``.

    Args:
        first: options of its first task, ``a``.
        verify: whether the hooks of its tasks are asked.
    """

    worker, job, max_result_bytes = "w1", "job", 1 << 20

    def __init__(self, *, verify: bool = False, **first: Any) -> None:
        self.run = Store("run-1")
        tasks = Task("a", "m:f", **first), Task("b", "m:f")
        self.run.create_run(RunSpec("run-1", "m:flow", {}, "origin", RunOptions()), "made", tasks)
        self.epoch = self.run.acquire_lease("anna", 60.0)
        self.run.begin_batch(self.epoch, "b1", "w1", "job")
        self.payload: BatchPayload = batch_payload(
            Batch("b1", "default", tasks, "run-1", self.epoch, verify), prefix=""
        )
        self.asked: dict[str, Any] = {}

    def claim(self) -> ClaimReply:
        """The first task is at work."""
        return claim(self.run, self.epoch, "a", "t1", begin=False)

    def store(self, **options: Any) -> Store:
        """A connection of the caller's own."""
        self.asked = options
        return self.run

    def make_keeper(self) -> Keeper:
        """What sees to outcomes."""
        return Keeper()

    @property
    def result(self) -> TaskResult | None:
        """The outcome of the first task."""
        packed = self.run.read_results(["a"])[0]
        return None if packed is None else decode_result(packed)


class Guarding:
    """A guardian at work on a thread of its own.

    Args:
        batch: what it guards.
        pid: of the process that it is to watch; this one's parent stands for one that is there.
    """

    def __init__(self, batch: Batched, pid: int | None = None) -> None:
        self.channel, theirs = socket.socketpair()
        self._theirs = theirs
        self.group = Group(os.getppid() if pid is None else pid)
        guarded: Any = batch
        self._thread = threading.Thread(target=Guardian(theirs, guarded, self.group).run)
        self._thread.start()

    def tell(self, call: Call | None) -> None:
        """What the process says that runs tasks."""
        self.channel.sendall(msgpack.packb(call))

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(10.0)
        assert not self._thread.is_alive()

    def close(self) -> None:
        """End it."""
        self.channel.close()
        self._thread.join(10.0)
        self._theirs.close()


Guard = Callable[..., Guarding]


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    """``guard(batch)``: a guardian that gives a task little time."""
    monkeypatch.setattr(guardian_module, "SOFT_SECONDS", 0.05)
    monkeypatch.setattr(guardian_module, "_LOOK_SECONDS", 0.02)
    made: list[Guarding] = []

    def start(batch: Batched, **options: Any) -> Guarding:
        made.append(Guarding(batch, **options))
        return made[-1]

    yield start
    for guarding in made:
        guarding.close()


def test_a_task_that_does_not_end_is_ended_and_recorded(guard: Guard) -> None:
    """Its outcome says so, and what its batch did not begin is named."""
    batch = Batched(timeout=0.05)
    reply = batch.claim()
    guarding = guard(batch)
    guarding.tell(Call("a", 0.05, "t1", reply, started_at=1.0))
    guarding.join()
    assert guarding.group.ended == 1
    assert batch.result is not None
    assert batch.result.status == TaskStatus.FAILURE
    assert batch.result.error == "TaskTimeout: ran longer than 0.05 s"
    (end,) = [each for each in batch.run.read_events("0-0") if each.kind == "batch_ended"]
    assert end.unstarted == ("b",)


def test_what_a_plan_has_written_ends_with_it(guard: Guard) -> None:
    """It was too long at it: what it built so far does not count."""
    batch = Batched(timeout=0.05, grow=Grow("plan"))
    reply = batch.claim()
    batch.run.write_chunk("a", "t1", 0, b"\x90")
    guarding = guard(batch)
    guarding.tell(Call("a", 0.05, "t1", reply, started_at=1.0))
    guarding.join()
    assert batch.result is not None
    assert batch.result.status == TaskStatus.FAILURE
    assert not batch.run.server.runs["run-1"].expansions.chunks.get("t1")


def test_one_that_may_try_again_waits(guard: Guard) -> None:
    """A timeout is a failure as any other."""
    batch = Batched(timeout=0.05, retry=Retry(3, delay=10.0))
    guarding = guard(batch)
    guarding.tell(Call("a", 0.05, "t1", batch.claim()))
    guarding.join()
    assert batch.result is None
    assert batch.run.read_progress()["a"].attempt == 2


def test_it_beats_for_a_task_that_is_overdue(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter may be held, so that the process itself cannot: what comes next, it is known
    that the task was overdue. Nothing is ended where the call ends after all.
    """
    monkeypatch.setattr(guardian_module, "SOFT_SECONDS", _LONG_SECONDS)
    batch = Batched()
    guarding = guard(batch)
    guarding.tell(Call("a", 0.01, "t1", batch.claim()))
    wait_for(lambda: any(beat.task == "a" for beat in batch.run.read_beats().values()))
    assert batch.asked == {"patience_seconds": 0.0}
    guarding.tell(None)
    assert guarding.channel.recv(1) == DISARMED
    assert guarding.group.ended == 0
    assert batch.result is None


def test_a_call_that_ends_in_time(guard: Guard) -> None:
    """The next one begins anew."""
    batch = Batched()
    guarding = guard(batch)
    reply = batch.claim()
    for _call in range(2):
        guarding.tell(Call("a", _LONG_SECONDS, "t1", reply))
        guarding.tell(None)
        assert guarding.channel.recv(1) == DISARMED
    guarding.channel.close()
    guarding.join()
    assert guarding.group.ended == 0


def test_a_process_that_dies_takes_along_what_its_task_began(guard: Guard) -> None:
    """It was killed in the midst of a call."""
    batch = Batched()
    guarding = guard(batch)
    guarding.tell(Call("a", _LONG_SECONDS, "t1", batch.claim()))
    guarding.channel.close()
    guarding.join()
    assert guarding.group.ended == 1
    assert batch.result is None


def test_a_process_that_dies_while_its_child_holds_the_channel(guard: Guard) -> None:
    """Then it is no parent any more."""
    batch = Batched()
    guarding = guard(batch, pid=1 if os.getppid() != 1 else 2)
    guarding.tell(Call("a", _LONG_SECONDS, "t1", batch.claim()))
    guarding.join()
    assert guarding.group.ended == 1


def test_a_hook_that_does_not_end_leaves_its_task_unknown(guard: Guard) -> None:
    """Nobody knows more than before."""
    batch = Batched(verify=True, effects="at_most_once")
    batch.claim()
    finish(batch.run, batch.epoch, final("a", "t1", "unknown"), batch="b1")
    guarding = guard(batch)
    guarding.tell(Call("a", 0.01))
    guarding.join()
    assert guarding.group.ended == 1
    assert batch.result is not None
    assert batch.result.status == TaskStatus.UNKNOWN
    notes = [entry.note for entry in batch.run.read_history("a")]
    assert notes[-1] == "it took longer than the task's timeout of 0.01 s"


def test_an_outcome_that_is_not_recorded_ends_nothing(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The coordinator finds the batch lost."""

    def refuse(*_words: object, **_more: object) -> None:
        raise RedisUnavailable("Redis is away")

    batch = Batched()
    reply = batch.claim()
    monkeypatch.setattr(batch.run, "advance", refuse)
    guarding = guard(batch)
    guarding.tell(Call("a", 0.01, "t1", reply))
    guarding.join()
    assert guarding.group.ended == 1
    assert "its timeout was not recorded: Redis is away" in caplog.text
