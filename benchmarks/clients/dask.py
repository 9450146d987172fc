"""Dask distributed: its own scheduler and workers on the loopback, and no Redis."""

from __future__ import annotations

import time
from typing import Any

from distributed import Client, LocalCluster

from benchmarks import tasks
from benchmarks.clients.port import PATIENCE_SECONDS, check_join
from benchmarks.shapes import Shape
from benchmarks.systems import System


def open_client(_system: System) -> DaskClient:
    """The client of Dask."""
    return DaskClient()


class DaskClient:
    """See :class:`benchmarks.clients.port.BenchClient`."""

    def __init__(self) -> None:
        self._cluster: Any = LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
        )
        self._client: Any = Client(self._cluster)
        self._serial = 0

    def wait_ready(self) -> None:
        """Return when both workers are there."""
        self._client.wait_for_workers(2, timeout=60)

    def describe(self, shape: Shape) -> Any:
        """A task graph, the keys whose results are wanted, and its shape."""
        # Dask keeps results by key: a key that was used would not run again.
        self._serial += 1
        keys = [f"{shape.name}-{self._serial}-{place}" for place in range(shape.total)]
        graph: dict[str, Any] = {}
        wanted = set(keys)
        for place, parents in enumerate(shape.parents):
            inputs = [keys[parent] for parent in parents]
            wanted.difference_update(inputs)
            joins = shape.is_join(place)
            graph[keys[place]] = (tasks.count, inputs) if joins else (tasks.noop, *inputs)
        return graph, sorted(wanted), shape

    def execute(self, described: Any) -> int:
        """Send the graph, and gather what nothing depends on."""
        graph, wanted, shape = described
        answers = self._client.get(graph, wanted)
        if shape.name == "fan":
            check_join(answers[0], shape.total - 1)
        return int(shape.total)

    def round_trip(self) -> None:
        """Send one task, and gather its result."""
        self._client.submit(tasks.noop, pure=False).result(timeout=PATIENCE_SECONDS)

    def first_start(self, width: int) -> float:
        """By what the tasks returned."""
        sent_at = time.time()
        futures = [self._client.submit(tasks.stamp, pure=False) for _ in range(width)]
        return float(min(self._client.gather(futures))) - sent_at

    def close(self) -> None:
        """End its processes."""
        self._client.close()
        self._cluster.close()
