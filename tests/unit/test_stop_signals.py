"""A signal to stop while Redis is away, and what goes on in its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from distflow_worker.alarm import StopSignals


@pytest.fixture
def handled() -> Iterator[Callable[[BaseException], list[int]]]:
    """Installs a handler that raises; returns the signals that it got."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def install(error: BaseException) -> list[int]:
        got: list[int] = []

        def handle(number: int, _frame: object) -> None:
            got.append(number)
            raise error

        for number in before:
            signal.signal(number, handle)
        return got

    yield install
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_task_is_not_interrupted(
    handled: Callable[[BaseException], list[int]], number: signal.Signals
) -> None:
    """RQ's handler has noted the stop before it writes to Redis: the task goes on."""
    got = handled(RedisConnectionError("refused"))
    before = signal.getsignal(number)
    with StopSignals():
        os.kill(os.getpid(), number)
        ended = True
    assert ended
    assert got == [number]
    assert signal.getsignal(number) is before


def test_a_cold_shutdown_is_one(handled: Callable[[BaseException], list[int]]) -> None:
    """Whatever else a handler raises is raised."""
    handled(SystemExit())
    with pytest.raises(SystemExit), StopSignals():
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_handler_that_was_replaced_stays(
    handled: Callable[[BaseException], list[int]],
) -> None:
    """RQ asks for a cold shutdown by the second signal: its first one installs that handler."""
    handled(RedisConnectionError("refused"))

    def forced(_number: int, _frame: object) -> None:
        """A cold shutdown."""

    with StopSignals():
        signal.signal(signal.SIGTERM, forced)
    assert signal.getsignal(signal.SIGTERM) is forced
