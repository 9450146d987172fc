"""distflow: the run is coordinated on a thread of this process."""

from __future__ import annotations

import itertools
import time

from rq import Worker

from benchmarks import tasks
from benchmarks.clients.port import PATIENCE_SECONDS, Unfinished, bench_url
from benchmarks.shapes import Shape
from benchmarks.systems import System
from distflow.authoring import TaskRef, Workflow
from distflow.core.model import Effects
from distflow.core.status import RunStatus
from distflow.runs.client import Client, connect
from distflow.runs.run import Run
from tests.support.wait import wait_for


def open_client(system: System) -> DistflowClient:
    """The client of distflow."""
    return DistflowClient(system)


class DistflowClient:
    """See :class:`benchmarks.clients.port.BenchClient`."""

    def __init__(self, system: System) -> None:
        self.client: Client = connect(bench_url())
        self._effects: Effects = system.effects
        self._expected_workers = len(system.workers)
        self._runs = itertools.count(1)

    def wait_ready(self) -> None:
        """Return when all workers are registered."""
        wait_for(
            lambda: Worker.count(connection=self.client.redis) >= self._expected_workers,
            30.0,
            "RQ's workers",
        )

    def describe(self, shape: Shape) -> Workflow:
        """A workflow, task by task."""
        workflow = Workflow(shape.name)
        refs: list[TaskRef] = []
        for place, parents in enumerate(shape.parents):
            inputs = [refs[parent] for parent in parents]
            if shape.is_join(place):
                ref = workflow.add(f"t{place}", tasks.count, (inputs,), effects=self._effects)
            else:
                ref = workflow.add(f"t{place}", tasks.noop, inputs, effects=self._effects)
            refs.append(ref)
        return workflow

    def execute(self, described: Workflow) -> int:
        """Submit, and wait."""
        return self.finish(self.client.submit(described, run_id=self.new_id()))

    def finish(self, run: Run) -> int:
        """Wait for a run's success; returns how many tasks it had."""
        status = run.wait(PATIENCE_SECONDS)
        info = run.info()
        if status != RunStatus.SUCCESS or info.counts["success"] != info.total:
            raise Unfinished(f"run {run.run_id} is {status}: {dict(info.counts)}")
        return info.total

    def new_id(self) -> str:
        """A run id that was not used yet on this server."""
        return f"bench-{time.monotonic_ns()}-{next(self._runs)}"

    def round_trip(self) -> None:
        """A run of one task."""
        workflow = Workflow("single")
        workflow.add("t", tasks.noop, effects=self._effects)
        run = self.client.submit(workflow, run_id=self.new_id())
        if run.wait(PATIENCE_SECONDS) != RunStatus.SUCCESS:
            raise Unfinished(f"run {run.run_id} did not succeed")

    def first_start(self, width: int) -> float:
        """By the data of its tasks."""
        workflow = Workflow("stamps")
        for place in range(width):
            workflow.add(f"t{place}", tasks.stamp, effects=self._effects)
        sent_at = time.time()
        run = self.client.submit(workflow, run_id=self.new_id())
        self.finish(run)
        return min(float(result.data) for result in run.results().values()) - sent_at

    def close(self) -> None:
        """Close the connection."""
        self.client.redis.close()
