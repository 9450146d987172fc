"""Celery: canvas with Redis as broker and backend. Its workers import this module too."""

from __future__ import annotations

import time
from typing import Any

from celery import Celery, chain, chord, group

from benchmarks import tasks
from benchmarks.clients.port import FIRST_TASKS, PATIENCE_SECONDS, Unfinished, bench_url, check_join
from benchmarks.shapes import Shape
from benchmarks.systems import System

_url = bench_url().replace("unix://", "redis+socket://")
app: Any = Celery("bench", broker=_url, backend=_url)
app.conf.update(
    # As its guide advises for many short tasks.
    worker_prefetch_multiplier=64,
    task_acks_late=False,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)

noop: Any = app.task(name="bench.noop")(tasks.noop)
count: Any = app.task(name="bench.count")(tasks.count)
stamp: Any = app.task(name="bench.stamp")(tasks.stamp)


def open_client(_system: System) -> CeleryClient:
    """The client of Celery."""
    return CeleryClient()


class CeleryClient:
    """See :class:`benchmarks.clients.port.BenchClient`."""

    def wait_ready(self) -> None:
        """Return when a task comes back."""
        self.round_trip()

    def describe(self, shape: Shape) -> Any:
        """A chord, a chain, or one layer.

        A chain of groups would hold, in each task of a layer, all that follows: 40 times as much
        with every further layer. A layer is a chord, whose one result comes sooner than those of
        a group.
        """
        if shape.name == "chain":
            canvas = chain(noop.si() if place == 0 else noop.s() for place in range(shape.total))
        elif shape.name == "fan":
            canvas = chord(group(noop.si() for _ in range(shape.total - 1)), count.s())
        else:
            canvas = chord(group(noop.si() for _ in range(shape.width)), count.s())
        return canvas, shape

    def execute(self, described: Any) -> int:
        """Send it, and block on the last result; layers are sent one after the other."""
        canvas, shape = described
        if shape.name == "layers":
            for _ in range(shape.total // shape.width):
                check_join(_wait(canvas.apply_async()), shape.width)
            return int(shape.total)
        answer = _wait(canvas.apply_async())
        if shape.name == "fan":
            check_join(answer, shape.total - 1)
        return int(shape.total)

    def round_trip(self) -> None:
        """Send one task, and block on its result."""
        _wait(noop.delay())

    def first_start(self, width: int) -> float:
        """By what the first tasks returned."""
        canvas = group(stamp.si() for _ in range(width))
        sent_at = time.time()
        sent = canvas.apply_async()
        first = min(one.get(timeout=PATIENCE_SECONDS) for one in sent.children[:FIRST_TASKS])
        _wait(sent)
        return float(first) - sent_at

    def close(self) -> None:
        """Close its connections."""
        app.close()


def _wait(sent: Any) -> Any:
    """The result, when it is there.

    Raises:
        Unfinished: it did not succeed.
    """
    # By default it would look at every task of a chord again with each message that comes.
    answer = sent.get(timeout=PATIENCE_SECONDS, propagate=False)
    if not sent.successful():
        raise Unfinished(f"Celery's task failed: {answer!r}")
    return answer
