"""Huey: chords and pipelines of tasks over Redis. Its consumer imports this module too."""

from __future__ import annotations

import time
from typing import Any

from huey import RedisHuey
from huey.api import group

from benchmarks import tasks
from benchmarks.clients.port import FIRST_TASKS, PATIENCE_SECONDS, check_join, patient_url
from benchmarks.shapes import Shape
from benchmarks.systems import System

# None is a result as any other here, and who waits for one is told of it.
app: Any = RedisHuey("bench", store_none=True, notify_result=True, url=patient_url())

noop: Any = app.task(name="noop")(tasks.noop)
count: Any = app.task(name="count")(tasks.count)
stamp: Any = app.task(name="stamp")(tasks.stamp)


def open_client(_system: System) -> HueyClient:
    """The client of Huey."""
    return HueyClient()


class HueyClient:
    """See :class:`benchmarks.clients.port.BenchClient`."""

    def wait_ready(self) -> None:
        """Return when a task comes back."""
        self.round_trip()

    def describe(self, shape: Shape) -> Any:
        """A chord, or a pipeline, and its shape."""
        if shape.name == "chain":
            line = noop.s()
            for _ in range(shape.total - 1):
                line.then(noop)
            return line, shape
        return group([noop.s() for _ in range(shape.total - 1)]).then(count), shape

    def execute(self, described: Any) -> int:
        """Send it, and block on the last result."""
        line, shape = described
        sent = app.enqueue(line)
        last = sent[len(sent) - 1] if shape.name == "chain" else sent.get(True, PATIENCE_SECONDS)
        if shape.name == "fan":
            check_join(last, shape.total - 1)
        return int(shape.total)

    def round_trip(self) -> None:
        """Send one task, and block on its result."""
        noop().get(True, PATIENCE_SECONDS)

    def first_start(self, width: int) -> float:
        """By what the first tasks returned."""
        described = [stamp.s() for _ in range(width)]
        sent_at = time.time()
        sent = [app.enqueue(task) for task in described]
        first = min(one.get(True, PATIENCE_SECONDS) for one in sent[:FIRST_TASKS])
        for one in sent[FIRST_TASKS:]:
            one.get(True, PATIENCE_SECONDS)
        return float(first) - sent_at

    def close(self) -> None:
        """Close its connections."""
        app.storage.conn.close()
