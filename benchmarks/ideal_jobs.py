"""Jobs of the driver that compare distflow with what no scheduler could better."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from benchmarks import naps
from benchmarks.clients.distflow import DistflowClient
from benchmarks.clients.port import PATIENCE_SECONDS
from distflow.authoring import TaskRef, Workflow
from distflow.core.status import RunStatus
from tests.support.wait import wait_for

#: Of all of these: the workers that a stage has.
_WORKERS = 2

#: Of the fan and the task beside it.
_FAN_SECONDS = 0.01


def measure_ideal(client: DistflowClient, *, case: str, size: float) -> dict[str, Any]:
    """One of ``CASES``, with functions that this process has not timed: from the submit call to
    the client's seeing the end, and the least that it can take on two workers.
    """
    return CASES[case](client, size)


def _pair(client: DistflowClient, seconds: float) -> dict[str, Any]:
    """Two tasks of so many seconds."""
    workflow = Workflow("pair")
    for number in range(_WORKERS):
        workflow.add(f"t{number}", naps.nap, (seconds,))
    return {"seconds": _run(client, workflow), "ideal": seconds}


def _stages(client: DistflowClient, seconds: float) -> dict[str, Any]:
    """Six stages of two such tasks, each stage after the whole of the one before."""
    workflow = Workflow("stages")
    before: list[TaskRef] = []
    for stage, function in enumerate(naps.STAGES):
        before = [
            workflow.add(f"s{stage}n{number}", function, (seconds, *before))
            for number in range(_WORKERS)
        ]
    return {"seconds": _run(client, workflow), "ideal": seconds * len(naps.STAGES)}


def _forks(client: DistflowClient, seconds: float) -> dict[str, Any]:
    """Six times a short task on which two such rest."""
    workflow = Workflow("forks")
    before: list[TaskRef] = []
    for stage, function in enumerate(naps.STAGES):
        root = workflow.add(f"r{stage}", naps.nap, (0.0, *before))
        before = [
            workflow.add(f"s{stage}n{number}", function, (seconds, root))
            for number in range(_WORKERS)
        ]
    return {"seconds": _run(client, workflow), "ideal": seconds * len(naps.STAGES)}


def _heavy(client: DistflowClient, count: float) -> dict[str, Any]:
    """So many tasks of 20 ms, whose module takes half a second to be imported."""
    # Not by every driver: it takes half a second.
    heavy = import_module("benchmarks.heavy")
    seconds, workflow = 0.02, Workflow("heavy")
    for number in range(int(count)):
        workflow.add(f"t{number}", heavy.nap, (seconds,))
    ideal = heavy.IMPORT_SECONDS + count * seconds / _WORKERS
    return {"seconds": _run(client, workflow), "ideal": ideal}


def _beside(client: DistflowClient, count: float) -> dict[str, Any]:
    """One task of priority 9, submitted when so many of 10 ms have begun in another run; compared
    with what the same takes on workers that idle.
    """
    single = Workflow("single")
    single.add("t", naps.nap, (_FAN_SECONDS,), priority=9)
    alone = _run(client, single)
    fan = Workflow("fan")
    for number in range(int(count)):
        fan.add(f"t{number}", naps.nap_1, (_FAN_SECONDS,))
    run = client.client.submit(fan, run_id=client.new_id())
    wait_for(lambda: run.info().counts["success"] >= count // 20, 60.0, "the fan to be under way")
    seconds = _run(client, single)
    if run.info().status == RunStatus.RUNNING:
        run.cancel(grace_seconds=0.0)
    run.wait(PATIENCE_SECONDS)
    return {"seconds": seconds, "ideal": alone}


def _run(client: DistflowClient, workflow: Workflow) -> float:
    began = time.perf_counter()
    client.execute(workflow)
    return time.perf_counter() - began


#: What is compared, by name; each takes a size.
CASES: Mapping[str, Callable[[DistflowClient, float], dict[str, Any]]] = {
    "pair": _pair,
    "stages": _stages,
    "forks": _forks,
    "heavy": _heavy,
    "beside": _beside,
}
