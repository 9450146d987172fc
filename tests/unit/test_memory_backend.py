"""Whole runs in memory: one thread leads them and works on them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from distflow import Retry, Snapshot, TaskResult
from distflow.authoring import Workflow, check_workflow
from distflow.backends.memory import MemoryBackend
from distflow.clock import SYSTEM_CLOCK
from distflow.clock import Clock as ClockPort
from distflow.coordinator.executor import WorkflowExecutor
from distflow.coordinator.sending import send_batches
from distflow.coordinator.service import CoordinatorService
from distflow.core.graph import Graph
from distflow.core.run import RunSpec
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus
from distflow.ports.backend import Backend
from distflow.runs.client import Client
from distflow.runs.run_writer import write_run
from distflow.runs.simulation import read_all
from distflow.runs.takeover import Taking, take_over
from tests.support.cases import build, check, pack_cases
from tests.support.clock import Clock

#: What the task :func:`meddle` calls.
_meddling: list[Callable[[], object]] = []


def meddle() -> str:
    """A task in the middle of which something happens."""
    _meddling.pop()()
    return "done"


def write(
    backend: Backend, workflow: Workflow, known: dict[str, TaskResult] | None = None
) -> Graph:
    """A workflow as the run ``run-1``, which has no leader yet."""
    graph = check_workflow(workflow)
    taken = take_over(Snapshot(known or {}, origin="0f"), graph, Taking())
    spec = RunSpec("run-1", workflow.name, workflow.params, "0f", RunOptions())
    write_run(backend.store("run-1"), spec, graph, taken)
    return graph


def leader(backend: Backend, clock: ClockPort = SYSTEM_CLOCK) -> WorkflowExecutor:
    """A coordinator of the run."""
    return WorkflowExecutor(backend.store("run-1"), backend.dispatcher, clock=clock)


def lead_a_while(backend: MemoryBackend, batches: int) -> None:
    """A coordinator leads the run until so many batches have run, and dies with others sent."""
    executor, store = leader(backend), backend.store("run-1")
    executor.begin()
    for count in range(batches + 1):
        assert executor.step(store.read_events(executor.last_event)) is None
        send_batches(backend.dispatcher, executor.take_batches(), executor.keep)
        assert count == batches or backend.work()
    executor.abandon()


def test_a_run_with_a_take_over_ends_as_the_rules_say(tmp_path: Path) -> None:
    """As it does on Redis and RQ workers, which ``test_equivalence`` compares with the same rules:
    hundreds of tasks, with failures, retries, loops and conditions, in less than a second.
    """
    case, log = pack_cases(range(60)), tmp_path / "log"
    log.write_text("")
    backend = MemoryBackend(workers=3)
    began = time.thread_time()
    graph = write(backend, build(case, log), case.known)
    lead_a_while(backend, 4)
    assert backend.dispatcher.find_queued("run-1", {graph.tasks[0].queue})
    status = leader(backend).lead(force=True)
    assert time.thread_time() - began < 1.0
    assert len(graph) > 300
    assert backend.store("run-1").read_info().repairs == {}
    check(case, read_all(backend.store("run-1"), graph), status, log)


def test_a_task_goes_on_under_the_next_leader() -> None:
    """What it brings stands, and it is not done again."""
    backend, dag = MemoryBackend(), Workflow("taken")
    dag.add("first", meddle)
    dag.add("after", meddle, depends_on=["first"])
    graph = write(backend, dag.build())
    successor = leader(backend)
    _meddling[:] = [bool, lambda: successor.begin(force=True)]
    lead_a_while(backend, 1)
    assert successor.lead() == RunStatus.SUCCESS
    results = read_all(backend.store("run-1"), graph)
    assert [result.attempt for result in results.values()] == [1, 1]


def test_minutes_pass_in_no_time() -> None:
    """Backoffs and timeouts are those of the clock that a test moves, and so are their results."""
    clock, dag = Clock(), Workflow("slow")
    backend = MemoryBackend(clock=clock.unix, sleep=clock.sleep)
    minute, fails = 60.0, int
    dag.add("failing", meddle, retry=Retry(2, delay=minute, backoff="fixed"))
    dag.add("overrunning", meddle, timeout=5.0, depends_on=["failing"], continue_on_error=True)
    graph = write(backend, dag.build())
    _meddling[:] = [lambda: clock.sleep(7.0), bool, lambda: fails("x"), lambda: fails("y")]
    began, thread_began = clock.monotonic(), time.thread_time()
    assert leader(backend, clock).lead() == RunStatus.SUCCESS
    assert 2 * minute < clock.monotonic() - began < 2 * minute + 60
    assert time.thread_time() - thread_began < 1.0
    failing, overrunning = read_all(backend.store("run-1"), graph).values()
    assert (failing.status, failing.attempt) == ("success", 3)
    assert overrunning.error == "TaskTimeout: ran longer than 5 s"


def test_a_service_leads_runs_that_were_left_to_it() -> None:
    """As ``distflow coordinator`` does, through the same API: here on one thread."""
    clock, stop, said = Clock(), threading.Event(), list[str]()
    backend = MemoryBackend(clock=clock.unix, sleep=clock.sleep)
    client = Client(backend)
    for number in range(3):
        dag = Workflow("left")
        dag.add("first", meddle)
        dag.add("second", meddle, depends_on=["first"])
        client.submit(dag, run_id=f"run-{number}", detach=True)
    _meddling[:] = [bool] * 6

    def report(line: str) -> None:
        said.append(line)
        if sum(line.endswith("is success") for line in said) == 3:
            stop.set()

    service = CoordinatorService(client.backend, stop, report=report, clock=clock)
    service.run()
    assert (service.counts.adopted, service.counts.ended, _meddling) == (3, 3, [])
    assert backend.service.list_active() == set()
    assert backend.coordinators() == []


def test_what_is_waited_for_may_never_come() -> None:
    """Nobody works for the run: whoever reads its events gets none, after as long as it asked."""
    backend = MemoryBackend(workers=0)
    write(backend, Workflow("idle").build())
    began = time.monotonic()
    assert backend.store("run-1").read_events("0-0", block_ms=20) == []
    assert time.monotonic() - began >= 0.02
