"""The child of a FastWorker, as the worker has it: a process that is forked, told and ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import msgpack
import pytest
from redis import Redis

from distflow.procfs import iter_processes
from distflow_worker import FastWorker
from distflow_worker.child import Answer, Child, Order, take_signals
from tests.support.tasks.recording import wait_for_file
from tests.support.wait import wait_for

# Python says of each fork of a process with threads that it may hang: the child here runs nothing
# that a thread may hold.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

ORDER = Order("job", "queue", "taken", "", b"payload")

Serve = Callable[[Connection], None]


@pytest.fixture
def fork() -> Iterator[Callable[[Serve], Child]]:
    """``fork(serve)``: a child; it is gone when the test ends."""
    made: list[Child] = []

    def start(serve: Serve) -> Child:
        made.append(Child(serve))
        return made[-1]

    yield start
    for child in made:
        child.dismiss()


def answer(channel: Connection) -> None:
    """Take batches and answer each, until the channel closes."""
    while True:
        try:
            order = Order(*msgpack.unpackb(channel.recv_bytes()))
        except EOFError:
            return
        channel.send_bytes(msgpack.packb(Answer(order.job, last=False)))


def holding(gate: Path, done: Path) -> Serve:
    """Take one batch, be inside of it until the gate opens, and note that it was ended."""

    def serve(channel: Connection) -> None:
        take_signals()
        channel.recv_bytes()
        wait_for_file(str(gate))
        done.touch()

    return serve


def is_there(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    return pid in {process.pid for process in iter_processes()}


def test_it_takes_one_batch_after_another(fork: Callable[[Serve], Child]) -> None:
    """And has a batch while it has not answered."""
    child = fork(answer)
    for _ in range(3):
        assert child.hand_over(ORDER)
        assert child.has_batch
        assert child.wait(10.0) == ("job", False)
        assert not child.has_batch
    assert child.wait(0.01) is None
    assert child.look() is None


def test_it_leads_a_group_of_its_own(fork: Callable[[Serve], Child]) -> None:
    """What its tasks start ends with it, and nothing of the worker does."""
    child = fork(answer)
    assert os.getpgid(child.pid) == child.pid != os.getpgrp()


def test_its_death_is_seen(fork: Callable[[Serve], Child]) -> None:
    """At once, and how it ended; there is nobody to give a batch to any more."""
    child = fork(answer)
    child.hand_over(ORDER)
    child.wait(10.0)
    os.kill(child.pid, signal.SIGKILL)
    wait_for(child.look, what="its death")
    assert child.death is not None
    assert os.WTERMSIG(child.death.status) == signal.SIGKILL
    assert child.wait(5.0) is None
    assert not child.hand_over(ORDER)


def test_an_answer_just_before_the_end_is_read(fork: Callable[[Serve], Child]) -> None:
    """It has answered, and ended: the answer counts."""

    def last(channel: Connection) -> None:
        channel.recv_bytes()
        channel.send_bytes(msgpack.packb(Answer("", last=True)))

    child = fork(last)
    assert child.hand_over(ORDER)
    wait_for(lambda: not is_there(child.pid) or child.look(), what="its end")
    assert child.wait(5.0) == ("", True)


def test_one_that_closed_its_channel_is_waited_for_quietly(
    fork: Callable[[Serve], Child], tmp_path: Path
) -> None:
    """A task has closed what it should not have: the child goes on, and is asked no more often for
    that.
    """
    gate = tmp_path / "gate"

    def closing(channel: Connection) -> None:
        channel.recv_bytes()
        channel.close()
        wait_for_file(str(gate))

    child = fork(closing)
    assert child.hand_over(ORDER)
    assert child.wait(10.0) is None
    began = time.monotonic()
    assert child.wait(0.3) is None
    assert time.monotonic() - began > 0.25
    assert child.look() is None
    gate.touch()
    wait_for(child.look, what="its end")


def test_one_without_work_is_dismissed(fork: Callable[[Serve], Child]) -> None:
    """It ends by itself, since its channel closes, and leaves no zombie."""
    child = fork(answer)
    child.dismiss()
    assert child.death is not None
    assert child.death.status == 0
    assert not is_there(child.pid)
    child.dismiss()


def test_one_that_does_not_end_is_killed(
    fork: Callable[[Serve], Child], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After two seconds."""
    monkeypatch.setattr("distflow_worker.child._END_SECONDS", 0.2)
    child = fork(holding(tmp_path / "never", tmp_path / "done"))
    child.hand_over(ORDER)
    child.dismiss()
    assert child.death is not None
    assert os.WTERMSIG(child.death.status) == signal.SIGKILL


@pytest.mark.parametrize("has_batch", [True, False])
def test_a_worker_that_ends_by_an_error_leaves_its_batch_to_the_child(
    fork: Callable[[Serve], Child], redis_client: Redis, tmp_path: Path, has_batch: bool
) -> None:
    """What was begun is ended, and the child ends then; one without work ends with its worker."""
    gate, done = tmp_path / "gate", tmp_path / "done"
    worker = FastWorker(["default"], name="w", connection=redis_client)
    worker._child = child = fork(holding(gate, done))
    if has_batch:
        child.hand_over(ORDER)
    worker.teardown()
    if has_batch:
        assert child.look() is None
        gate.touch()
    wait_for(child.look, 10, "its end")
    assert done.exists() is has_batch


def test_a_work_horse_ends_nothing_of_its_worker(
    fork: Callable[[Serve], Child], redis_client: Redis
) -> None:
    """It has a copy of the worker's child, which goes on."""
    worker = FastWorker(["default"], name="w", connection=redis_client)
    worker._child = child = fork(answer)
    worker.become_horse()
    worker.teardown()
    assert child.look() is None
    assert child.hand_over(ORDER)
    assert child.wait(10.0) == ("job", False)
